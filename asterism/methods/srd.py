"""SRD: the role of the projector (Miles, Mikolajczyk, AAAI 2024)."""

import math
from typing import ClassVar

import torch
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
from asterism.types import Batch, Outputs

# Largest gap, in standard deviations of a column, that is taken for rounding.
ROUNDING = 1e-6


@full_precision
def srd_loss(
    student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], *, alpha: float = 4.0
) -> Float[Tensor, ""]:
    r"""Match standardised columns, on a logarithmic scale.

    With each column of both brought to mean 0 and variance 1 over the batch,

    $$\ell = \log \frac{1}{nd} \sum_{i,k} \lvert \hat s_{ik} - \hat t_{ik} \rvert^\alpha$$

    A large $\alpha$ looks at the worst components; the logarithm keeps the gradient's size while
    the gap shrinks.

    Args:
        student: Embeddings of the student, through a linear head, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        alpha: The power.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.
        It is negative for gaps below 1, and $\alpha \log 10^{-6}$, without a gradient, where no
        gap exceeds rounding.

    Raises:
        ValueError: If the shapes differ or alpha is below 1.

    Examples:
        >>> import torch
        >>> rows = torch.tensor([[0.0], [2.0]])
        >>> srd_loss(-rows, rows)  # -1 against 1, and 1 against -1: log 2⁴
        tensor(2.7726)

    References:
        Miles and Mikolajczyk, Understanding the Role of the Projector in Knowledge Distillation,
        AAAI 2024, https://arxiv.org/abs/2303.11098, equations 6 and 7. The paper's sum in place of
        the mean adds $\log nd$, and no gradient. Its batch normalisation has an eps of 1e-5 beside
        the variance; here columns without spread are zero and get no gradient instead.
    """
    check_rows("srd_loss", student, teacher, same_width=True)
    _check_alpha("srd_loss", alpha)
    if len(student) < 2 or student.numel() == 0:
        return connected_zero(student)
    gap = (_standard_columns(student) - _standard_columns(teacher.detach())).abs()
    # Powers are taken of gaps relative to the largest, which neither overflow nor vanish.
    largest = gap.detach().amax().clamp_min(ROUNDING)
    relative = (gap / largest).pow(alpha).mean()
    exact = gap.detach().amax() <= ROUNDING
    relative = torch.where(exact, relative.detach() * 0 + 1, relative)
    return relative.log() + alpha * largest.log() + connected_zero(student)


def _standard_columns(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(0, dtype=torch.float64).to(rows.dtype)
    spread = centred.detach().abs().amax(0)
    flat = spread <= 4 * torch.finfo(rows.dtype).eps * rows.detach().abs().amax(0)
    standard: Tensor = unit_rows(centred.T).T * math.sqrt(len(rows))
    return standard.masked_fill(flat, 0)


def _check_alpha(name: str, alpha: float) -> None:
    if not 1 <= alpha < math.inf:
        raise ValueError(f"{name} needs an alpha of 1 or more; got {alpha}.")


class SRD(Method):
    """Match standardised coordinates through a linear head; no labels needed."""

    paper: ClassVar[str] = "Miles & Mikolajczyk, AAAI 2024, https://arxiv.org/abs/2303.11098"

    def __init__(self, *, alpha: float = 4.0, weight: float = 1.0) -> None:
        """Store the configuration.

        Args:
            alpha: Power of the gaps (paper: 4 to 5).
            weight: Factor of the loss, beside the task loss's own.
        """
        super().__init__()
        check_finite("SRD", weight=weight)
        _check_alpha("SRD", alpha)
        self.alpha = alpha
        self.weight = weight
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
            raise RuntimeError("SRD.setup() was called twice: make a new SRD().")
        self.head = nn.Linear(student_dim, teacher_dim)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": loss}`."""
        if self.head is None:
            raise RuntimeError(
                "SRD.forward() was called before SRD.setup(): call method.setup(student_dim=…, "
                "teacher_dim=…) once, before building the optimiser."
            )
        loss = srd_loss(project(self.head, student.embedding), teacher.embedding, alpha=self.alpha)
        return {"coordinates": self.weight * loss}
