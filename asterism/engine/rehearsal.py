"""A few steps of a training on copies of its networks: what they cost, and who pulls how hard."""

import copy
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, repeat

import torch
from torch import Tensor, nn

from asterism.augment import Views
from asterism.data import Data, Loader
from asterism.data.known import Lookup
from asterism.data.ordering import training_order
from asterism.engine.encoding import seed_step
from asterism.engine.held import Held
from asterism.engine.networks import Networks
from asterism.engine.objective import Objective
from asterism.engine.optimisation import make_optimizer
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.relations.budget import relation_memory
from asterism.types import Batch, Outputs, Samples, batch_on_device

# Steps that are timed, after a first one.
TIMED = 3
SHORT = {"bf16": torch.bfloat16, "16": torch.float16}


@dataclass
class Rehearsal:
    """What a few steps showed.

    Attributes:
        steps: Steps of the whole training.
        terms: Value of each term in the first step.
        norms: Norm of each term's gradient for the student, likewise.
        seconds: Median duration of a later step, without fetching its samples.
        fetching: Median time to fetch the samples of a step, in one process.
        teaching: Median time that the teacher takes of a step.
        memory: Bytes by what they hold: `weights` of student, teacher and methods; `optimiser`,
            with the gradients; `activations`, which the student keeps for its backward pass; and
            `relations`, which the terms keep. On a GPU also `peak`, all that was allocated.
    """

    steps: int
    terms: dict[str, float] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    fetching: float = 0.0
    teaching: float = 0.0
    memory: dict[str, int] = field(default_factory=dict)


def rehearse(
    student: nn.Module,
    teacher: nn.Module | None,
    methods: Sequence[Method],
    data: Data,
    *,
    settings: Settings,
    use_labels: bool,
    views: Views | None,
    known: Lookup | None = None,
    anchors: tuple[Samples, Outputs] | None = None,
) -> Rehearsal:
    """Take a few steps on copies of student and methods; of several devices, one's share of them.

    Args:
        student: The student; it stays as it is.
        teacher: Its teacher, or None.
        methods: The methods, set up; they stay as they are.
        data: The data.
        settings: How to train.
        use_labels: Whether the task loss is part of the objective.
        views: What makes the training views, as for `fit`.
        known: The teacher's outputs, as for `fit`.
        anchors: As for `fit`.
    """
    source, device = data.source, settings.device
    student = copy.deepcopy(student)
    objective = Objective(
        copy.deepcopy(list(methods)),
        task_weight=settings.task_weight if use_labels else 0.0,
        train_views=settings.trained_views,
        local=settings.relation_scope == "local",
    ).to(device)
    networks = Networks(
        student,
        teacher,
        settings=settings,
        views=views,
        known=known,
        anchors=anchors,
    )
    networks.to(device)
    order = training_order(
        data.train,
        settings.samples_per_step // settings.processes,
        seed=settings.seed,
        targets=source.targets,
        per_class=settings.samples_per_class,
    )
    found = Rehearsal(settings.limit_steps or settings.epochs * len(order))
    passes = chain.from_iterable(repeat(Loader(source, order)))
    batches = (batch_on_device(batch, device) for batch in passes if len(batch.index))
    stage = _Stage(networks, objective, settings, device)
    student.train()
    objective.train()
    with relation_memory(settings.relation_memory), torch.random.fork_rng():
        stage.measure(next(batches), found)
        times = [stage.time(batches) for _ in range(TIMED)]
    found.fetching, found.seconds, found.teaching = (
        statistics.median(column) for column in zip(*times, strict=True)
    )
    return found


class _Stage:
    """Student and objective with an optimiser, ready for a step."""

    def __init__(
        self, networks: Networks, objective: Objective, settings: Settings, device: torch.device
    ) -> None:
        self.networks, self.objective, self.device = networks, objective, device
        self.modules = [networks.student, objective]
        self.optimizer = make_optimizer(self.modules, settings)
        self.key, short = (settings.seed, 0), SHORT.get(settings.precision)
        self.arithmetic = torch.autocast(device.type, short) if short else nullcontext()

    def measure(self, batch: Batch, found: Rehearsal) -> None:
        """Take a step and note its terms, their gradients and what memory it takes."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        held = Held(x for m in self.modules for x in (*m.parameters(), *m.buffers()))
        with held.watching(), self.arithmetic:
            encoded, made, taught, seen = self.networks.encode(batch, 0, self.key, eagerly=True)
            activations = held.now
            terms = self._terms(made, taught, seen)
        memory = found.memory
        memory["relations"] = held.most - activations
        with self.arithmetic:
            norms = encoded.norms(list(terms.values()))
        found.norms = dict(zip(terms, norms, strict=True))
        found.terms = {name: float(term.detach()) for name, term in terms.items()}
        self.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        terms.clear()
        held.begin()
        with held.watching(), self.arithmetic:
            encoded.backward()
        memory["activations"] = held.most
        if all(map(math.isfinite, norms)):  # else the steps to come would be of another kind
            self.optimizer.step()
        memory["weights"] = sum(
            x.nbytes
            for m in (*self.modules, *self.networks.teacher)
            for x in (*m.parameters(), *m.buffers())
        )
        state = [x for kept in self.optimizer.state.values() for x in kept.values()]
        gradients = [p.grad for m in self.modules for p in m.parameters()]
        memory["optimiser"] = sum(x.nbytes for x in (*state, *gradients) if isinstance(x, Tensor))
        if self.device.type == "cuda":
            memory["peak"] = torch.cuda.max_memory_allocated(self.device)

    def time(self, batches: Iterator[Batch]) -> tuple[float, float, float]:
        """Take a step; return what fetching, the rest, and of it the teacher took."""
        begun = self._now()
        batch = next(batches)
        fetched = self._now()
        with self._clocked() as teaching, self.arithmetic:
            encoded, made, taught, seen = self.networks.encode(batch, 0, self.key)
            terms = self._terms(made, taught, seen)
            self.optimizer.zero_grad()
            torch.autograd.backward(torch.stack(list(terms.values())).sum())
            encoded.backward()
            self.optimizer.step()
        return fetched - begun, self._now() - fetched, sum(teaching)

    def _terms(self, made: list[Outputs], taught: list[Outputs], batch: Batch) -> dict[str, Tensor]:
        seed_step(*self.key)
        size = len(batch.index)
        terms = self.objective.relations(made, taught, batch, [size]) if taught else {}
        task = self.objective.task(made, batch.target, size)
        return terms if task is None else {"task": task, **terms}

    @contextmanager
    def _clocked(self) -> Iterator[list[float]]:
        """Note how long each forward pass of the teacher takes."""
        taken: list[float] = []
        hooks = []
        for teacher in self.networks.teacher:
            hooks += [
                teacher.register_forward_pre_hook(lambda *_: taken.append(-self._now())),
                teacher.register_forward_hook(lambda *_: taken.append(self._now())),
            ]
        try:
            yield taken
        finally:
            for hook in hooks:
                hook.remove()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
