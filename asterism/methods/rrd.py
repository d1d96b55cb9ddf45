"""Relational Representation Distillation (Giakoumoglou, Stathaki, 2024)."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from asterism.memory import MemoryBank
from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_finite,
    check_rows,
    connected_zero,
    full_precision,
    project,
)
from asterism.relations.profiles import profile_cross_entropy
from asterism.types import Batch, Outputs


@full_precision
def rrd_loss(
    student: Float[Tensor, "n d"],
    teacher: Float[Tensor, "n d"],
    bank: Float[Tensor, "k d"],
    *,
    student_temperature: float = 0.1,
    teacher_temperature: float = 0.02,
) -> Float[Tensor, ""]:
    r"""Match how similar a sample is to each of many stored teacher embeddings.

    $$\ell = -\frac{1}{n} \sum_i \sum_k p^t_{ik} \log p^s_{ik}, \qquad
      p^t_{ik} = \mathrm{softmax}_k \frac{\langle t_i, m_k \rangle}{\tau_t}, \quad
      p^s_{ik} = \mathrm{softmax}_k \frac{\langle s_i, m_k \rangle}{\tau_s}$$

    with the rows $s_i$ and $t_i$ divided by their lengths and the rows $m_k$ of the bank taken as
    they are. Streamed over the bank: memory does not grow with it.

    Args:
        student: Projected embeddings of the student, one row per sample.
        teacher: Projected embeddings of the teacher for the same samples; no gradient flows into
            them.
        bank: Stored teacher embeddings, normally of unit length; no gradient flows into them. It
            may change between this call and `backward`.
        student_temperature: Softness $\tau_s$ of the student's profile.
        teacher_temperature: Softness $\tau_t$ of the teacher's profile. Towards 0 the most similar
            row of the bank becomes the only positive, as in InfoNCE.

    Returns:
        The cross-entropy, a scalar in float32 (float64 for float64 embeddings); zero for an empty
        batch. Its minimum is the entropy of the teacher's profile, not zero: the divergence
        $\mathrm{KL}(p^t \Vert p^s)$ is this value minus that entropy and has the same gradient.

    Raises:
        ValueError: If the shapes do not go together, the bank is empty or a temperature is not
            positive.

    Examples:
        >>> import torch
        >>> bank = torch.eye(4)
        >>> rrd_loss(torch.zeros(1, 4), bank[:1], bank)  # all rows are alike to the student: log 4
        tensor(1.3863)

    References:
        Giakoumoglou and Stathaki, Relational Representation Distillation, 2024,
        https://arxiv.org/abs/2407.12073. The defaults are those of the authors' code since 2025 (a
        sharper teacher); the abstract of the paper's fifth version speaks of sharper student
        outputs, and the published tables were made with 0.04 and 0.1.
    """
    check_rows("rrd_loss", student, teacher, same_width=True)
    if bank.ndim != 2 or len(bank) == 0 or bank.shape[1] != student.shape[1]:
        raise ValueError(
            "rrd_loss compares samples with the rows of a bank: it needs at least one row, as wide "
            f"as the embeddings; got {tuple(bank.shape)} for embeddings of width "
            f"{student.shape[1]}."
        )
    _check_temperatures("rrd_loss", student_temperature, teacher_temperature)
    if len(student) == 0:
        return connected_zero(student)
    return profile_cross_entropy(
        unit_rows(student),
        unit_rows(teacher.detach()),
        bank,
        student_temperature=student_temperature,
        teacher_temperature=teacher_temperature,
    )


class RRD(Method):
    """Match how similar a sample is to each of many earlier ones; no labels needed.

    A bank remembers the teacher's embeddings of the latest samples. It moves on in training mode
    only: in eval mode nothing is enqueued, so evaluating leaves no trace, and a sample does not
    find itself in the bank.
    """

    paper: ClassVar[str] = "Giakoumoglou & Stathaki 2024, https://arxiv.org/abs/2407.12073"

    project_student: nn.Linear | None
    project_teacher: nn.Linear | None
    bank: MemoryBank | None

    def __init__(
        self,
        *,
        bank_size: int = 16_384,
        dim: int = 128,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.02,
        enqueue: Literal["before", "after"] = "before",
        weight: float = 1.0,
    ) -> None:
        """Store the configuration.

        The published tables come from the authors' code of 2024: `student_temperature=0.04`,
        `teacher_temperature=0.1`, `enqueue="after"`. The defaults are those of their later code.

        Args:
            bank_size: How many teacher embeddings are remembered; any size goes with any batch.
            dim: Width of the common space both embeddings are projected to.
            student_temperature: Softness of the student's profile.
            teacher_temperature: Softness of the teacher's profile.
            enqueue: Whether the batch enters the bank `before` the comparison, so that each sample
                finds itself there, or `after` it.
            weight: Factor of the loss, beside the task loss's own (paper: 1, alone or with KD).
        """
        super().__init__()
        check_finite("RRD", weight=weight)
        _check_temperatures("RRD", student_temperature, teacher_temperature)
        if enqueue not in ("before", "after"):
            raise ValueError(f"RRD enqueues 'before' or 'after' the comparison; got {enqueue!r}.")
        if bank_size < 1 or dim < 1:
            raise ValueError(
                f"RRD needs a bank_size and a dim of at least 1; got {bank_size} and {dim}."
            )
        self.bank_size = bank_size
        self.dim = dim
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.enqueue = enqueue
        self.weight = weight
        self.project_student = self.project_teacher = self.bank = None

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make the heads and the bank. Call once, before the optimiser is built.

        The teacher's head is a random projection that is never trained, as in the authors' code
        (there it is given to the optimiser but no gradient reaches it). It is part of the state
        dict: with another one, the bank would mean something else.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used: the bank's size does not depend on the data.
            sample: Not used.

        Raises:
            RuntimeError: If it was called before.
        """
        if self.bank is not None:
            raise RuntimeError(
                "RRD.setup() was called twice: it would replace heads and bank; make a new RRD()."
            )
        self.project_student = nn.Linear(student_dim, self.dim)
        self.project_teacher = nn.Linear(teacher_dim, self.dim).requires_grad_(False)
        self.bank = MemoryBank(self.bank_size, self.dim)

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"relation": loss}` and, in training mode, remember the teacher's embeddings."""
        if self.project_student is None or self.project_teacher is None or self.bank is None:
            raise RuntimeError(
                "RRD.forward() was called before RRD.setup(): call method.setup(student_dim=…, "
                "teacher_dim=…) once, before building the optimiser."
            )
        student_rows = project(self.project_student, student.embedding)
        with torch.no_grad():
            teacher_rows = unit_rows(project(self.project_teacher, teacher.embedding))
        if self.training and self.enqueue == "before":
            self.bank.enqueue(teacher_rows)
        loss = rrd_loss(
            student_rows,
            teacher_rows,
            self.bank.rows,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
        )
        if self.training and self.enqueue == "after":
            self.bank.enqueue(teacher_rows)
        return {"relation": self.weight * loss}


def _check_temperatures(name: str, student: float, teacher: float) -> None:
    if not (0 < student < math.inf and 0 < teacher < math.inf):
        raise ValueError(
            f"{name} needs positive temperatures; got student_temperature={student} and "
            f"teacher_temperature={teacher}."
        )
