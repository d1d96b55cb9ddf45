"""Correlation Congruence for Knowledge Distillation (Peng et al., ICCV 2019)."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import check_finite, check_rows, connected_zero, full_precision
from asterism.types import Batch, Outputs


@full_precision
def cc_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    gamma: float = 0.4,
    order: int | None = 2,
) -> Float[Tensor, ""]:
    r"""Match a kernel matrix of the student to that of the teacher.

    The kernel is Gaussian on the unit sphere, expanded around orthogonal embeddings:

    $$k(x, y) = e^{-\gamma \lVert \hat x - \hat y \rVert^2}
      \approx e^{-2\gamma} \sum_{p=0}^{P} \frac{(2\gamma)^p}{p!} \langle \hat x, \hat y \rangle^p,
      \qquad \ell = \frac{1}{n^2} \sum_{i,j} \left(k(s_i, s_j) - k(t_i, t_j)\right)^2$$

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        gamma: Sharpness $\gamma$ of the kernel.
        order: Last power $P$ of the expansion; None for the Gaussian itself.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.

    Raises:
        ValueError: If the batches differ in length, or gamma or order is not positive.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> cc_loss(student, 3 * student)  # lengths do not matter
        tensor(0.)

    References:
        Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019, section 3.3,
        https://arxiv.org/abs/1904.01802. The authors published no code that we know of. A loss
        named CC in a widely used collection compares differences of consecutive samples instead.
    """
    check_rows("cc_loss", student, teacher)
    _check_kernel("cc_loss", gamma, order)
    if len(student) < 2:
        return connected_zero(student)
    return F.mse_loss(_kernel(student, gamma, order), _kernel(teacher.detach(), gamma, order))


def _check_kernel(name: str, gamma: float, order: int | None) -> None:
    if not 0 < gamma < math.inf or (order is not None and not 1 <= order <= 100):
        raise ValueError(
            f"{name} needs a positive gamma and an order from 1 to 100, or None for the Gaussian "
            f"itself; got {gamma=} and {order=}."
        )


def _kernel(rows: Tensor, gamma: float, order: int | None) -> Tensor:
    units = unit_rows(rows)
    exponent = 2 * gamma * (units @ units.T)
    if order is None:
        return (exponent - 2 * gamma).exp()
    term = torch.full_like(exponent, math.exp(-2 * gamma))
    kernel = term
    for p in range(1, order + 1):
        term = term * exponent / p
        kernel = kernel + term
    return kernel


class CC(Method):
    """Match a Gaussian kernel matrix of the embeddings; no labels needed."""

    paper: ClassVar[str] = "Peng et al., ICCV 2019, https://arxiv.org/abs/1904.01802"

    def __init__(self, *, weight: float = 100.0, gamma: float = 0.4, order: int | None = 2) -> None:
        """Store the configuration.

        Args:
            weight: Factor of the loss. Kernel values differ little, so it is large; 100 is in use
                beside cross-entropy on CIFAR.
            gamma: Sharpness of the kernel.
            order: Last power of the kernel's expansion; None for the Gaussian itself.
        """
        super().__init__()
        check_finite("CC", weight=weight)
        _check_kernel("CC", gamma, order)
        self.weight = weight
        self.gamma = gamma
        self.order = order

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"correlation": loss}`."""
        loss = cc_loss(student.embedding, teacher.embedding, gamma=self.gamma, order=self.order)
        return {"correlation": self.weight * loss}
