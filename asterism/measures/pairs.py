"""Distances of pairs and angles of triplets, compared between student and teacher."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.estimate import SEED, Estimate, groups_of

# Pairs or triplets that are measured: all there are up to this number, a random draw beyond.
PAIRS = 50_000
# Pairs whose differences are held at a time.
AT_ONCE = 2**13


def pairs_of(n: int, number: int = PAIRS, seed: int = SEED) -> Int[Tensor, "2 p"]:
    """Return all pairs `i < j` of `n` samples, or a random draw of so many pairs."""
    if n * (n - 1) // 2 <= number:
        return torch.triu_indices(n, n, offset=1)
    generator = torch.Generator().manual_seed(seed)
    one = torch.randint(n, (number,), generator=generator)
    step = torch.randint(1, n, (number,), generator=generator)
    return torch.stack([one, (one + step) % n])


def triplets_of(n: int, number: int = PAIRS, seed: int = SEED) -> Int[Tensor, "3 t"]:
    """Return all triplets (vertex, two arms) of distinct samples, or a random draw of so many."""
    if n < 3:
        return torch.empty(3, 0, dtype=torch.int64)
    if n * (n - 1) * (n - 2) // 2 <= number:
        one, two = torch.triu_indices(n, n, offset=1)
        vertex = torch.arange(n).repeat_interleave(len(one))
        one, two = one.repeat(n), two.repeat(n)
        distinct = (vertex != one) & (vertex != two)
        return torch.stack([vertex, one, two])[:, distinct]
    generator = torch.Generator().manual_seed(seed)
    vertex = torch.randint(n, (number,), generator=generator)
    # Two different steps from the vertex around the circle of samples.
    first = torch.randint(1, n, (number,), generator=generator)
    second = torch.randint(1, n - 1, (number,), generator=generator)
    second += second >= first
    return torch.stack([vertex, (vertex + first) % n, (vertex + second) % n])


def distances(rows: Float[Tensor, "n d"], pairs: Int[Tensor, "2 p"]) -> Float[Tensor, " p"]:
    """Return the Euclidean distance of each pair, as float64.

    Differences of float32 rows are taken in float32, which rounds each to 8 digits of itself.
    """
    rows = _at_least_float32(rows)
    chunks = torch.split(pairs, AT_ONCE, dim=1)
    return torch.cat(
        [torch.linalg.vector_norm(rows[i] - rows[j], dim=1).double() for i, j in chunks]
    )


def cosines(rows: Float[Tensor, "n d"], triplets: Int[Tensor, "3 t"]) -> Float[Tensor, " t"]:
    """Return the cosine of the angle at the vertex of each triplet; 0 with an arm of length 0."""
    rows = _at_least_float32(rows)
    blocks = []
    for vertex, one, two in torch.split(triplets, AT_ONCE, dim=1):
        origin = rows[vertex]
        arms = [F.normalize(rows[end] - origin) for end in (one, two)]
        blocks.append((arms[0] * arms[1]).sum(1).double())
    return torch.cat(blocks)


def _at_least_float32(rows: Tensor) -> Tensor:
    return rows.detach().to(torch.promote_types(rows.dtype, torch.float32))


def distance_correlation(
    student: Float[Tensor, " p"],
    teacher: Float[Tensor, " p"],
    pairs: Int[Tensor, "2 p"],
    n: int,
) -> Estimate | None:
    """Return Spearman's rank correlation of the distances; None if either are all equal.

    Args:
        student: Distances of the pairs in the student.
        teacher: Distances of the same pairs in the teacher.
        pairs: The pairs.
        n: Number of samples.
    """
    places = [torch.unique(x, return_inverse=True)[1] for x in (student, teacher)]
    return _over_tuples(_correlation, places, pairs, n)


def _correlation(student: Tensor, teacher: Tensor) -> float:
    ranks = [_ranks(place) for place in (student, teacher)]
    one, two = (x - x.mean() for x in ranks)
    scale = float(one.norm() * two.norm())
    return float(one @ two) / scale if scale > 0 else torch.nan


def distance_error(
    student: Float[Tensor, " p"],
    teacher: Float[Tensor, " p"],
    pairs: Int[Tensor, "2 p"],
    n: int,
) -> Estimate | None:
    r"""Return RKD's distance loss over the pairs.

    $$\frac{1}{|P|} \sum_{(i,j) \in P} H\!\left(\frac{s_{ij}}{\mu_s} - \frac{t_{ij}}{\mu_t}\right)$$

    with $H$ the Huber function with $\delta = 1$ and $\mu$ the mean distance. `rkd_distance_loss`
    divides by $n^2$ instead, so over all pairs it is $(n - 1) / n$ times this. It also gives a
    collapsed student equal distances, for the sake of its gradient; here they are zero.

    Args:
        student: Distances of the pairs in the student.
        teacher: Distances of the same pairs in the teacher.
        pairs: The pairs.
        n: Number of samples.

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, equations 5 to 7.
    """
    return _over_tuples(_distance_error, (student, teacher), pairs, n)


def _distance_error(student: Tensor, teacher: Tensor) -> float:
    one, two = (x / x.mean().clamp_min(1e-12) for x in (student, teacher))
    return float(F.smooth_l1_loss(one, two))


def angle_error(
    student: Float[Tensor, " t"],
    teacher: Float[Tensor, " t"],
    triplets: Int[Tensor, "3 t"],
    n: int,
) -> Estimate | None:
    r"""Return RKD's angle loss over the triplets: the mean Huber gap of the cosines.

    `rkd_angle_loss` divides by $n^3$ instead, so over all triplets it is $(n - 1)(n - 2) / n^2$
    times this.

    Args:
        student: Cosines of the triplets in the student.
        teacher: Cosines of the same triplets in the teacher.
        triplets: The triplets.
        n: Number of samples.

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, equations 8 to 10.
    """
    return _over_tuples(_angle_error, (student, teacher), triplets, n)


def _angle_error(student: Tensor, teacher: Tensor) -> float:
    return float(F.smooth_l1_loss(student, teacher))


def _over_tuples(
    measure: Callable[[Tensor, Tensor], float], values: Sequence[Tensor], tuples: Tensor, n: int
) -> Estimate | None:
    """Return a measure of two values per tuple; None if it has no value.

    A replicate leaves out all tuples with a sample of one group. Where few tuples share a sample
    this counts their own noise twice or thrice, so the interval is rather too wide.
    """
    one, two = values
    value = measure(one, two) if tuples.shape[1] else torch.nan
    if value != value:
        return None

    def draw() -> Tensor:
        replicates = []
        group = groups_of(n)[tuples]
        for number in range(int(group.max()) + 1):
            kept = (group != number).all(0)
            replicates.append(measure(one[kept], two[kept]) if kept.any() else value)
        drawn = torch.tensor(replicates, dtype=torch.float64)
        return torch.where(drawn.isnan(), value, drawn)

    return Estimate(value, draw, jackknife=True)


def _ranks(place: Tensor) -> Tensor:
    """Return the mean rank of each value, given its place among the distinct values."""
    counts = torch.bincount(place).double()
    return (counts.cumsum(0) - (counts - 1) / 2)[place]
