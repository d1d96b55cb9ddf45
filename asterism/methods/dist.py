"""DIST: Knowledge Distillation from A Stronger Teacher (Huang et al., NeurIPS 2022)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.inputs import (
    check_finite,
    check_rows,
    check_temperature,
    connected_zero,
    full_precision,
)
from asterism.types import Batch, Outputs

EPS = 1e-8  # of the authors' code, added to products of lengths


@full_precision
def dist_inter_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Correlate, for each sample, the probabilities of its classes with the teacher's.

    With the matrices $P^s, P^t$ of probabilities at temperature $T$, one row per sample, and the
    Pearson correlation $\rho$ of two vectors,

    $$\ell = \frac{T^2}{n} \sum_i \left(1 - \rho(P^s_{i\cdot}, P^t_{i\cdot})\right).$$

    A correlation asks for less than equality, which a small student cannot reach.

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        temperature: Softness $T$ of both distributions.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits), from 0 to $2 T^2$; zero for an
        empty batch and for fewer than 2 classes.

    Raises:
        ValueError: If the shapes differ or the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> dist_inter_loss(logits, logits + 3) < 1e-6  # adding a constant changes no probability
        tensor(True)

    References:
        Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, section 3,
        https://arxiv.org/abs/2205.10536. The factor $T^2$ is in the authors' code, not in the
        paper's formula; so is an eps of 1e-8 beside the lengths' product. Where a row of the
        student is constant, the correlation is 0 and has no gradient.
    """
    check_rows("dist_inter_loss", student_logits, teacher_logits, same_width=True)
    check_temperature("dist_inter_loss", temperature)
    student, teacher = _probabilities(student_logits, teacher_logits, temperature)
    return temperature**2 * _mean_gap(student, teacher)


@full_precision
def dist_intra_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    *,
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Correlate, for each class, its probabilities over the samples with the teacher's.

    $$\ell = \frac{T^2}{c} \sum_k \left(1 - \rho(P^s_{\cdot k}, P^t_{\cdot k})\right)$$

    with the symbols of `dist_inter_loss`.

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        temperature: Softness $T$ of both distributions.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits), from 0 to $2 T^2$; zero for
        fewer than 2 samples.

    Raises:
        ValueError: If the shapes differ or the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> dist_intra_loss(logits, logits + 3) < 1e-6
        tensor(True)

    References:
        As `dist_inter_loss`. Where a column of the student is constant, the correlation is 0 and
        has no gradient.
    """
    check_rows("dist_intra_loss", student_logits, teacher_logits, same_width=True)
    check_temperature("dist_intra_loss", temperature)
    student, teacher = _probabilities(student_logits, teacher_logits, temperature)
    return temperature**2 * _mean_gap(student.T, teacher.T)


@full_precision
def dist_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    *,
    temperature: float = 1.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Return the weighted sum of `dist_inter_loss` and `dist_intra_loss`.

    $$\ell = \beta\, \ell_\mathrm{inter} + \gamma\, \ell_\mathrm{intra}$$

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        temperature: Softness $T$ of both distributions.
        inter_weight: Factor $\beta$ of the relation between the classes of each sample.
        intra_weight: Factor $\gamma$ of the relation between the samples for each class.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); without the first part for
        fewer than 2 classes and without the second for fewer than 2 samples. A part of weight 0
        is not computed.

    Raises:
        ValueError: If the shapes differ or the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> dist_loss(logits, logits + 3) < 1e-6
        tensor(True)

    References:
        Huang et al., NeurIPS 2022, section 3, https://arxiv.org/abs/2205.10536.
    """
    check_rows("dist_loss", student_logits, teacher_logits, same_width=True)
    check_temperature("dist_loss", temperature)
    check_finite("dist_loss", inter_weight=inter_weight, intra_weight=intra_weight)
    student, teacher = _probabilities(student_logits, teacher_logits, temperature)
    loss = connected_zero(student_logits)
    if inter_weight:
        loss = loss + temperature**2 * inter_weight * _mean_gap(student, teacher)
    if intra_weight:
        loss = loss + temperature**2 * intra_weight * _mean_gap(student.T, teacher.T)
    return loss


def _probabilities(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return (student / temperature).softmax(1), (teacher.detach() / temperature).softmax(1)


def _mean_gap(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean over the rows of one minus their correlation."""
    if len(student) < 1 or student.shape[1] < 2:
        return connected_zero(student)
    centred_s = student - student.mean(1, keepdim=True)
    centred_t = teacher - teacher.mean(1, keepdim=True)
    spread_s = centred_s.norm(dim=1)
    rounding = 4 * torch.finfo(student.dtype).eps * student.detach().norm(dim=1)
    correlation = (centred_s * centred_t).sum(1) / (spread_s * centred_t.norm(dim=1) + EPS)
    gaps: Tensor = 1 - correlation.masked_fill(spread_s.detach() <= rounding, 0)
    return gaps.mean()


class DIST(Method):
    """Correlate class probabilities with the teacher's, per sample and per class."""

    paper: ClassVar[str] = "Huang et al., NeurIPS 2022, https://arxiv.org/abs/2205.10536"
    needs = frozenset({"logits"})

    def __init__(
        self, *, inter_weight: float = 1.0, intra_weight: float = 1.0, temperature: float = 1.0
    ) -> None:
        """Store the configuration.

        Args:
            inter_weight: Factor of the relation between the classes of each sample (paper: 1 on
                ImageNet, 2 on CIFAR-100).
            intra_weight: Factor of the relation between the samples for each class (likewise). A
                term of weight 0 is not computed.
            temperature: Softness of both distributions (paper: 1 on ImageNet, 4 on CIFAR-100).
        """
        super().__init__()
        check_finite("DIST", inter_weight=inter_weight, intra_weight=intra_weight)
        check_temperature("DIST", temperature)
        self.inter_weight = inter_weight
        self.intra_weight = intra_weight
        self.temperature = temperature

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"inter": …, "intra": …}`, without the terms of weight 0."""
        if student.logits is None or teacher.logits is None:
            raise ValueError("DIST compares logits: both networks need a classifier, or use RKD.")
        both = student.logits, teacher.logits
        shared: dict[str, Any] = {"temperature": self.temperature}
        terms = {}
        if weight := self.inter_weight:
            terms["inter"] = dist_loss(*both, inter_weight=weight, intra_weight=0.0, **shared)
        if weight := self.intra_weight:
            terms["intra"] = dist_loss(*both, inter_weight=0.0, intra_weight=weight, **shared)
        return terms
