"""EmbedDistill (Kim et al., 2023): match embeddings one by one, through a head."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
    project,
)
from asterism.types import Batch, Outputs

Distance = Literal["cosine", "mse", "l2"]
Head = Literal["linear", "mlp", "none"]


@full_precision
def pointwise_loss(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    *,
    distance: Distance = "cosine",
) -> Float[Tensor, ""]:
    r"""Match each row of the student with the teacher's row for the same sample.

    $$\ell_\mathrm{cosine} = 1 - \frac{1}{n} \sum_i \cos(s_i, t_i), \qquad
      \ell_\mathrm{mse} = \frac{1}{nd} \sum_i \lVert s_i - t_i \rVert^2, \qquad
      \ell_\mathrm{l2} = \frac{1}{n} \sum_i \lVert s_i - t_i \rVert$$

    Args:
        student: Embeddings of the student, as wide as the teacher's (through a head, if need be).
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        distance: How two rows are compared: `cosine`, whatever their lengths; `mse`, the mean
            square of the components; or `l2`, the mean distance, kinder to outliers.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch.

    Raises:
        ValueError: If the shapes differ or the distance is unknown.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
        >>> pointwise_loss(0 * teacher, teacher, distance="l2")  # 5 and 2
        tensor(3.5000)

    References:
        Kim et al., EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval,
        2023, https://arxiv.org/abs/2301.12005, whose embedding matching is `l2` through a linear
        head. A row of zeros has the cosine 0 and no gradient; nor has a distance of 0.
    """
    check_choice("distance", distance, Distance)
    check_rows("pointwise_loss", student, teacher, same_width=True)
    if student.numel() == 0:
        return connected_zero(student)
    teacher = teacher.detach()
    if distance == "cosine":
        return 1 - (unit_rows(student) * unit_rows(teacher)).sum(1).mean()
    gap = student - teacher
    return gap.square().mean() if distance == "mse" else gap.norm(dim=1).mean()


class Pointwise(Method):
    """Match embeddings one by one, through a head that is trained too; no labels needed."""

    paper: ClassVar[str] = "Kim et al. 2023 (EmbedDistill), https://arxiv.org/abs/2301.12005"

    def __init__(
        self,
        *,
        distance: Distance = "cosine",
        head: Head = "linear",
        hidden: int | None = None,
        keep_head: bool = True,
        weight: float = 1.0,
    ) -> None:
        """Store the configuration.

        Args:
            distance: How two rows are compared: `cosine`, `mse` or `l2`.
            head: How the student comes to the teacher's width: by a `linear` map, an `mlp` of two
                layers, or `none` where the widths are equal.
            hidden: Width of the mlp's hidden layer; None for the teacher's width.
            keep_head: Whether a linear head is told as the student's aligner. An mlp never is.
            weight: Factor of the loss, beside the task loss's own.
        """
        super().__init__()
        check_finite("Pointwise", weight=weight)
        check_choice("distance", distance, Distance)
        check_choice("head", head, Head)
        if hidden is not None and hidden < 1:
            raise ValueError(f"Pointwise needs a hidden layer of at least 1 unit; got {hidden}.")
        self.distance = distance
        self.head = head
        self.hidden = hidden
        self.keep_head = keep_head
        self.weight = weight
        self.projection: nn.Module | None = None

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
            ValueError: If there shall be no head and the widths differ.
        """
        if self.projection is not None:
            raise RuntimeError("Pointwise.setup() was called twice: make a new Pointwise().")
        if self.head == "linear":
            self.projection = nn.Linear(student_dim, teacher_dim)
        elif self.head == "mlp":
            hidden = self.hidden or teacher_dim
            self.projection = nn.Sequential(
                nn.Linear(student_dim, hidden), nn.GELU(), nn.Linear(hidden, teacher_dim)
            )
        elif student_dim != teacher_dim:
            raise ValueError(
                f"Pointwise(head='none') needs equal widths; the student has {student_dim} columns,"
                f" the teacher {teacher_dim}: use head='linear', or Anchored."
            )

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the linear head, if it is kept; None for one that is dropped, and for an mlp."""
        if not (self.keep_head and isinstance(self.projection, nn.Linear)):
            return None
        return self.projection.weight.detach().clone(), self.projection.bias.detach().clone()

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": loss}`."""
        rows = student.embedding
        if self.projection is not None:
            rows = project(self.projection, rows)
        elif self.head != "none":
            raise RuntimeError(
                "Pointwise.forward() was called before Pointwise.setup(): call method.setup("
                "student_dim=…, teacher_dim=…) once, before building the optimiser."
            )
        loss = pointwise_loss(rows, teacher.embedding, distance=self.distance)
        return {"coordinates": self.weight * loss}
