"""Knowledge Distillation with Relative Representations (Ramos, Alampay, Abu, 2023)."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
)
from asterism.types import Batch, Outputs

Form = Literal["cosine", "mse", "soft_cross_entropy"]
Anchors = Literal["batch", "random", "per-class", "most-confident"]

# Both as in the authors' code: the shortest description with a direction, and the offset in the
# logarithm, which bounds the loss by 18.42.
SHORTEST = LOG_OFFSET = 1e-8
TEMPERATURE = 2


@full_precision
def rrkd_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    student_anchors: Float[Tensor, "a d_student"] | None = None,
    teacher_anchors: Float[Tensor, "a d_teacher"] | None = None,
    form: Form = "cosine",
) -> Float[Tensor, ""]:
    r"""Match how samples are described by their cosines to a set of anchor samples.

    With all rows divided by their lengths, sample $i$ is described by
    $r^s_i = (\langle s_i, a^s_1 \rangle, \ldots, \langle s_i, a^s_a \rangle)$ in the student and
    by $r^t_i$ in the teacher, whatever the widths of the embeddings:

    $$\ell_\mathrm{cosine} = -\frac{1}{n} \sum_i
      \log\!\left(\tfrac{1 + \cos(r^s_i, r^t_i)}{2} + 10^{-8}\right)$$
    $$\ell_\mathrm{mse} = \frac{1}{na} \sum_{i,k} (r^s_{ik} - r^t_{ik})^2, \qquad
      \ell_\mathrm{soft} = -\frac{1}{n} \sum_{i,k} \mathrm{softmax}_k(r^t_i / 2)
      \log \mathrm{softmax}_k(r^s_i / 2)$$

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        student_anchors: What the student makes of the anchor samples; the gradient flows into them
            too. By default every sample of the batch is an anchor.
        teacher_anchors: What the teacher makes of the same anchor samples.
        form: How two descriptions are compared: `cosine`, `mse` or `soft_cross_entropy`.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch. A
        perfect student has -1e-8 in the cosine form, because of the offset in the logarithm, 0 in
        `mse`, and the entropy of the teacher's softmax in `soft_cross_entropy`.

    Raises:
        ValueError: If the shapes do not go together, only one network's anchors are given, or the
            form is unknown.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> rrkd_loss(student, -5 * student, form="mse")  # neither scale nor rotation matters
        tensor(0.)

    References:
        Ramos, Alampay and Abu, Knowledge Distillation with Relative Representations for Image
        Representation Learning, 2023, https://doi.org/10.1007/978-3-031-41630-9_14, after Moschella
        et al., 2022, https://arxiv.org/abs/2209.15430. Written from the authors' notebook, whose
        experiments all use the cosine form. There a row of zeros makes everything NaN; here it has
        the cosine 0 with every anchor and gets no gradient.
    """
    check_choice("form", form, Form)
    check_rows("rrkd_loss", student, teacher)
    if student_anchors is None or teacher_anchors is None:
        if student_anchors is not teacher_anchors:
            raise ValueError(
                "rrkd_loss needs the anchors of both networks, or of neither to take the batch "
                "itself; got those of one."
            )
        student_anchors, teacher_anchors = student, teacher
    else:
        _check_anchors(student, teacher, student_anchors, teacher_anchors)
    if len(student) == 0:
        return connected_zero(student)
    relation_s = unit_rows(student) @ unit_rows(student_anchors).T
    relation_t = unit_rows(teacher.detach()) @ unit_rows(teacher_anchors.detach()).T
    if form == "mse":
        return F.mse_loss(relation_s, relation_t)
    if form == "soft_cross_entropy":
        target = (relation_t / TEMPERATURE).softmax(1)
        return F.cross_entropy(relation_s / TEMPERATURE, target)
    cosine = unit_rows(relation_s, floor=SHORTEST) * unit_rows(relation_t, floor=SHORTEST)
    # Rounding may leave [-1, 1], and the logarithm must not see a negative number.
    return -(cosine.sum(1).clamp(-1, 1) / 2 + 0.5 + LOG_OFFSET).log().mean()


class RRKD(Method):
    """Match how samples are described by their cosines to anchor samples; no labels needed.

    With fixed anchors the engine selects the samples, encodes them with the student at every step,
    in the mode it trains in, and passes both networks' outputs as `batch.anchors`. The gradient
    flows through the student's anchors too.
    """

    paper: ClassVar[str] = "Ramos et al. 2023, https://doi.org/10.1007/978-3-031-41630-9_14"

    def __init__(
        self,
        *,
        form: Form = "cosine",
        anchors: Anchors = "batch",
        anchor_count: int = 128,
        weight: float = 1.0,
    ) -> None:
        """Store the configuration.

        Args:
            form: How two descriptions are compared: `cosine` (the paper's), `mse` or
                `soft_cross_entropy`.
            anchors: Which samples are anchors: those of the `batch`, or training samples fixed for
                the whole run: `random` ones, random ones `per-class`, or in each class the
                `most-confident`, those the teacher gets right first. The last two ask for labels.
            anchor_count: How many fixed anchors, over all classes; with equally many of each class
                it is rounded down.
            weight: Factor of the loss, beside the task loss's own (paper: 1).
        """
        super().__init__()
        check_finite("RRKD", weight=weight)
        check_choice("form", form, Form)
        check_choice("anchors", anchors, Anchors)
        if anchor_count < 2:
            raise ValueError(
                "RRKD needs an anchor_count of at least 2, since cosines to a single anchor differ "
                f"by nothing but their sign; got {anchor_count}."
            )
        self.form = form
        self.anchors = anchors
        self.anchor_count = anchor_count
        self.weight = weight
        if anchors != "batch":
            self.needs = frozenset({"anchors"})

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"relation": loss}`."""
        student_anchors = teacher_anchors = None
        if self.anchors != "batch":
            if batch is None or batch.anchors is None:
                raise ValueError(
                    f"RRKD(anchors={self.anchors!r}) needs batch.anchors, what the student and the "
                    "teacher return for the anchor samples; give them, or use anchors='batch'."
                )
            student_anchors, teacher_anchors = (network.embedding for network in batch.anchors)
        loss = rrkd_loss(
            student.embedding,
            teacher.embedding,
            student_anchors=student_anchors,
            teacher_anchors=teacher_anchors,
            form=self.form,
        )
        return {"relation": self.weight * loss}


def _check_anchors(
    student: Tensor, teacher: Tensor, student_anchors: Tensor, teacher_anchors: Tensor
) -> None:
    matrices = student_anchors.ndim == 2 and teacher_anchors.ndim == 2
    if matrices and len(student_anchors) == len(teacher_anchors) > 0:
        widths = student_anchors.shape[1], teacher_anchors.shape[1]
        if widths == (student.shape[1], teacher.shape[1]):
            return
    raise ValueError(
        "rrkd_loss needs the same anchors, at least one, from both networks, as wide as their "
        f"embeddings; got {tuple(student_anchors.shape)} and {tuple(teacher_anchors.shape)} for "
        f"embeddings of width {student.shape[1]} and {teacher.shape[1]}."
    )
