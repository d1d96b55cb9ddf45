"""SimReg: regression on a self-supervised teacher (Navaneet et al., BMVC 2021)."""

from typing import ClassVar

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


@full_precision
def simreg_loss(student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    r"""Match directions: the squared distance of rows of unit length.

    $$\ell = \frac{1}{n} \sum_i \left\lVert \frac{s_i}{\lVert s_i \rVert}
      - \frac{t_i}{\lVert t_i \rVert} \right\rVert^2 = \frac{1}{n} \sum_i 2 - 2 \cos(s_i, t_i)$$

    Args:
        student: Embeddings of the student, through a head.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> import torch
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> simreg_loss(-rows, rows)
        tensor(4.)

    References:
        Navaneet et al., SimReg: Regression as a Simple Yet Effective Tool for Self-supervised
        Knowledge Distillation, BMVC 2021, https://arxiv.org/abs/2201.05131, equation 1.
    """
    check_rows("simreg_loss", student, teacher, same_width=True)
    if student.numel() == 0:
        return connected_zero(student)
    return 2 - 2 * (unit_rows(student) * unit_rows(teacher.detach())).sum(1).mean()


class SimReg(Method):
    """Regress on the teacher through a deep head that is dropped; no labels needed."""

    paper: ClassVar[str] = "Navaneet et al., BMVC 2021, https://arxiv.org/abs/2201.05131"

    def __init__(self, *, layers: int = 4, weight: float = 1.0) -> None:
        """Store the configuration.

        Args:
            layers: How many layers the head has (paper: 4, or 2).
            weight: Factor of the loss, beside the task loss's own (paper: 1, alone).
        """
        super().__init__()
        check_finite("SimReg", weight=weight)
        if layers < 1:
            raise ValueError(f"SimReg needs a head of at least 1 layer; got {layers}.")
        self.layers = layers
        self.weight = weight
        self.head: nn.Sequential | None = None

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make the head. Call once, before the optimiser is built.

        Its hidden layers are twice as wide as the student and as wide as it by turns, each followed
        by batch normalisation and a ReLU, but every second one by nothing, as in the authors' code.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used.
            sample: Not used.

        Raises:
            RuntimeError: If it was called before.
        """
        if self.head is not None:
            raise RuntimeError("SimReg.setup() was called twice: make a new SimReg().")
        parts: list[nn.Module] = []
        width = student_dim
        for i in range(self.layers - 1):
            hidden = student_dim if i % 2 else 2 * student_dim
            parts.append(nn.Linear(width, hidden))
            if i % 2 == 0:
                parts += [nn.BatchNorm1d(hidden), nn.ReLU()]
            width = hidden
        self.head = nn.Sequential(*parts, nn.Linear(width, teacher_dim))

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": loss}`."""
        if self.head is None:
            raise RuntimeError(
                "SimReg.forward() was called before SimReg.setup(): call method.setup("
                "student_dim=…, teacher_dim=…) once, before building the optimiser."
            )
        # A single row has no deviation to normalise by: the running one is taken.
        self.head.train(self.training and len(student.embedding) > 1)
        loss = simreg_loss(project(self.head, student.embedding), teacher.embedding)
        return {"coordinates": self.weight * loss}
