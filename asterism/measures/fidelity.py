"""Fidelity: how much of the teacher the student has kept; no labels needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.deletion import nearest_found, overlaps
from asterism.measures.estimate import POSITIVE, Estimate, mean_of, share_of
from asterism.measures.gallery import SEED, Gallery
from asterism.measures.neighbours import MEMORY, Order
from asterism.measures.pairs import (
    PAIRS,
    angle_error,
    cosines,
    distance_correlation,
    distance_error,
    distances,
    pairs_of,
    triplets_of,
)
from asterism.measures.spectrum import linear_cka
from asterism.types import Outputs

# Neighbours among which trustworthiness and continuity look.
CLOSE = 10


@dataclass(frozen=True)
class Fidelity:
    """Likeness of a student to its teacher on the same samples.

    Attributes:
        agreement: Share of samples with the same highest logit; None unless both networks have
            logits for the same number of classes.
        neighbour_overlap: For each k, the mean share of the teacher's k nearest neighbours that
            are among the student's k nearest; by chance k / (n - 1). None where k takes all other
            samples, since all are shared then.
        neighbour_recall: For each k, the share of samples whose nearest neighbour for the teacher
            is among the k nearest for the student: a recall@k without labels. None as above.
        distance_correlation: Spearman's rank correlation of the distances of pairs; None if either
            network holds all pairs equally far apart.
        distance_error: RKD's distance loss over the pairs, 0 for a faithful copy.
        angle_error: RKD's angle loss over triplets, 0 for a faithful copy.
        trustworthiness: How near in the teacher the ten nearest in the student are, between 0 and
            1 (see `neighbourhoods`); None with fewer than 21 samples.
        continuity: The same the other way round: how near in the student the ten nearest in the
            teacher are.
        cka: Linear centred kernel alignment (see `linear_cka`).
        divergence: Mean Kullback-Leibler divergence of the student's class probabilities from
            the teacher's, in nats; None as the agreement.
    """

    agreement: Estimate | None
    neighbour_overlap: dict[int, Estimate | None]
    neighbour_recall: dict[int, Estimate | None]
    distance_correlation: Estimate | None
    distance_error: Estimate | None
    angle_error: Estimate | None
    trustworthiness: Estimate | None
    continuity: Estimate | None
    cka: Estimate | None
    divergence: Estimate | None


def fidelity(
    student: Outputs,
    teacher: Outputs,
    *,
    ks: Sequence[int] = (1, 10),
    rows: Int[Tensor, " q"] | None = None,
    pairs: int = PAIRS,
    seed: int = SEED,
) -> Fidelity:
    """Compare classes, neighbourhoods and distances of the student to those of the teacher.

    Distances are Euclidean. All measures but agreement and divergence ignore translation, rotation
    and scale of either embedding, and the embeddings may differ in width.

    Args:
        student: What the student returns for the samples.
        teacher: What the teacher returns for the same samples, in the same order.
        ks: Numbers of neighbours.
        rows: Whose neighbours are compared, among all samples; by default everyone's.
        pairs: How many pairs, and how many triplets, are measured: all of them up to this number
            (316 samples for the default, 47 for triplets), a random draw beyond.
        seed: Seed of that draw.

    Returns:
        The measures; their intervals are of new samples, as queries and as neighbours.

    Raises:
        ValueError: If the networks were given different numbers of samples, a k or `pairs` is
            below 1, or `nearest` refuses the embeddings.

    Examples:
        >>> import torch
        >>> embedding = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
        >>> fidelity(Outputs(embedding), Outputs(5 - 2 * embedding), ks=[1]).distance_correlation
        1.0
    """
    n = len(student.embedding)
    if n != len(teacher.embedding):
        raise ValueError(
            f"fidelity compares the same samples in both networks; got {n} of the student and "
            f"{len(teacher.embedding)} of the teacher."
        )
    if not ks or min(*ks, pairs) < 1:
        raise ValueError(
            f"fidelity needs ks and pairs of at least 1; got ks={tuple(ks)} and pairs={pairs}."
        )
    student_rows, teacher_rows = student.embedding, teacher.embedding
    near = neighbourhoods(student_rows, teacher_rows, k=max(ks) + 1, rows=rows)
    chosen = pairs_of(n, pairs, seed)
    corners = triplets_of(n, pairs, seed)
    apart = distances(student_rows, chosen), distances(teacher_rows, chosen)
    bent = cosines(student_rows, corners), cosines(teacher_rows, corners)
    return Fidelity(
        agreement=_agreement(student.logits, teacher.logits),
        neighbour_overlap={k: near.kept(k) for k in ks},
        neighbour_recall={k: near.found(k) for k in ks},
        distance_correlation=distance_correlation(*apart, chosen, n),
        distance_error=distance_error(*apart, chosen, n),
        angle_error=angle_error(*bent, corners, n),
        trustworthiness=_near(near.trustworthiness, near.far[0]),
        continuity=_near(near.continuity, near.far[1]),
        cka=linear_cka(student_rows, teacher_rows),
        divergence=_divergence(student.logits, teacher.logits),
    )


def _near(scores: Tensor, far: Gallery) -> Estimate | None:
    """Return the mean of trustworthiness; of fewer rows each rank counts for more."""
    mean = share_of(scores, far, step=0.0)
    if mean is None or mean.shared is None:
        return None
    more = _ranks_that_count(far.rows) / max(1, _ranks_that_count(far.rows - 1))
    own, shared = more * mean.own, more * mean.shared
    return Estimate(mean, own, shared, count=mean.count, bounds=mean.bounds, scores=scores)


def _ranks_that_count(n: int) -> int:
    return 2 * n - 3 * CLOSE - 1


def _agreement(student: Tensor | None, teacher: Tensor | None) -> Estimate | None:
    if student is None or teacher is None or student.shape[1] != teacher.shape[1]:
        return None
    return share_of((student.argmax(1) == teacher.argmax(1)).double())


def _divergence(student: Tensor | None, teacher: Tensor | None) -> Estimate | None:
    if student is None or teacher is None or student.shape[1] != teacher.shape[1]:
        return None
    student_log, teacher_log = (x.double().log_softmax(1) for x in (student, teacher))
    ratio = teacher_log - student_log
    gaps = (teacher_log.exp() * ratio).sum(1).clamp_min(0)
    # However unsure the teacher were, a row's would be at most these (Hoeffding's lemma, 1963).
    spread = ratio.amax(1) - ratio.amin(1)
    most = float(torch.minimum(spread, spread.square() / 8).mean())
    return mean_of(gaps, bounds=POSITIVE, most=most if math.isfinite(most) else 0.0)


@dataclass(frozen=True)
class Neighbourhoods:
    """Nearest neighbours of the same samples in two networks.

    Attributes:
        student: Neighbours in the student, nearest first, shape `(q, k)`.
        teacher: Neighbours in the teacher.
        trustworthiness: Of each sample, see `neighbourhoods`; NaN with fewer than 21 samples.
        continuity: Of each sample.
        queries: Which samples they are, shape `(q,)`.
        far: What each sample adds to trustworthiness and continuity as a neighbour of others.
    """

    student: Tensor
    teacher: Tensor
    trustworthiness: Tensor
    continuity: Tensor
    queries: Tensor
    far: tuple[Gallery, Gallery]

    @property
    def others(self) -> int:
        """Return how many neighbours a sample has."""
        return max(0, self.far[0].rows - 1)

    def kept(self, k: int) -> Estimate | None:
        """Return the mean of `overlap(k)`; None where k takes all other samples."""
        if k >= self.others:
            return None
        scores, neighbours, change = overlaps(self.student, self.teacher, k)
        return self._share(scores, neighbours, change, 1 / k)

    def found(self, k: int) -> Estimate | None:
        """Return how often the teacher's nearest is among the student's k nearest, or None."""
        if k >= self.others:
            return None
        return self._share(*nearest_found(self.student, self.teacher, k), 1.0)

    def _share(
        self, scores: Tensor, neighbours: Tensor, change: Tensor, step: float
    ) -> Estimate | None:
        gallery = Gallery(self.far[0].rows, self.queries)
        gallery.add(self.queries, neighbours, change)
        return share_of(scores, gallery, step=step)

    def overlap(self, k: int) -> Tensor:
        """Return the share of the teacher's k nearest among the student's k nearest, `(q,)`."""
        return overlaps(self.student, self.teacher, k)[0]


def neighbourhoods(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    k: int,
    rows: Int[Tensor, " q"] | None = None,
    memory: int = MEMORY,
) -> Neighbourhoods:
    r"""Find the neighbours of each sample in both networks, and their ranks in the other one.

    With $N_s(i)$ the $k = 10$ nearest of sample $i$ in the student and $r_t(i, j)$ the rank of $j$
    among all neighbours of $i$ in the teacher, the trustworthiness of a sample is

    $$1 - \frac{2}{k (2n - 3k - 1)} \sum_{j \in N_s(i)} \max(0, r_t(i, j) - k)$$

    and its continuity the same with the networks exchanged.

    Args:
        student: Embeddings of the student.
        teacher: Embeddings of the teacher for the same samples.
        k: How many neighbours to return.
        rows: Whose neighbours; by default everyone's. All samples are searched.
        memory: Bytes for the blocks of distances.

    References:
        Venna and Kaski, Neighborhood Preservation in Nonlinear Projection Methods, ICANN 2001.
    """
    orders = Order(student), Order(teacher)
    n = len(student)
    everyone = torch.arange(n) if rows is None else rows
    k = min(k, max(0, n - 1))
    wide = n > 2 * CLOSE
    depth = max(k, CLOSE + 1) if wide else k
    size = max(1, memory // (20 * max(1, n) + 64 * max(1, depth)))
    blocks = [torch.empty(min(size, len(everyone)), n, dtype=torch.float64) for _ in orders]
    near: tuple[list[Tensor], list[Tensor]] = ([], [])
    close: tuple[list[Tensor], list[Tensor]] = ([], [])
    far = Gallery(n, everyone), Gallery(n, everyone)
    for some in torch.split(everyone, size) if depth else ():
        keys = [order.keys(some, out=out) for order, out in zip(orders, blocks, strict=True)]
        for i in (0, 1):
            near[i].append(orders[i].numbers(keys[i].topk(depth, largest=False).values))
        for i in (0, 1) if wide else ():
            close[i].append(_closeness(keys[1 - i], near[i][-1][:, : CLOSE + 1], some, far[i]))
    empty = torch.empty(len(everyone), 0, dtype=torch.int64)
    unknown = torch.full((len(everyone),), torch.nan)
    neighbours = [torch.cat(x)[:, :k] if x else empty for x in near]
    closeness = [torch.cat(x) if x else unknown for x in close]
    return Neighbourhoods(
        neighbours[0], neighbours[1], closeness[0], closeness[1], queries=everyone, far=far
    )


def _closeness(keys: Tensor, columns: Tensor, queries: Tensor, far: Gallery) -> Tensor:
    """Return how near the first of some columns are in other keys, and add what each row adds.

    A row adds to the rank of all that lie behind it. Without one of the first columns the last
    comes in.
    """
    n = keys.shape[1]
    unit = 2 / (CLOSE * _ranks_that_count(n))
    ranks, nearer = _ranks(keys, columns)
    excess = (ranks - CLOSE).clamp_min(0).double()
    score = 1 - unit * excess[:, :-1].sum(1)
    far.add_all(queries, nearer, -unit)
    # The last is one nearer without a row that lies before it.
    coming = excess[:, -1:] - ((ranks[:, :-1] < ranks[:, -1:]) & (excess[:, -1:] > 0)).double()
    far.add(queries, columns[:, :-1], unit * (coming - excess[:, :-1]))
    return score


def _ranks(keys: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rank, from 1, of some columns in each row; before how many each column lies.

    All but the last of them are counted there, if they lie beyond the first ten.
    """
    # Row by row in numpy: ten times as fast as PyTorch's sum of a comparison.
    own = keys.gather(1, columns).cpu().numpy()
    ranks = np.empty(columns.shape, np.int64)
    nearer = np.zeros(keys.shape, np.uint8)
    for i, row in enumerate(keys.cpu().numpy()):
        before = row < own[i][:, None]
        ranks[i] = [1 + np.count_nonzero(some) for some in before]
        counted = before[:-1][ranks[i, :-1] > CLOSE]
        np.add.reduce(counted.view(np.uint8), axis=0, out=nearer[i])
    return torch.from_numpy(ranks), torch.from_numpy(nearer)
