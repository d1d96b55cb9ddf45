"""Distances of pairs and angles of triplets, compared between student and teacher."""

import itertools

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.estimate import CORRELATION, POSITIVE, Bounds, Estimate
from asterism.measures.gallery import SEED, signs

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
    if not pairs.shape[1]:
        return None
    # Ranks from -1/2 to 1/2, so that sums over them are means.
    count = pairs.shape[1]
    sorts = [
        torch.unique(x, return_inverse=True, return_counts=True)[1:] for x in (student, teacher)
    ]
    one, two = (_ranks(*sort) / count - (count + 1) / (2 * count) for sort in sorts)
    cross, scale_one, scale_two = (float(x.mean()) for x in (one * two, one**2, two**2))
    if min(scale_one, scale_two) <= 0:
        return None
    value = cross / (scale_one * scale_two) ** 0.5
    # Each pair adds its own product, and moves the ranks of all pairs beyond it.
    moved = _beyond(one, *sorts[1]), _beyond(two, *sorts[0])
    part = (one * two - cross + moved[0] + moved[1]) / (scale_one * scale_two) ** 0.5
    ties = one**2 / scale_one + two**2 / scale_two - 2
    ties += 2 * (_beyond(one, *sorts[0]) / scale_one + _beyond(two, *sorts[1]) / scale_two)
    return _over_tuples(value, part - value / 2 * ties, pairs, n, CORRELATION)


def _beyond(rank: Tensor, place: Tensor, counts: Tensor) -> Tensor:
    """Return, for each pair, the mean over all pairs of rank, times whether they lie beyond it."""
    total = rank.new_zeros(len(counts)).index_add_(0, place, rank)
    after = total.sum() - total.cumsum(0) + total / 2  # half of those that are equal
    beyond = after[place] / len(rank)
    return beyond - beyond.mean()


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
    if not pairs.shape[1]:
        return None
    one, two = (x / x.mean().clamp_min(1e-12) for x in (student, teacher))
    loss = F.smooth_l1_loss(one, two, reduction="none")
    value = float(loss.mean())
    slope = (one - two).clamp(-1, 1)
    # A pair moves both means as well.
    part = loss - value - (one - 1) * (slope * one).mean() + (two - 1) * (slope * two).mean()
    found = _over_tuples(value, part, pairs, n, POSITIVE)
    assert found.shared is not None
    if n > 2:
        # Of few rows each moves the means so far that the square of it counts.
        left = _Left(pairs, n)
        more = [torch.where((x := left(each)) > 0, 1 / x - 1, 0) for each in (one, two)]
        curve = ((one - two).abs() < 1).double()
        squares = more[0] ** 2 * left(curve * one**2) + more[1] ** 2 * left(curve * two**2)
        squares = squares / 2 - more[0] * more[1] * left(curve * one * two)
        linear = left(loss) + more[0] * left(slope * one) - more[1] * left(slope * two)
        moved = value - linear - squares
        found.shared[0] = moved - moved.mean()
    return found


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
    if not triplets.shape[1]:
        return None
    loss = F.smooth_l1_loss(student, teacher, reduction="none")
    value = float(loss.mean())
    return _over_tuples(value, loss - value, triplets, n, POSITIVE)


def _over_tuples(value: float, part: Tensor, tuples: Tensor, n: int, bounds: Bounds) -> Estimate:
    """Return a measure with what each sample adds: the parts of all tuples that it is in.

    A tuple's own square is in the parts of each of its samples; all but one are taken off again.
    """
    number = len(tuples)
    # The mean over all tuples, less the mean over those without a sample.
    part = part.double() / part.numel() * (n / max(1, n - number))
    weights = signs(tuples.shape[1])
    shared = part.new_zeros(1 + len(weights), n)
    for total, sign in zip(shared, (None, *weights), strict=True):
        signed = part if sign is None else sign * part * ((number - 1) / number) ** 0.5
        for sample in tuples:
            total.index_add_(0, sample, signed)
    ends = [shared[0][sample] for sample in tuples]
    bend = sum(float((part * a * b).sum()) for a, b in itertools.combinations(ends, 2))
    own = torch.zeros(n, dtype=torch.float64)
    return Estimate(value, own, shared, count=n, bounds=bounds, bend=bend)


class _Left:
    """Means over the pairs that are left without each sample."""

    def __init__(self, pairs: Tensor, n: int) -> None:
        self.pairs, self.n = pairs, n
        self.count = self._sums(torch.ones(pairs.shape[1], dtype=torch.float64)).clamp_min(1)

    def __call__(self, values: Tensor) -> Tensor:
        return self._sums(values) / self.count

    def _sums(self, values: Tensor) -> Tensor:
        gone = values.new_zeros(self.n)
        for sample in self.pairs:
            gone.index_add_(0, sample, values)
        return values.sum() - gone


def _ranks(place: Tensor, counts: Tensor) -> Tensor:
    """Return the mean rank of each value, given its place among the distinct values."""
    counts = counts.double()
    return (counts.cumsum(0) - (counts - 1) / 2)[place]
