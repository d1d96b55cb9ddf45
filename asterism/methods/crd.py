"""Contrastive Representation Distillation (Tian, Krishnan, Isola, ICLR 2020)."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from asterism.memory import SampleMemory
from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_finite,
    check_rows,
    check_temperature,
    connected_zero,
    full_precision,
    project,
)
from asterism.types import Batch, Outputs


@full_precision
def crd_loss(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    negatives: Float[Tensor, "k d"],
    *,
    temperature: float = 0.07,
    is_negative: Bool[Tensor, "n k"] | None = None,
    log_mean: Float[Tensor, ""] | None = None,
) -> Float[Tensor, ""]:
    r"""Tell a sample's teacher embedding from those of other samples (noise-contrastive).

    With $K_i$ the negatives of sample $i$, $m_i$ their number and $\sigma$ the logistic function,

    $$\ell = -\frac{1}{n} \sum_i \Bigl( \log \sigma(a(s_i, t_i))
      + \sum_{k \in K_i} \log\bigl(1 - \sigma(a(s_i, n_k))\bigr) \Bigr), \qquad
      a(s_i, x) = \frac{\langle s_i, x \rangle}{\tau} - \log \bar{e} - \log m_i$$

    where $\bar{e}$ is the mean of $e^{\langle s, x \rangle / \tau}$ and every row of $s$ and $t$ is
    divided by its length.

    Args:
        student: Projected embeddings, one row per sample.
        teacher: Projected embeddings of the same samples; no gradient flows into them.
        negatives: Projected teacher embeddings of other samples, taken as they are; no gradient
            flows into them.
        temperature: Softness $\tau$ of the similarities.
        is_negative: Which negatives count for which sample; by default all.
        log_mean: $\log \bar{e}$, which the authors' code freezes at its value for the first batch;
            by default that of this batch, without gradient.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch.

    Raises:
        ValueError: If the shapes do not go together or the temperature is not positive.

    Examples:
        >>> import torch
        >>> one, other = torch.eye(2).split(1)
        >>> crd_loss(one, one, other) < crd_loss(one, other, one)
        tensor(True)

    References:
        Tian, Krishnan and Isola, Contrastive Representation Distillation, ICLR 2020, section 3.2,
        https://arxiv.org/abs/1910.10699. The authors' code writes the same as probabilities, with
        $e^{\langle s, x \rangle / \tau} / (N \bar{e})$ for $N$ training samples against a noise of
        $m_i / N$, and adds 1e-7 to the denominators; $N$ cancels.
    """
    check_rows("crd_loss", student, teacher, same_width=True)
    if negatives.ndim != 2 or negatives.shape[1] != student.shape[1]:
        raise ValueError(
            "crd_loss compares samples with negatives as wide as their embeddings; got "
            f"{tuple(negatives.shape)} for embeddings of width {student.shape[1]}."
        )
    check_temperature("crd_loss", temperature)
    if len(student) == 0:
        return connected_zero(student)
    if is_negative is None:
        is_negative = student.new_ones(len(student), len(negatives), dtype=torch.bool)
    if log_mean is None:
        log_mean = _log_mean(student, teacher, negatives, is_negative, temperature=temperature)
    scores = _scores(student, teacher, negatives, temperature)
    count = is_negative.sum(1, keepdim=True, dtype=scores.dtype).clamp_min(1)
    logits = scores - log_mean - count.log()
    accepted = F.logsigmoid(logits[:, 0])
    refused = F.logsigmoid(-logits[:, 1:]) * is_negative
    return -(accepted + refused.sum(1)).mean()


def _scores(student: Tensor, teacher: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """Return the similarity of each sample to its positive, then to all negatives."""
    student, teacher = unit_rows(student), unit_rows(teacher.detach())
    positive = (student * teacher).sum(1, keepdim=True)
    return torch.cat([positive, student @ negatives.detach().T], dim=1) / temperature


@full_precision
@torch.no_grad()
def _log_mean(
    student: Tensor, teacher: Tensor, negatives: Tensor, is_negative: Tensor, *, temperature: float
) -> Tensor:
    scores = _scores(student, teacher, negatives, temperature)
    counted = F.pad(is_negative, (1, 0), value=True)
    mass = scores.masked_fill(~counted, -torch.inf).flatten().logsumexp(0)
    return mass - counted.sum(dtype=scores.dtype).log()


class CRD(Method):
    """Tell a sample's teacher embedding from those of thousands of other training samples.

    Each network's projected embeddings are compared with a memory of the other's for all training
    samples; the heads of both learn. Memories move on in training mode only.
    """

    paper: ClassVar[str] = "Tian et al., ICLR 2020, https://arxiv.org/abs/1910.10699"
    needs = frozenset({"index", "target"})

    targets: Tensor
    log_means: Tensor

    def __init__(
        self,
        *,
        negatives: int = 16_384,
        own_class_negatives: bool = False,
        dim: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
        weight: float = 0.8,
    ) -> None:
        """Store the configuration.

        Args:
            negatives: How many training samples are drawn at each step, with replacement, as
                negatives for the whole batch (authors: for each sample); all of a smaller set.
            own_class_negatives: Whether samples of the same class may be negatives. Then it needs
                no labels.
            dim: Width of the common space both embeddings are projected to.
            temperature: Softness of the similarities.
            momentum: How much of a stored embedding stays when its sample comes again.
            weight: Factor of the loss, beside the task loss's own (paper: 0.8).
        """
        super().__init__()
        check_finite("CRD", weight=weight)
        check_temperature("CRD", temperature)
        if negatives < 1 or dim < 1 or not 0 <= momentum < 1:
            raise ValueError(
                "CRD needs at least 1 negative and dimension, and momentum in [0, 1); got "
                f"{negatives=}, {dim=} and {momentum=}."
            )
        self.negatives = negatives
        self.own_class_negatives = own_class_negatives
        self.dim = dim
        self.temperature = temperature
        self.momentum = momentum
        self.weight = weight
        if own_class_negatives:
            self.needs = frozenset({"index"})

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make the heads and the memories. Call once, before the optimiser is built.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Number of samples in the training data; both memories have so many rows.
            sample: Not used.

        Raises:
            ValueError: If rows is not given.
            RuntimeError: If it was called before.
        """
        if hasattr(self, "targets"):
            raise RuntimeError("CRD.setup() was called twice: make a new CRD() for new memories.")
        if rows is None or rows < 1:
            raise ValueError(
                "CRD remembers every training sample: call method.setup(student_dim=…, "
                f"teacher_dim=…, rows=…) with the number of training samples; got rows={rows}."
            )
        self.project_student = nn.Linear(student_dim, self.dim)
        self.project_teacher = nn.Linear(teacher_dim, self.dim)
        self.student_memory = SampleMemory(rows, self.dim, momentum=self.momentum)
        self.teacher_memory = SampleMemory(rows, self.dim, momentum=self.momentum)
        self.register_buffer("targets", torch.full((rows,), -1))  # -1: not seen yet
        self.register_buffer("log_means", torch.full((2,), torch.inf))  # until the first batch

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"contrast": loss}` and, in training mode, remember the batch."""
        index, target = self._index_and_target(batch, len(student.embedding))
        check_rows("CRD", student.embedding, teacher.embedding)
        student_rows = project(self.project_student, student.embedding)
        teacher_rows = project(self.project_teacher, teacher.embedding.detach())
        if len(student_rows) == 0:
            return {"contrast": connected_zero(student_rows)}
        drawn = self._draw()
        is_negative = drawn != index[:, None]
        if target is not None:
            is_negative &= self.targets[drawn] != target[:, None]
        pairs = (student_rows, self.teacher_memory), (teacher_rows, self.student_memory)
        loss = student_rows.new_zeros(())
        for side, (rows, memory) in enumerate(pairs):
            # Copies, so that memories may move on before `backward`.
            compared = rows, memory.rows[index], memory.rows[drawn]
            frozen = self.log_means[side]
            if self.training and not frozen.isfinite():
                frozen.copy_(_log_mean(*compared, is_negative, temperature=self.temperature))
            loss = loss + crd_loss(
                *compared,
                temperature=self.temperature,
                is_negative=is_negative,
                log_mean=frozen if frozen.isfinite() else None,
            )
        if self.training:
            self.student_memory.update(index, student_rows)
            self.teacher_memory.update(index, teacher_rows)
            if target is not None:
                self.targets[index] = target
        return {"contrast": self.weight * loss}

    def _index_and_target(self, batch: Batch | None, n: int) -> tuple[Tensor, Tensor | None]:
        if not hasattr(self, "targets"):
            raise RuntimeError(
                "CRD.forward() was called before CRD.setup(): call method.setup(student_dim=…, "
                "teacher_dim=…, rows=…) once, before building the optimiser."
            )
        if batch is None or len(batch.index) != n:
            raise ValueError(
                "CRD needs batch.index, the row of each sample in the training data, once for each "
                f"view of it; got {n} samples and {0 if batch is None else len(batch.index)} rows."
            )
        rows = len(self.targets)
        target = None if self.own_class_negatives else batch.target
        if outside := [i for i in batch.index.tolist() if not 0 <= i < rows]:
            raise ValueError(f"CRD was set up for {rows} training samples; got index {outside[0]}.")
        if target is None and not self.own_class_negatives:
            raise ValueError(
                "CRD needs batch.target to draw negatives from other classes; without labels use "
                "CRD(own_class_negatives=True)."
            )
        return batch.index, target

    def _draw(self) -> Tensor:
        """Draw the negatives of this step: the same on every rank and after a restart."""
        samples = self.student_memory.samples()
        if len(samples) <= self.negatives:
            return samples
        generator = torch.Generator().manual_seed(int(self.student_memory.visits))
        chosen = torch.randint(len(samples), (self.negatives,), generator=generator)
        return samples[chosen.to(samples.device)]
