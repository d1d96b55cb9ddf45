"""Relational Knowledge Distillation (Park et al., CVPR 2019)."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from asterism.methods.base import Method
from asterism.relations.angles import mean_angle_gap
from asterism.relations.directions import unit_rows as divided_by_length
from asterism.relations.distances import mean_distance_gap
from asterism.relations.inputs import check_finite, check_rows, connected_zero, full_precision
from asterism.types import Batch, Outputs


@full_precision
def rkd_distance_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    unit_rows: bool = False,
) -> Float[Tensor, ""]:
    r"""Match the pairwise distances of the student to those of the teacher.

    Each set of distances is divided by its own mean, so neither the scale nor the width of an
    embedding matters:

    $$\ell = \frac{1}{n^2} \sum_{i \ne j}
      H\!\left(\frac{\lVert s_i - s_j \rVert}{\mu_s}
             - \frac{\lVert t_i - t_j \rVert}{\mu_t}\right)$$

    with $H$ the Huber function with $\delta = 1$. The gradient flows through $\mu_s$ too.

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        unit_rows: Whether all rows are first divided by their lengths, in both networks, as in the
            authors' classification code. A row of zeros stays one, without a gradient.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 2 rows.

    Raises:
        ValueError: If the batches differ in length.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0.0], [1.0], [3.0]])
        >>> rkd_distance_loss(student, 10 * student)  # scale does not matter
        tensor(0.)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, section 3.2,
        https://arxiv.org/abs/1904.05068. The paper sums over the pairs; the authors' code, like
        this one, averages over all n² entries of the distance matrix, and the published weights
        go with that. The mean over distinct pairs is n / (n - 1) times this value, the paper's
        sum n² times. Distances are floored at 1e-6, as the authors' code does, but at no more than
        1e-6 of their mean: scale does not matter, however small.
    """
    check_rows("rkd_distance_loss", student, teacher)
    if len(student) < 2:
        return connected_zero(student)
    if unit_rows:
        student, teacher = divided_by_length(student), divided_by_length(teacher.detach())
    return mean_distance_gap(student, teacher)


@full_precision
def rkd_angle_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    unit_rows: bool = False,
) -> Float[Tensor, ""]:
    r"""Match the angles within all triplets of the student to those of the teacher.

    $$\ell = \frac{1}{n^3} \sum_{v,a,b} H\!\left(\cos\angle(s_a, s_v, s_b)
      - \cos\angle(t_a, t_v, t_b)\right)$$

    with the vertex $v$ in the middle and $H$ the Huber function with $\delta = 1$. Memory grows as
    $n^2$, time as $n^3$ (see `asterism.relations.angles`).

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        unit_rows: Whether all rows are first divided by their lengths, in both networks, as in the
            authors' classification code. A row of zeros stays one, without a gradient.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for fewer than 3 rows.

    Raises:
        ValueError: If the batches differ in length.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
        >>> rkd_angle_loss(student, 8 * student)  # scale does not matter
        tensor(0.)

    References:
        Park et al., Relational Knowledge Distillation, CVPR 2019, section 3.2,
        https://arxiv.org/abs/1904.05068. The paper sums over distinct triplets; the authors' code,
        like this one, averages over all n³ index triplets. The mean over distinct triplets is
        n² / ((n - 1)(n - 2)) times this value. Where rows coincide in one network only, the
        authors' gradient is an artefact of their eps of order 1e9; here such arms get none.
    """
    check_rows("rkd_angle_loss", student, teacher)
    if len(student) < 3:
        return connected_zero(student)
    if unit_rows:
        student, teacher = divided_by_length(student), divided_by_length(teacher.detach())
    return mean_angle_gap(student, teacher)


class RKDDistanceLoss(nn.Module):
    """Module form of `rkd_distance_loss`."""

    def __init__(self, *, unit_rows: bool = False) -> None:
        """Store whether all rows are first divided by their lengths."""
        super().__init__()
        self.unit_rows = unit_rows

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of one batch."""
        return rkd_distance_loss(student, teacher, unit_rows=self.unit_rows)


class RKDAngleLoss(nn.Module):
    """Module form of `rkd_angle_loss`."""

    def __init__(self, *, unit_rows: bool = False) -> None:
        """Store whether all rows are first divided by their lengths."""
        super().__init__()
        self.unit_rows = unit_rows

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss of one batch."""
        return rkd_angle_loss(student, teacher, unit_rows=self.unit_rows)


class RKD(Method):
    """Match distances and angles among the samples of a batch; no labels needed."""

    paper: ClassVar[str] = "Park et al., CVPR 2019, https://arxiv.org/abs/1904.05068"

    def __init__(
        self, *, distance_weight: float = 1.0, angle_weight: float = 2.0, unit_rows: bool = False
    ) -> None:
        """Store the configuration.

        Args:
            distance_weight: Factor of the distance term (paper: 1 for metric learning, 25 beside
                cross-entropy).
            angle_weight: Factor of the angle term (paper: 2 for metric learning, 50 beside
                cross-entropy). A term of weight 0 is not computed.
            unit_rows: Whether all rows are first divided by their lengths in both networks: the
                authors' classification code does so, with weights of 25 and 50; the rows named RKD
                in the CIFAR-100 tables of other papers come from raw rows with the same weights.
        """
        super().__init__()
        check_finite("RKD", distance_weight=distance_weight, angle_weight=angle_weight)
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight
        self.unit_rows = unit_rows

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"distance": …, "angle": …}`, without the terms of weight 0."""
        rows = (student.embedding, teacher.embedding)
        terms = {}
        if self.distance_weight:
            distance = rkd_distance_loss(*rows, unit_rows=self.unit_rows)
            terms["distance"] = self.distance_weight * distance
        if self.angle_weight:
            angle = rkd_angle_loss(*rows, unit_rows=self.unit_rows)
            terms["angle"] = self.angle_weight * angle
        return terms
