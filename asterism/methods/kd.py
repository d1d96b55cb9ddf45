"""Distilling the Knowledge in a Neural Network (Hinton, Vinyals, Dean, 2015)."""

from typing import ClassVar

import torch.nn.functional as F
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
from asterism.relations.predictions import divergence, standardised
from asterism.types import Batch, Outputs


@full_precision
def kd_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    *,
    temperature: float = 4.0,
    standardise: bool = False,
) -> Float[Tensor, ""]:
    r"""Match the class probabilities of the student to those of the teacher.

    $$\ell = \frac{T^2}{n} \sum_i \mathrm{KL}\!\left(
      \mathrm{softmax}(t_i / T) \,\Vert\, \mathrm{softmax}(s_i / T)\right)$$

    The factor $T^2$ keeps the size of the gradient when the temperature changes.

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        temperature: Softness $T$ of both distributions.
        standardise: Whether each row of logits is first brought to mean 0 and standard deviation 1,
            in both networks: then only how the classes compare is taught, not how large the
            teacher's logits are.

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); zero for an empty batch.

    Raises:
        ValueError: If the shapes differ or the temperature is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0]])
        >>> kd_loss(logits, logits + 3)  # adding a constant changes no probability
        tensor(0.)

    References:
        Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2,
        https://arxiv.org/abs/1503.02531. Sun et al., Logit Standardization in Knowledge
        Distillation, CVPR 2024, https://arxiv.org/abs/2403.01427, for `standardise`: the deviation
        is the unbiased one with an eps of 1e-7, as in their code; a row without spread gets no
        gradient.
    """
    check_rows("kd_loss", student_logits, teacher_logits, same_width=True)
    check_temperature("kd_loss", temperature)
    if len(student_logits) == 0:
        return connected_zero(student_logits)
    if standardise:
        student_logits, teacher_logits = standardised(student_logits), standardised(teacher_logits)
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    return temperature**2 * divergence(student, teacher)


class KD(Method):
    """Match the class probabilities of the teacher, softened by a temperature."""

    paper: ClassVar[str] = "Hinton et al. 2015, https://arxiv.org/abs/1503.02531"
    needs = frozenset({"logits"})

    def __init__(
        self, *, weight: float = 1.0, temperature: float = 4.0, standardise: bool = False
    ) -> None:
        """Store the configuration.

        Args:
            weight: Factor of the loss, beside the task loss's own.
            temperature: Softness of both distributions.
            standardise: Whether each row of logits is first brought to mean 0 and deviation 1
                (paper, CIFAR-100: weight 9 at temperature 2).
        """
        super().__init__()
        check_finite("KD", weight=weight)
        check_temperature("KD", temperature)
        self.weight = weight
        self.temperature = temperature
        self.standardise = standardise

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"kd": loss}`."""
        if student.logits is None or teacher.logits is None:
            raise ValueError("KD compares logits: both networks need a classifier, or use RKD.")
        loss = kd_loss(
            student.logits,
            teacher.logits,
            temperature=self.temperature,
            standardise=self.standardise,
        )
        return {"kd": self.weight * loss}
