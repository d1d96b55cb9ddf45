"""Similarity-Preserving Knowledge Distillation (Tung, Mori, ICCV 2019)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.directions import LIFT, SHORTEST, unit_rows
from asterism.relations.inputs import check_finite, check_rows, connected_zero, full_precision
from asterism.types import Batch, Outputs


@full_precision
def sp_loss(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Float[Tensor, ""]:
    r"""Match the inner products within a batch, each sample's divided by their length.

    $$\ell = \frac{1}{n^2} \sum_{i,j} \left(
      \frac{\langle s_i, s_j \rangle}{\lVert S s_i \rVert}
      - \frac{\langle t_i, t_j \rangle}{\lVert T t_i \rVert}\right)^2$$

    with $S$ and $T$ the matrices of all embeddings as rows: the rows of the Gram matrix are
    normalised, the embeddings are not. Longer embeddings weigh more; a common scale does not
    matter.

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.

    Raises:
        ValueError: If the batches differ in length.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> sp_loss(student, -5 * student)  # neither scale nor rotation matters
        tensor(0.)

    References:
        Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019, equation 4,
        https://arxiv.org/abs/1907.09682. A zero row has the similarity 0 with every sample and no
        gradient flows through its row of the Gram matrix.
    """
    check_rows("sp_loss", student, teacher)
    if len(student) < 2:
        return connected_zero(student)
    return F.mse_loss(_similarities(student), _similarities(teacher.detach()))


def _similarities(rows: Tensor) -> Tensor:
    # A common scale changes nothing but the range of the products. Rows too small for a gradient
    # that can be represented get none.
    largest = rows.detach().abs().amax() if rows.numel() else rows.new_ones(())
    small = largest < SHORTEST
    rows = torch.where(small, rows.detach() * LIFT, rows)
    rows = rows / torch.where(small, largest * LIFT, largest).clamp_min(SHORTEST)
    return unit_rows(rows @ rows.T)


class SP(Method):
    """Match the inner products among the samples of a batch; no labels needed."""

    paper: ClassVar[str] = "Tung & Mori, ICCV 2019, https://arxiv.org/abs/1907.09682"

    def __init__(self, *, weight: float = 3000.0) -> None:
        """Store the configuration.

        Args:
            weight: Factor of the loss, beside the task loss's own. The loss is small, as the mean
                of n² squares whose sum is at most 4 n (paper: 3000).
        """
        super().__init__()
        check_finite("SP", weight=weight)
        self.weight = weight

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"similarity": loss}`."""
        return {"similarity": self.weight * sp_loss(student.embedding, teacher.embedding)}
