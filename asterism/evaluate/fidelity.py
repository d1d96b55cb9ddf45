"""How much of the teacher the student has kept; no labels needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.evaluate.neighbours import nearest
from asterism.types import Outputs

# Pairs whose differences are held at a time.
PAIRS_AT_ONCE = 2**13


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
    """

    agreement: float | None
    neighbour_overlap: dict[int, float | None]
    neighbour_recall: dict[int, float | None]
    distance_correlation: float | None


def fidelity(
    student: Outputs,
    teacher: Outputs,
    *,
    ks: Sequence[int] = (1, 10),
    pairs: int = 100_000,
    seed: int = 0,
) -> Fidelity:
    """Compare classes, neighbourhoods and distances of the student to those of the teacher.

    Distances are Euclidean. All measures but the agreement ignore translation, rotation and scale
    of either embedding, and the embeddings may differ in width.

    Args:
        student: What the student returns for the samples.
        teacher: What the teacher returns for the same samples, in the same order.
        ks: Numbers of neighbours; one that exceeds the other samples takes all of them.
        pairs: How many pairs the correlation is taken from: all of them up to this number
            (447 samples for the default), a random draw beyond.
        seed: Seed of that draw.

    Returns:
        The measures, each 1 for a faithful copy.

    Raises:
        ValueError: If the networks were given different numbers of samples, a k or `pairs` is
            below 1, or `nearest` refuses the embeddings.

    Examples:
        >>> import torch
        >>> embedding = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
        >>> fidelity(Outputs(embedding), Outputs(5 - 2 * embedding), ks=[1]).distance_correlation
        1.0
    """
    if len(student.embedding) != len(teacher.embedding):
        raise ValueError(
            "fidelity compares the same samples in both networks; got "
            f"{len(student.embedding)} of the student and {len(teacher.embedding)} of the teacher."
        )
    if not ks or min(*ks, pairs) < 1:
        raise ValueError(
            f"fidelity needs ks and pairs of at least 1; got ks={tuple(ks)} and pairs={pairs}."
        )
    near_s, near_t = (nearest(x.embedding, k=max(ks)) for x in (student, teacher))
    found = near_s == near_t[:, :1]
    return Fidelity(
        agreement=_agreement(student.logits, teacher.logits),
        neighbour_overlap={k: _mean(_overlap(near_s[:, :k], near_t[:, :k])) for k in ks},
        neighbour_recall={k: _mean(found[:, :k].any(1)) if found.numel() else None for k in ks},
        distance_correlation=_distance_correlation(
            student.embedding, teacher.embedding, pairs=pairs, seed=seed
        ),
    )


def _mean(values: Tensor) -> float | None:
    return float(values.double().mean()) if values.numel() else None


def _agreement(student: Tensor | None, teacher: Tensor | None) -> float | None:
    if student is None or teacher is None or student.shape[1] != teacher.shape[1]:
        return None
    return _mean(student.argmax(1) == teacher.argmax(1))


def _overlap(student: Tensor, teacher: Tensor) -> Tensor:
    # No number appears twice among the neighbours of one network, so equal ones side by side in
    # sorted order are the shared ones.
    merged = torch.cat([student, teacher], 1).sort(1).values
    shared = (merged[:, 1:] == merged[:, :-1]).sum(1).double()
    return shared / student.shape[1] if student.shape[1] else shared[:0]


def _distance_correlation(
    student: Tensor, teacher: Tensor, *, pairs: int, seed: int
) -> float | None:
    one, two = _pairs(len(student), pairs, seed)
    ranks_s, ranks_t = (_ranks(_distances(x, one, two)) for x in (student, teacher))
    ranks_s, ranks_t = ranks_s - ranks_s.mean(), ranks_t - ranks_t.mean()
    scale = float(ranks_s.norm() * ranks_t.norm())
    return float(ranks_s @ ranks_t) / scale if scale > 0 else None


def _pairs(n: int, pairs: int, seed: int) -> tuple[Tensor, Tensor]:
    if n * (n - 1) // 2 <= pairs:
        one, two = torch.triu_indices(n, n, offset=1)
        return one, two
    generator = torch.Generator().manual_seed(seed)
    one = torch.randint(n, (pairs,), generator=generator)
    step = torch.randint(1, n, (pairs,), generator=generator)
    return one, (one + step) % n


def _distances(rows: Tensor, one: Tensor, two: Tensor) -> Tensor:
    rows = rows.detach()
    chunks = torch.split(torch.stack([one, two]), PAIRS_AT_ONCE, dim=1)
    differences = (rows[i].double() - rows[j].double() for i, j in chunks)
    return torch.cat([torch.linalg.vector_norm(x, dim=1) for x in differences])


def _ranks(values: Tensor) -> Tensor:
    """Return the place of each value in the order of all; equal values share the mean place."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean: Tensor = counts.cumsum(0) - (counts.double() - 1) / 2
    return mean[place]
