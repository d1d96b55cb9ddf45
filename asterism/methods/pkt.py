"""Learning Deep Representations with Probabilistic Knowledge Transfer (Passalis, Tefas, 2018)."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import check_finite, check_rows, connected_zero, full_precision
from asterism.types import Batch, Outputs

EPS = 1e-7  # of the authors' code, under logarithms


@full_precision
def pkt_loss(
    student: Float[Tensor, "n d_student"], teacher: Float[Tensor, "n d_teacher"]
) -> Float[Tensor, ""]:
    r"""Match the neighbourhoods of the student to those of the teacher.

    Each sample sees the others with probabilities given by a cosine kernel,

    $$p_{ij} = \frac{k_{ij}}{\sum_l k_{il}}, \qquad
      k_{ij} = \tfrac12 \left(\langle \hat x_i, \hat x_j \rangle + 1\right), \qquad
      \ell = \frac{1}{n^2} \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij}}{p^s_{ij}}$$

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
        >>> pkt_loss(student, 3 * student).abs() < 1e-6  # lengths do not matter
        tensor(True)

    References:
        Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer,
        ECCV 2018, https://arxiv.org/abs/1803.10837. The paper leaves each sample out of its own
        neighbourhood and sums over the pairs; the authors' code, like this one, keeps it and
        averages over all n² pairs, and the weights in use go with that. Its eps of 1e-7 under
        logarithms is kept; the one added to lengths is not, for it breaks the invariance to scale,
        and a row of zeros gets no gradient instead.
    """
    check_rows("pkt_loss", student, teacher)
    if len(student) < 2:
        return connected_zero(student)
    near_s, near_t = _neighbourhoods(student), _neighbourhoods(teacher.detach())
    return (near_t * ((near_t + EPS) / (near_s + EPS)).log()).mean()


def _neighbourhoods(rows: Tensor) -> Tensor:
    units = unit_rows(rows)
    kernel = (units @ units.T + 1).clamp_min(0) / 2  # rounding goes below
    return kernel / kernel.sum(1, keepdim=True)


class PKT(Method):
    """Match the probabilities with which samples see each other; no labels needed."""

    paper: ClassVar[str] = "Passalis and Tefas, ECCV 2018, https://arxiv.org/abs/1803.10837"

    def __init__(self, *, weight: float = 30_000.0) -> None:
        """Store the configuration.

        Args:
            weight: Factor of the loss, which is the mean divergence per sample divided by the
                batch size n. 30,000 is in use beside cross-entropy on CIFAR-100 with n = 64; the
                same strength at another size takes n / 64 times that.
        """
        super().__init__()
        check_finite("PKT", weight=weight)
        self.weight = weight

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"neighbourhood": loss}`."""
        return {"neighbourhood": self.weight * pkt_loss(student.embedding, teacher.embedding)}
