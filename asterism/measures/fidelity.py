"""Fidelity: how much of the teacher the student has kept; no labels needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.estimate import SEED, Estimate, mean_of
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
            are among the student's k nearest; by chance k / (n - 1). None with fewer than 2
            samples.
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
        ks: Numbers of neighbours; one that exceeds the other samples takes all of them.
        rows: Whose neighbours are compared, among all samples; by default everyone's.
        pairs: How many pairs, and how many triplets, are measured: all of them up to this number
            (316 samples for the default, 47 for triplets), a random draw beyond.
        seed: Seed of that draw.

    Returns:
        The measures. Replicates of neighbourhoods and classes are means over resampled samples,
        those of distances, angles and alignment leave out groups of samples.

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
    near = neighbourhoods(student_rows, teacher_rows, k=max(ks), rows=rows)
    hits = near.student == near.teacher[:, :1]
    chosen = pairs_of(n, pairs, seed)
    corners = triplets_of(n, pairs, seed)
    apart = distances(student_rows, chosen), distances(teacher_rows, chosen)
    bent = cosines(student_rows, corners), cosines(teacher_rows, corners)
    return Fidelity(
        agreement=_agreement(student.logits, teacher.logits),
        neighbour_overlap={k: mean_of(near.overlap(k)) for k in ks},
        neighbour_recall={k: mean_of(_any(hits[:, :k])) for k in ks},
        distance_correlation=distance_correlation(*apart, chosen, n),
        distance_error=distance_error(*apart, chosen, n),
        angle_error=angle_error(*bent, corners, n),
        trustworthiness=mean_of(near.trustworthiness),
        continuity=mean_of(near.continuity),
        cka=linear_cka(student_rows, teacher_rows),
        divergence=_divergence(student.logits, teacher.logits),
    )


def _any(hits: Tensor) -> Tensor:
    return hits.any(1).double() if hits.shape[1] else torch.empty(0)


def _agreement(student: Tensor | None, teacher: Tensor | None) -> Estimate | None:
    if student is None or teacher is None or student.shape[1] != teacher.shape[1]:
        return None
    return mean_of((student.argmax(1) == teacher.argmax(1)).double())


def _divergence(student: Tensor | None, teacher: Tensor | None) -> Estimate | None:
    if student is None or teacher is None or student.shape[1] != teacher.shape[1]:
        return None
    student_log, teacher_log = (x.double().log_softmax(1) for x in (student, teacher))
    return mean_of((teacher_log.exp() * (teacher_log - student_log)).sum(1).clamp_min(0))


@dataclass(frozen=True)
class Neighbourhoods:
    """Nearest neighbours of the same samples in two networks.

    Attributes:
        student: Neighbours in the student, nearest first, shape `(q, k)`.
        teacher: Neighbours in the teacher.
        trustworthiness: Of each sample, see `neighbourhoods`; NaN with fewer than 21 samples.
        continuity: Of each sample.
    """

    student: Tensor
    teacher: Tensor
    trustworthiness: Tensor
    continuity: Tensor

    def overlap(self, k: int) -> Tensor:
        """Return the share of the teacher's k nearest among the student's k nearest, `(q,)`."""
        # No number appears twice among the neighbours of one network, so equal ones side by side
        # in sorted order are the shared ones.
        merged = torch.cat([self.student[:, :k], self.teacher[:, :k]], 1).sort(1).values
        shared = (merged[:, 1:] == merged[:, :-1]).sum(1).double()
        width = min(k, self.student.shape[1])
        return shared / width if width else shared[:0]


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
    depth = max(k, CLOSE) if wide else k
    size = max(1, memory // (2 * 9 * max(1, n) + 64 * max(1, depth)))
    blocks = [torch.empty(min(size, len(everyone)), n, dtype=torch.float64) for _ in orders]
    near: tuple[list[Tensor], list[Tensor]] = ([], [])
    far: tuple[list[Tensor], list[Tensor]] = ([], [])
    for some in torch.split(everyone, size) if depth else ():
        keys = [order.keys(some, out=out) for order, out in zip(orders, blocks, strict=True)]
        for i in (0, 1):
            near[i].append(orders[i].numbers(keys[i].topk(depth, largest=False).values))
        for i in (0, 1) if wide else ():
            excess = _ranks(keys[1 - i], near[i][-1][:, :CLOSE]).sub(CLOSE).clamp_min(0).sum(1)
            far[i].append(1 - 2 / (CLOSE * (2 * n - 3 * CLOSE - 1)) * excess.double())
    empty = torch.empty(len(everyone), 0, dtype=torch.int64)
    unknown = torch.full((len(everyone),), torch.nan)
    return Neighbourhoods(
        *(torch.cat(x)[:, :k] if x else empty for x in near),
        *(torch.cat(x) if x else unknown for x in far),
    )


def _ranks(keys: Tensor, columns: Tensor) -> Tensor:
    """Return the rank, from 1, of some columns in each row."""
    # Row by row in numpy: ten times as fast as PyTorch's sum of a comparison.
    own = keys.gather(1, columns).cpu().numpy()
    ranks = np.empty(columns.shape, np.int64)
    for i, row in enumerate(keys.cpu().numpy()):
        ranks[i] = [np.count_nonzero(row < one) for one in own[i]]
    return torch.from_numpy(ranks) + 1
