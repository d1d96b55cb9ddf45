"""Decoupled Knowledge Distillation (Zhao et al., CVPR 2022)."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.inputs import (
    check_finite,
    check_rows,
    check_target,
    check_temperature,
    connected_zero,
    full_precision,
)
from asterism.relations.predictions import divergence, standardised
from asterism.types import Batch, Outputs


@full_precision
def dkd_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    target: Int[Tensor, " n"],
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    nontarget_weight: float = 8.0,
    standardise: bool = False,
) -> Float[Tensor, ""]:
    r"""Match the probability of the true class, and those of the other classes among themselves.

    At temperature $T$ let $b$ be the two probabilities of the true class and of all others, and
    $q$ the distribution over the others alone:

    $$\ell = \frac{T^2}{n} \sum_i \alpha\, \mathrm{KL}(b^t_i \Vert b^s_i)
      + \beta\, \mathrm{KL}(q^t_i \Vert q^s_i)$$

    Plain distillation is the same with $\beta$ replaced by the teacher's probability of the other
    classes, which all but silences them where the teacher is sure.

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        target: True classes.
        temperature: Softness $T$ of all distributions.
        target_weight: Factor $\alpha$ of the true class's part.
        nontarget_weight: Factor $\beta$ of the other classes' part. A part of weight 0 is not
            computed.
        standardise: Whether each row of logits is first brought to mean 0 and standard deviation 1
            in both networks, see `kd_loss`.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); zero for an empty batch and for
        fewer than 2 classes.

    Raises:
        ValueError: If the shapes differ or the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
        >>> dkd_loss(logits, logits + 3, torch.tensor([0])) < 1e-6  # probabilities are the same
        tensor(True)

    References:
        Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, section 3,
        https://arxiv.org/abs/2203.08679. The authors' code hides the true class by subtracting
        1000 from its logit and takes logarithms of sums of probabilities, which fails for large
        logits; here the class is left out and all is computed from logarithms.
    """
    check_rows("dkd_loss", student_logits, teacher_logits, same_width=True)
    check_temperature("dkd_loss", temperature)
    n, c = student_logits.shape
    check_target("dkd_loss", target, n)
    check_finite("dkd_loss", target_weight=target_weight, nontarget_weight=nontarget_weight)
    if n == 0 or c < 2:
        return connected_zero(student_logits)
    if standardise:
        student_logits, teacher_logits = standardised(student_logits), standardised(teacher_logits)
    binary_s, others_s = _decouple(student_logits / temperature, target)
    binary_t, others_t = _decouple(teacher_logits.detach() / temperature, target)
    loss = connected_zero(student_logits)
    if target_weight:
        loss = loss + target_weight * divergence(binary_s, binary_t)
    if nontarget_weight:
        loss = loss + nontarget_weight * divergence(others_s, others_t)
    return temperature**2 * loss


def _decouple(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the true class's probability and its complement, and of the rest."""
    true = target.long()[:, None]
    classes = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, classes + (classes >= true))  # the true class is skipped
    sides = torch.stack([logits.gather(1, true).squeeze(1), others.logsumexp(1)], dim=1)
    return sides.log_softmax(1), others.log_softmax(1)


class DKD(Method):
    """Match the true class's probability and, by themselves, those of the other classes."""

    paper: ClassVar[str] = "Zhao et al., CVPR 2022, https://arxiv.org/abs/2203.08679"
    needs = frozenset({"logits", "target"})

    def __init__(
        self,
        *,
        target_weight: float = 1.0,
        nontarget_weight: float = 8.0,
        temperature: float = 4.0,
        standardise: bool = False,
    ) -> None:
        """Store the configuration.

        Args:
            target_weight: Factor of the true class's part (paper: 1).
            nontarget_weight: Factor of the other classes' part (paper: 8 for most pairs on
                CIFAR-100, 0.5 on ImageNet). A term of weight 0 is not computed.
            temperature: Softness of all distributions (paper: 4 on CIFAR-100, 1 on ImageNet).
            standardise: Whether each row of logits is first brought to mean 0 and deviation 1 (Sun
                et al., CVPR 2024).
        """
        super().__init__()
        check_finite("DKD", target_weight=target_weight, nontarget_weight=nontarget_weight)
        check_temperature("DKD", temperature)
        self.target_weight = target_weight
        self.nontarget_weight = nontarget_weight
        self.temperature = temperature
        self.standardise = standardise

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"target": …, "nontarget": …}`, without the terms of weight 0."""
        if student.logits is None or teacher.logits is None:
            raise ValueError("DKD compares logits: both networks need a classifier, or use RKD.")
        if batch is None or batch.target is None:
            raise ValueError("DKD needs labels: give a batch with a target, or use KD.")
        weights = {"target": (self.target_weight, 0.0), "nontarget": (0.0, self.nontarget_weight)}
        return {
            name: dkd_loss(
                student.logits,
                teacher.logits,
                batch.target,
                temperature=self.temperature,
                target_weight=of_target,
                nontarget_weight=of_others,
                standardise=self.standardise,
            )
            for name, (of_target, of_others) in weights.items()
            if of_target or of_others
        }
