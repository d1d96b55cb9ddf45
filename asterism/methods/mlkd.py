"""Multi-level Logit Distillation (Jin, Wang, Lin, CVPR 2023)."""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    check_temperature,
    connected_zero,
    full_precision,
)
from asterism.relations.predictions import divergence, standardised
from asterism.types import Batch, Outputs

Level = Literal["instance", "batch", "class"]
TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


@full_precision
def mlkd_loss(
    student_logits: Float[Tensor, "n c"],
    teacher_logits: Float[Tensor, "n c"],
    *,
    level: Level,
    temperatures: tuple[float, ...] = TEMPERATURES,
    standardise: bool = False,
) -> Float[Tensor, ""]:
    r"""Match class probabilities at one of three levels, averaged over several temperatures.

    With the matrices $P^s, P^t$ of probabilities at temperature $T$, one row per sample,

    $$\ell_\mathrm{instance} = \frac{T^2}{n} \sum_i \mathrm{KL}(P^t_i \Vert P^s_i), \quad
      \ell_\mathrm{batch} = \frac{1}{n}
        \left\lVert P^s {P^s}^\top - P^t {P^t}^\top \right\rVert_F^2, \quad
      \ell_\mathrm{class} = \frac{1}{c}
        \left\lVert {P^s}^\top P^s - {P^t}^\top P^t \right\rVert_F^2.$$

    Memory grows as $n^2$ for `batch` and $c^2$ for `class`.

    Args:
        student_logits: Class scores of the student.
        teacher_logits: Class scores of the teacher; no gradient flows into them.
        level: What is matched: each sample's probabilities (`instance`), how alike two samples'
            are (`batch`), or how two classes go together (`class`).
        temperatures: The temperatures $T$.
        standardise: Whether each row of logits is first brought to mean 0 and standard deviation 1
            in both networks (Sun et al., CVPR 2024).

    Returns:
        The loss, a scalar in float32 (float64 for float64 logits); zero for an empty batch.

    Raises:
        ValueError: If the shapes differ, the level is unknown, or there is no temperature or one
            that is not positive.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        >>> mlkd_loss(logits, logits + 3, level="class") < 1e-9  # the probabilities are the same
        tensor(True)

    References:
        Jin, Wang and Lin, Multi-Level Logit Distillation, CVPR 2023, section 3. The authors' code,
        as it stands in the collections that have taken it over, adds a second, strongly augmented
        view, leaves out samples of which the teacher is unsure, and weighs its terms by hand;
        the three levels here are their formulas on all samples of whatever views there are.
    """
    check_choice("level", level, Level)
    check_rows("mlkd_loss", student_logits, teacher_logits, same_width=True)
    _check_temperatures("mlkd_loss", temperatures)
    if student_logits.numel() == 0:
        return connected_zero(student_logits)
    teacher_logits = teacher_logits.detach()
    if standardise:
        student_logits, teacher_logits = standardised(student_logits), standardised(teacher_logits)
    loss = connected_zero(student_logits)
    for temperature in temperatures:
        student = (student_logits / temperature).log_softmax(1)
        teacher = (teacher_logits / temperature).log_softmax(1)
        if level == "instance":
            loss = loss + temperature**2 * divergence(student, teacher)
            continue
        student, teacher = student.exp(), teacher.exp()
        if level == "class":
            student, teacher = student.T, teacher.T
        gap = student @ student.T - teacher @ teacher.T
        loss = loss + gap.square().sum() / len(gap)
    return loss / len(temperatures)


def _check_temperatures(name: str, temperatures: tuple[float, ...]) -> None:
    if not temperatures:
        raise ValueError(f"{name} needs at least one temperature; got none.")
    for temperature in temperatures:
        check_temperature(name, temperature)


class MLKD(Method):
    """Match class probabilities by sample, by pairs of samples and by pairs of classes."""

    paper: ClassVar[str] = (
        "Jin et al., CVPR 2023, "
        "https://openaccess.thecvf.com/content/CVPR2023/papers/Jin_Multi-Level_Logit_Distillation_"
        "CVPR_2023_paper.pdf"
    )
    needs = frozenset({"logits"})

    def __init__(
        self,
        *,
        instance_weight: float = 1.0,
        batch_weight: float = 1.0,
        class_weight: float = 1.0,
        temperatures: tuple[float, ...] = TEMPERATURES,
        standardise: bool = False,
    ) -> None:
        """Store the configuration.

        Args:
            instance_weight: Factor of the samples' term. A term of weight 0 is not computed.
            batch_weight: Factor of the term of pairs of samples.
            class_weight: Factor of the term of pairs of classes.
            temperatures: The temperatures that all terms are averaged over (paper: 2 to 6).
            standardise: Whether each row of logits is first brought to mean 0 and deviation 1 (Sun
                et al., CVPR 2024).
        """
        super().__init__()
        check_finite(
            "MLKD",
            instance_weight=instance_weight,
            batch_weight=batch_weight,
            class_weight=class_weight,
        )
        _check_temperatures("MLKD", temperatures)
        self.instance_weight = instance_weight
        self.batch_weight = batch_weight
        self.class_weight = class_weight
        self.temperatures = temperatures
        self.standardise = standardise

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"instance": …, "batch": …, "class": …}`, without the terms of weight 0."""
        if student.logits is None or teacher.logits is None:
            raise ValueError("MLKD compares logits: both networks need a classifier, or use RKD.")
        levels: tuple[tuple[Level, float], ...] = (
            ("instance", self.instance_weight),
            ("batch", self.batch_weight),
            ("class", self.class_weight),
        )
        return {
            level: weight
            * mlkd_loss(
                student.logits,
                teacher.logits,
                level=level,
                temperatures=self.temperatures,
                standardise=self.standardise,
            )
            for level, weight in levels
            if weight
        }
