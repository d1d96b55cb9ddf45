"""Maps from the student's embedding into the teacher's space, and the recall that they give."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.deletion import hits
from asterism.measures.estimate import Estimate
from asterism.measures.neighbours import MEMORY, neighbour_blocks
from asterism.measures.scores import Block, Scores

# Penalties of the ridge regression, in shares of the mean variance of a column.
PENALTIES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


class Affine(NamedTuple):
    """The map `x @ weight + bias`.

    Attributes:
        weight: Shape `(d_student, d_teacher)`.
        bias: Shape `(d_teacher,)`.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, rows: Float[Tensor, "n d_student"]) -> Float[Tensor, "n d_teacher"]:
        """Return mapped rows."""
        return rows @ self.weight.to(rows.dtype) + self.bias.to(rows.dtype)


def procrustes(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Affine:
    r"""Return the rotation, scale and translation that bring the student onto the teacher.

    With centred rows and the singular value decomposition $S^\top T = U \Sigma V^\top$ the rotation
    is $R = U V^\top$ and the scale $\operatorname{tr} \Sigma / \lVert S R \rVert_F^2$. The narrower
    embedding counts as one with columns of zeros, so $R$ has orthonormal rows or columns. Distances
    of the student stay as they are, up to the scale, unless the teacher is narrower.

    Args:
        student: Embeddings of the student to fit.
        teacher: Embeddings of the teacher for the same samples.

    Raises:
        ValueError: If there are no rows, or not as many of both.

    References:
        Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 1966.
    """
    s, t, mean_s, mean_t = _centred("procrustes", student, teacher)
    u, sigma, vh = torch.linalg.svd(s.T @ t, full_matrices=False)
    rotation = u @ vh
    scale = sigma.sum() / (s @ rotation).square().sum().clamp_min(torch.finfo(s.dtype).tiny)
    weight = scale * rotation
    return Affine(weight, mean_t - mean_s @ weight)


def ridge(student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]) -> Affine:
    r"""Return the linear map with the least squared error, with a penalty on its size.

    $$W = (S^\top S + \lambda I)^{-1} S^\top T$$

    with centred rows. The penalty is the one of eight with the least leave-one-out error, which for
    a ridge regression is known without fitting again: residuals divided by one minus leverage.

    Args:
        student: Embeddings of the student to fit.
        teacher: Embeddings of the teacher for the same samples.

    Raises:
        ValueError: If there are no rows, or not as many of both.

    References:
        Golub, Heath and Wahba, Generalized cross-validation, Technometrics 1979, section 1.
    """
    s, t, mean_s, mean_t = _centred("ridge", student, teacher)
    values, vectors = torch.linalg.eigh(s.T @ s)
    values = values.clamp_min(0)
    turned = s @ vectors
    target = turned.T @ t
    unit = float(values.mean()) or 1.0
    best = float("inf")
    weight = torch.zeros(s.shape[1], t.shape[1], dtype=s.dtype)
    for penalty in PENALTIES:
        shrunk = 1 / (values + penalty * unit)
        solution = shrunk[:, None] * target
        leverage = 1 / len(s) + turned.square() @ shrunk
        residual = (t - turned @ solution) / (1 - leverage).clamp_min(1e-9)[:, None]
        error = float(residual.square().sum())
        if error < best:
            best = error
            weight = vectors @ solution
    return Affine(weight, mean_t - mean_s @ weight)


@dataclass(frozen=True)
class Compatibility:
    """What queries with the student find in the teacher's index.

    Attributes:
        item_recall: For each k, the share of queries whose own item, or an exact duplicate of it,
            is among the k nearest of the index; by chance k / n, and None where k takes all.
        class_recall: For each k, the share of queries with an item of their class, not their own
            item, among the k nearest others, over the queries whose class has others; None without
            labels.
    """

    item_recall: dict[int, Estimate | None]
    class_recall: dict[int, Estimate | None] | None


def compatibility(
    query: Float[Tensor, "n d"],
    index: Float[Tensor, "n d"],
    target: Int[Tensor, " n"] | None = None,
    *,
    ks: Sequence[int] = (1, 10),
    rows: Int[Tensor, " q"] | None = None,
    memory: int = MEMORY,
) -> Compatibility:
    """Search the teacher's embeddings with the student's.

    Args:
        query: Embeddings of the student, in the teacher's space (mapped, or as they are if the
            widths agree).
        index: Embeddings of the teacher for the same samples, all of which are searched.
        target: Classes of the samples.
        ks: Numbers of neighbours.
        rows: Which samples are queries; by default all.
        memory: Bytes for one block of distances, see `nearest`.

    Raises:
        ValueError: If the widths differ or `nearest` refuses the embeddings.
    """
    n = len(index)
    asked = torch.arange(n) if rows is None else rows
    copies = _copies(index)
    items = {k: Scores(copies, asked) for k in ks}
    classes = {} if target is None else {k: Scores(target, asked) for k in ks}
    if target is not None:
        _, number, sizes = torch.unique(target, return_inverse=True, return_counts=True)
        partners = sizes[number] - 1
    blocks = neighbour_blocks(query, index, k=max(ks) + 2, rows=rows, memory=memory)
    for some, near in blocks:
        own = near == some[:, None]
        # The own item is never missing, so that it is no neighbour that could be.
        block = Block(some, copies[some], torch.full_like(some, 2), near, own)
        for k, scores in items.items():
            score, change = hits(copies[near] == copies[some, None], k)
            scores.add(block, score, torch.where(own[:, : change.shape[1]], 0, change))
        if target is None:
            continue
        # The own item takes no place: it goes to the end, and the others move up by one.
        others = near.gather(1, own.long().argsort(dim=1, stable=True))
        alike = (target[others] == target[some, None]) & (others != some[:, None])
        block = Block(some, target[some], partners[some], others, alike)
        for k, scores in classes.items():
            scores.add(block, *hits(alike, k))
    return Compatibility(
        {k: scores.share(1.0) if k < n else None for k, scores in items.items()},
        {k: scores.share(1.0) if k < n - 1 else None for k, scores in classes.items()} or None,
    )


def _copies(rows: Tensor) -> Tensor:
    """Return a number for each row, the same for exact duplicates."""
    plain = np.ascontiguousarray((rows.detach().cpu() + 0.0).numpy())  # -0 is 0
    whole = plain.view(np.dtype((np.void, max(1, plain.shape[1]) * plain.itemsize))).ravel()
    return torch.from_numpy(np.unique(whole, return_inverse=True)[1].reshape(-1))


def _centred(
    map_name: str, student: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if student.ndim != 2 or teacher.ndim != 2 or not 0 < len(student) == len(teacher):
        raise ValueError(
            f"{map_name} fits the same samples in both networks, at least one; got "
            f"{tuple(student.shape)} and {tuple(teacher.shape)}."
        )
    s, t = student.detach().double(), teacher.detach().double()
    return s - s.mean(0), t - t.mean(0), s.mean(0), t.mean(0)
