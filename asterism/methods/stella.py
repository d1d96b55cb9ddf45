"""Jasper and Stella (Zhang et al., 2024): coordinates, similarities and their order."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
    project,
)
from asterism.relations.order import mean_order_gap
from asterism.types import Batch, Outputs


@full_precision
def stella_similarity_loss(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Float[Tensor, ""]:
    r"""Match the cosines of all pairs.

    $$\ell = \frac{1}{n^2} \sum_{i,j} \left(\cos(s_i, s_j) - \cos(t_i, t_j)\right)^2$$

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.

    Raises:
        ValueError: If the batches differ in length.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> stella_similarity_loss(student, -3 * student)  # neither lengths nor rotation matter
        tensor(0.)

    References:
        Zhang et al., Jasper and Stella, 2024, equation 2, https://arxiv.org/abs/2412.19048.
    """
    check_rows("stella_similarity_loss", student, teacher)
    if len(student) < 2:
        return connected_zero(student)
    student, teacher = unit_rows(student), unit_rows(teacher.detach())
    return F.mse_loss(student @ student.T, teacher @ teacher.T)


@full_precision
def stella_triplet_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    margin: float = 0.015,
) -> Float[Tensor, ""]:
    r"""Keep the order of the cosines of all pairs.

    With $p = n (n - 1) / 2$ pairs of samples and $c$ their cosines,

    $$\ell = \frac{2}{p (p - 1)} \sum_{c^t_{ij} > c^t_{kl}}
      \max\bigl(0,\ c^s_{kl} - c^s_{ij} + m\bigr)$$

    Memory grows as $n^2$, not as the $n^4$ differences (see `asterism.relations.order`).

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        margin: How far apart $m$ the student shall keep two cosines that the teacher has in order.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 3 rows.

    Raises:
        ValueError: If the batches differ in length or the margin is negative.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
        >>> stella_triplet_loss(student, 2 * student)  # in order, and farther apart than the margin
        tensor(0.)

    References:
        Zhang et al., Jasper and Stella, 2024, equation 3, https://arxiv.org/abs/2412.19048. The
        authors' code, like this one, averages over all pairs of pairs, the satisfied ones included.
        There a tie of the teacher counts as an order, the one of the rows; here it is none.
    """
    check_rows("stella_triplet_loss", student, teacher)
    _check_margin("stella_triplet_loss", margin)
    n = len(student)
    if n < 3:
        return connected_zero(student)
    first, second = torch.triu_indices(n, n, 1, device=student.device)
    cosines = (x @ x.T for x in (unit_rows(student), unit_rows(teacher.detach())))
    pairs = [cosine[first, second] for cosine in cosines]
    return mean_order_gap(*pairs, margin=margin)


def _check_margin(name: str, margin: float) -> None:
    if not 0 <= margin < math.inf:
        raise ValueError(f"{name} needs a margin of 0 or more; got {margin}.")


class Stella(Method):
    """Match coordinates through a head, cosines of pairs, and their order; no labels needed."""

    paper: ClassVar[str] = "Zhang et al. 2024, https://arxiv.org/abs/2412.19048"

    def __init__(
        self,
        *,
        cosine_weight: float = 10.0,
        similarity_weight: float = 200.0,
        triplet_weight: float = 20.0,
        margin: float = 0.015,
    ) -> None:
        """Store the configuration.

        Args:
            cosine_weight: Factor of the coordinates' term (paper: 10). A term of weight 0 is not
                computed, and without this one there is no head.
            similarity_weight: Factor of the pairs' term (paper: 200).
            triplet_weight: Factor of the order's term (paper: 20).
            margin: How far apart the student shall keep what the teacher has in order.
        """
        super().__init__()
        check_finite(
            "Stella",
            cosine_weight=cosine_weight,
            similarity_weight=similarity_weight,
            triplet_weight=triplet_weight,
        )
        _check_margin("Stella", margin)
        self.cosine_weight = cosine_weight
        self.similarity_weight = similarity_weight
        self.triplet_weight = triplet_weight
        self.margin = margin
        self.head: nn.Linear | None = None

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make the head. Call once, before the optimiser is built.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used.
            sample: Not used.

        Raises:
            RuntimeError: If it was called before.
        """
        if self.head is not None:
            raise RuntimeError("Stella.setup() was called twice: make a new Stella().")
        if self.cosine_weight:
            self.head = nn.Linear(student_dim, teacher_dim)

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the head, the authors' scaling layer; None without the cosine term."""
        if self.head is None:
            return None
        return self.head.weight.detach().clone(), self.head.bias.detach().clone()

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": …, "similarity": …, "triplet": …}`, without those of weight 0."""
        rows = (student.embedding, teacher.embedding)
        terms = {}
        check_rows("Stella", *rows)
        if self.cosine_weight:
            if self.head is None:
                raise RuntimeError(
                    "Stella.forward() was called before Stella.setup(): call method.setup("
                    "student_dim=…, teacher_dim=…) once, before building the optimiser."
                )
            gap = _cosine_gap(project(self.head, rows[0]), rows[1])
            terms["coordinates"] = self.cosine_weight * gap
        if self.similarity_weight:
            terms["similarity"] = self.similarity_weight * stella_similarity_loss(*rows)
        if self.triplet_weight:
            triplet = stella_triplet_loss(*rows, margin=self.margin)
            terms["triplet"] = self.triplet_weight * triplet
        return terms


@full_precision
def _cosine_gap(student: Tensor, teacher: Tensor) -> Tensor:
    if len(student) == 0:
        return connected_zero(student)
    return 1 - (unit_rows(student) * unit_rows(teacher.detach())).sum(1).mean()
