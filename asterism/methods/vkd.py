"""VkD: orthogonal projections and a normalised teacher (Miles, Elezi, Deng, CVPR 2024)."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from asterism.methods.base import Method
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
    project,
)
from asterism.relations.maps import finite_rows, mapped, whitening, without_mean
from asterism.types import Batch, Outputs

Normalise = Literal["rows", "whiten", "none"]


@full_precision
def vkd_loss(
    student: Float[Tensor, "n d"], teacher: Float[Tensor, "n d"], *, normalise: bool = True
) -> Float[Tensor, ""]:
    r"""Match the projected rows of the student with the normalised rows of the teacher.

    $$\ell = \frac{1}{nd} \sum_{i,k} H\!\left(s_{ik} - \hat t_{ik}\right), \qquad
      \hat t_i = \frac{t_i - \bar t_i}{\sqrt{\mathrm{var}(t_i) + 10^{-5}}}$$

    with $\bar t_i$ and the variance taken over the components of each row, and $H$ the Huber
    function with $\delta = 1$.

    Args:
        student: Embeddings of the student, brought to the teacher's width by an orthonormal map.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        normalise: Whether the teacher's rows are brought to mean 0 and variance 1; otherwise they
            are taken as they are, whitened before, say.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch.

    Raises:
        ValueError: If the shapes differ.

    Examples:
        >>> import torch
        >>> teacher = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
        >>> vkd_loss(teacher, 5 * teacher + 2) < 1e-9
        tensor(True)

    References:
        Miles, Elezi and Deng, VkD: Improving Knowledge Distillation using Orthogonal Projections,
        CVPR 2024, https://arxiv.org/abs/2403.06213. The Huber function and the layer norm with its
        eps are the authors' code's. There the map is parametrised by Householder reflections, here
        by a QR decomposition: the same maps, sooner.
    """
    check_rows("vkd_loss", student, teacher, same_width=True)
    if student.numel() == 0:
        return connected_zero(student)
    teacher = teacher.detach()
    target = F.layer_norm(teacher, teacher.shape[1:]) if normalise else teacher
    return F.smooth_l1_loss(student, target)


class Orthonormal(nn.Module):
    """A linear map with orthonormal columns, or rows where there are fewer of these.

    It is the Q of a free matrix's QR decomposition, whose R has a positive diagonal: one column
    after the other is what the free matrix adds to those before it.

    Attributes:
        free: The matrix, the taller way round. It starts orthonormal.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        """Draw the map."""
        super().__init__()
        self.tall = teacher_dim >= student_dim
        shape = max(student_dim, teacher_dim), min(student_dim, teacher_dim)
        self.free = nn.Parameter(nn.init.orthogonal_(torch.empty(shape)))

    @property
    def weight(self) -> Tensor:
        """The map, `(teacher_dim, student_dim)`."""
        q, r = torch.linalg.qr(self.free)
        columns: Tensor = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
        return columns if self.tall else columns.T

    def forward(self, rows: Tensor) -> Tensor:
        """Return the mapped rows."""
        return rows @ self.weight.T


class VkD(Method):
    """Match coordinates through an orthonormal map that is trained; no labels needed."""

    paper: ClassVar[str] = "Miles et al., CVPR 2024, https://arxiv.org/abs/2403.06213"

    mean: Tensor
    whitener: Tensor

    def __init__(self, *, normalise: Normalise = "rows", weight: float = 1.0) -> None:
        """Store the configuration.

        Args:
            normalise: What is done to the teacher's rows: each brought to mean 0 and variance 1
                (`rows`, the paper's choice for classifiers and detectors), decorrelated over the
                data (`whiten`, its choice for generators), or `none`.
            weight: Factor of the loss, beside the task loss's own.
        """
        super().__init__()
        check_finite("VkD", weight=weight)
        check_choice("normalise", normalise, Normalise)
        self.normalise = normalise
        self.weight = weight
        self.projection: Orthonormal | None = None
        if normalise == "whiten":
            self.needs = frozenset({"sample"})

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make the projection and the whitening. Call once, before the optimiser is built.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used.
            sample: What both networks return for some training samples, to whiten with; without it
                the teacher's rows are taken as they are.

        Raises:
            RuntimeError: If it was called before.
        """
        if self.projection is not None:
            raise RuntimeError("VkD.setup() was called twice: make a new VkD().")
        self.projection = Orthonormal(student_dim, teacher_dim)
        if self.normalise == "whiten":
            known = finite_rows(sample)
            whitened = (torch.zeros(teacher_dim), torch.eye(teacher_dim))
            if known is not None:
                whitened = whitening(known[1])
            for name, buffer in zip(("mean", "whitener"), whitened, strict=True):
                self.register_buffer(name, buffer)

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the projection, with the whitening undone.

        With `rows` it leads to the teacher's normalised rows; the mean and the length of each are
        not known from the student.
        """
        if self.projection is None:
            return None
        weight = self.projection.weight.detach()
        if self.normalise != "whiten":
            return weight.clone(), weight.new_zeros(len(weight))
        colours = torch.linalg.inv(self.whitener.double()).to(weight.dtype)
        return colours @ weight, self.mean.clone()

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"coordinates": loss}`."""
        if self.projection is None:
            raise RuntimeError(
                "VkD.forward() was called before VkD.setup(): call method.setup(student_dim=…, "
                "teacher_dim=…) once, before building the optimiser."
            )
        target = teacher.embedding.detach()
        if self.normalise == "whiten":
            target = mapped(without_mean(target, self.mean), self.whitener)
        rows = project(self.projection, student.embedding)
        loss = vkd_loss(rows, target, normalise=self.normalise == "rows")
        return {"coordinates": self.weight * loss}
