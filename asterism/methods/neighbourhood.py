"""Neighbourhoods as probabilities: CompRess (2020), SEED (2021) and their kin within a batch."""

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from asterism.memory import MemoryBank
from asterism.methods.base import Method
from asterism.relations.directions import unit_rows
from asterism.relations.inputs import (
    check_choice,
    check_finite,
    check_rows,
    check_temperature,
    connected_zero,
    full_precision,
    project,
)
from asterism.relations.maps import finite_rows, fixed_map, mapped, without_mean
from asterism.relations.neighbours import log_neighbours, temperature_for
from asterism.relations.predictions import divergence
from asterism.types import Batch, Outputs

Against = Literal["own", "teacher"]
Through = Literal["procrustes", "pca", "random", "linear"]


@full_precision
def neighbourhood_loss(
    student: Float[Tensor, "n d_student"],
    teacher: Float[Tensor, "n d_teacher"],
    *,
    against: Against = "own",
    student_queue: Float[Tensor, "k d_student"] | None = None,
    teacher_queue: Float[Tensor, "k d_teacher"] | None = None,
    queued: Bool[Tensor, " k"] | None = None,
    temperature: float = 0.05,
    student_temperature: float | None = None,
    perplexity: float | None = None,
    with_self: bool = False,
) -> Float[Tensor, ""]:
    r"""Match how the teacher spreads each sample's attention over its neighbours.

    With all rows divided by their lengths, and $j$ over the other samples of the batch and the
    queue,

    $$\ell = \frac{1}{n} \sum_i \mathrm{KL}(p^t_i \Vert p^s_i), \qquad
      p^t_{ij} = \mathrm{softmax}_{j \ne i} \frac{\langle t_i, t_j \rangle}{\tau_t}, \quad
      p^s_{ij} = \mathrm{softmax}_{j \ne i} \frac{\langle s_i, s_j \rangle}{\tau_s}$$

    or $\langle s_i, t_j \rangle$ in the last place, for a student in the teacher's space. Memory
    grows as $n (n + k)$.

    Args:
        student: Embeddings of the student, one row per sample.
        teacher: Embeddings of the teacher for the same samples; no gradient flows into them.
        against: What the student's rows are compared with: its `own` rows, which the gradient
            reaches too, or the `teacher`'s, which asks for equal widths.
        student_queue: Rows of the student for further samples, for `own`; no gradient flows there.
        teacher_queue: Rows of the teacher for the same further samples; likewise.
        queued: Which rows of the queues count; by default all.
        temperature: Softness $\tau_t$ of the teacher's neighbourhoods.
        student_temperature: Softness $\tau_s$ of the student's; by default the teacher's.
        perplexity: Instead of a temperature, how many neighbours the teacher's median sample shall
            have in effect, $e^{H(p^t_i)}$; at most half of all. $\tau_t$ follows from the batch.
        with_self: Whether a sample is among its own neighbours, too.

    Returns:
        The loss, a scalar in float32 (float64 for float64 embeddings); zero for an empty batch and
        for a sample without others.

    Raises:
        ValueError: If the shapes do not go together, or a setting is impossible.

    Examples:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
        >>> neighbourhood_loss(student, 3 * student).abs() < 1e-6  # neither scale nor rotation
        tensor(True)

    References:
        Abbasi Koohpayegani et al., CompRess, NeurIPS 2020, https://arxiv.org/abs/2010.14713 (each
        network against its own queue); Fang et al., SEED, ICLR 2021,
        https://arxiv.org/abs/2101.04731 (both against a queue of the teacher). They leave the
        batch itself out; SEED adds each sample's own teacher row, here `with_self`. Their
        cross-entropy is this divergence and the teacher's entropy: the same gradient. Perplexity is
        that of t-SNE (van der Maaten, Hinton, 2008), one temperature for all rows.
    """
    _check(student, teacher, against, student_queue, teacher_queue, queued)
    _check_softness("neighbourhood_loss", temperature, student_temperature, perplexity)
    if len(student) == 0:
        return connected_zero(student)
    unit_s, unit_t = unit_rows(student), unit_rows(teacher.detach())
    others_t = _with_queue(unit_t, teacher_queue)
    others_s = others_t if against == "teacher" else _with_queue(unit_s, student_queue)
    left_out = _left_out(unit_t, len(others_t), queued, with_self)
    near_s, near_t = unit_s @ others_s.T, unit_t @ others_t.T
    softness: float | Tensor = temperature
    if perplexity is not None:
        softness = temperature_for(near_t, left_out, perplexity)
    log_t = log_neighbours(near_t, left_out, softness)
    if student_temperature is not None:
        softness = student_temperature
    log_s = log_neighbours(near_s, left_out, softness)
    return divergence(log_s, log_t)


def _with_queue(rows: Tensor, queue: Tensor | None) -> Tensor:
    return rows if queue is None else torch.cat([rows, unit_rows(queue.detach())])


def _left_out(rows: Tensor, others: int, queued: Tensor | None, with_self: bool) -> Tensor:
    """Return, for each sample and each possible neighbour, whether it is none."""
    n = len(rows)
    among = torch.zeros(n, n, dtype=torch.bool, device=rows.device)
    if not with_self:
        among.fill_diagonal_(True)
    if queued is None:
        queued = torch.ones(others - n, dtype=torch.bool, device=rows.device)
    return torch.cat([among, ~queued.expand(n, -1)], dim=1)


def _check(
    student: Tensor,
    teacher: Tensor,
    against: str,
    student_queue: Tensor | None,
    teacher_queue: Tensor | None,
    queued: Tensor | None,
) -> None:
    check_choice("against", against, Against)
    check_rows("neighbourhood_loss", student, teacher, same_width=against == "teacher")
    pairs = [(teacher, teacher_queue)]
    if against == "own":
        pairs.append((student, student_queue))
    length = None if teacher_queue is None else len(teacher_queue)
    for rows, queue in pairs:
        if (None if queue is None else len(queue)) != length or (
            queue is not None and (queue.ndim != 2 or queue.shape[1] != rows.shape[1])
        ):
            shapes = [None if q is None else tuple(q.shape) for q in (student_queue, teacher_queue)]
            raise ValueError(
                "neighbourhood_loss needs queues with a row for the same samples, as wide as the "
                "embeddings: of the teacher, and of the student too if it is compared with its own "
                f"rows; got {shapes[0]} and {shapes[1]}."
            )
    if queued is not None and queued.shape != (length,):
        raise ValueError(
            f"neighbourhood_loss needs queued to say of each of {length} rows in the queue whether "
            f"it counts; got {tuple(queued.shape)}."
        )


def _check_softness(
    name: str, temperature: float, student_temperature: float | None, perplexity: float | None
) -> None:
    check_temperature(name, temperature)
    if student_temperature is not None:
        check_temperature(name, student_temperature)
    if perplexity is not None and not 1 < perplexity < math.inf:
        raise ValueError(
            f"{name} needs a perplexity above 1, a number of neighbours, or None to use the "
            f"temperature; got {perplexity}."
        )


class Neighbourhood(Method):
    """Match how each sample's attention spreads over its neighbours; no labels needed.

    Neighbours are the other samples of the batch and, with a queue, of earlier batches. Queues
    move on in training mode only.
    """

    paper: ClassVar[str] = (
        "CompRess, NeurIPS 2020, https://arxiv.org/abs/2010.14713; SEED, ICLR 2021, "
        "https://arxiv.org/abs/2101.04731"
    )

    map: Tensor
    mean: Tensor
    came: Tensor

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        student_temperature: float | None = None,
        perplexity: float | None = None,
        queue_size: int = 0,
        against: Against = "own",
        through: Through = "procrustes",
        centre: bool = False,
        with_self: bool = False,
        weight: float = 1.0,
    ) -> None:
        """Store the configuration.

        Args:
            temperature: Softness of the teacher's neighbourhoods.
            student_temperature: Softness of the student's; None for the teacher's.
            perplexity: Instead of a temperature: how many neighbours the teacher's median sample
                has in effect.
            queue_size: How many samples of earlier batches are neighbours too; 0 for none.
            against: What the student's rows are compared with: its `own` rows, or the `teacher`'s.
            through: How the student comes into the teacher's space, for `teacher`: by a map fixed
                beforehand (`procrustes`, `pca` or `random`, as in Anchored) or a `linear` head
                that is trained.
            centre: Whether the teacher's mean over a sample of the data is subtracted from its
                rows.
            with_self: Whether a sample is among its own neighbours.
            weight: Factor of the loss, beside the task loss's own.
        """
        super().__init__()
        check_finite("Neighbourhood", weight=weight)
        _check_softness("Neighbourhood", temperature, student_temperature, perplexity)
        check_choice("against", against, Against)
        check_choice("through", through, Through)
        if queue_size < 0:
            raise ValueError(f"Neighbourhood needs a queue_size of 0 or more; got {queue_size}.")
        self.temperature = temperature
        self.student_temperature = student_temperature
        self.perplexity = perplexity
        self.queue_size = queue_size
        self.against = against
        self.through = through
        self.centre = centre
        self.with_self = with_self
        self.weight = weight
        if centre or (against == "teacher" and through != "linear"):
            self.needs = frozenset({"sample"})
        self.head: nn.Linear | None = None
        self.student_queue: MemoryBank | None = None
        self.teacher_queue: MemoryBank | None = None

    def setup(
        self,
        *,
        student_dim: int,
        teacher_dim: int,
        rows: int | None = None,
        sample: tuple[Outputs, Outputs] | None = None,
    ) -> None:
        """Make queues, map or head. Call once, before the optimiser is built.

        Args:
            student_dim: Width of the student's embedding.
            teacher_dim: Width of the teacher's embedding.
            rows: Not used.
            sample: What both networks return for some training samples, for a fixed map and the
                mean; without it the map is a random orthonormal one and nothing is centred.

        Raises:
            RuntimeError: If it was called before.
        """
        if hasattr(self, "mean"):
            raise RuntimeError("Neighbourhood.setup() was called twice: make a new one.")
        matrix, mean = fixed_map(
            "random" if self.against == "own" or self.through == "linear" else self.through,
            finite_rows(sample),
            student_dim=student_dim,
            teacher_dim=teacher_dim,
            centre=self.centre,
            directions=True,
        )
        self.register_buffer("mean", mean)
        if self.against == "teacher":
            if self.through == "linear":
                self.head = nn.Linear(student_dim, teacher_dim)
            else:
                self.register_buffer("map", matrix)
        if self.queue_size:
            self.register_buffer("came", torch.zeros((), dtype=torch.int64))
            self.teacher_queue = MemoryBank(self.queue_size, teacher_dim)
            if self.against == "own":
                self.student_queue = MemoryBank(self.queue_size, student_dim)

    def aligner(self) -> tuple[Tensor, Tensor] | None:
        """Return the map or the head into the teacher's space; None for `own` rows."""
        if self.head is not None:
            return self.head.weight.detach().clone(), self.head.bias.detach() + self.mean
        return (self.map.clone(), self.mean.clone()) if hasattr(self, "map") else None

    def forward(
        self, student: Outputs, teacher: Outputs, batch: Batch | None = None
    ) -> dict[str, Tensor]:
        """Return `{"neighbourhood": loss}` and, in training mode, remember the batch."""
        if not hasattr(self, "mean"):
            raise RuntimeError(
                "Neighbourhood.forward() was called before Neighbourhood.setup(): call "
                "method.setup(student_dim=…, teacher_dim=…) once, before building the optimiser."
            )
        check_rows("Neighbourhood", student.embedding, teacher.embedding)
        student_rows = self._mapped(student.embedding)
        teacher_rows = without_mean(teacher.embedding.detach(), self.mean)
        student_queue, teacher_queue, queued = self._remembered()
        loss = neighbourhood_loss(
            student_rows,
            teacher_rows,
            against=self.against,
            student_queue=student_queue,
            teacher_queue=teacher_queue,
            queued=queued,
            temperature=self.temperature,
            student_temperature=self.student_temperature,
            perplexity=self.perplexity,
            with_self=self.with_self,
        )
        if self.training:
            self._remember(student_rows, teacher_rows)
        return {"neighbourhood": self.weight * loss}

    def _mapped(self, rows: Tensor) -> Tensor:
        if self.head is not None:
            return project(self.head, rows)
        return mapped(rows, self.map) if hasattr(self, "map") else rows

    def _remembered(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return copies of the queues, which may move on before `backward`, and what is filled."""
        if self.teacher_queue is None:
            return None, None, None
        queued = torch.arange(self.queue_size, device=self.came.device) < self.came
        student_queue = None if self.student_queue is None else self.student_queue.rows.clone()
        return student_queue, self.teacher_queue.rows.clone(), queued

    @torch.no_grad()
    def _remember(self, student: Tensor, teacher: Tensor) -> None:
        if self.teacher_queue is None:
            return
        self.teacher_queue.enqueue(unit_rows(teacher.float()))
        if self.student_queue is not None:
            self.student_queue.enqueue(unit_rows(student.float()))
        self.came.add_(len(teacher)).clamp_(max=self.queue_size)
