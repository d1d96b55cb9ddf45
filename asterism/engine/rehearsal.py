"""A few steps of a training on copies of its networks: what they cost, and who pulls how hard."""

import copy
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, repeat

import torch
from torch import Tensor

from asterism.data import Loader, training_order
from asterism.engine.encoded import seed_step
from asterism.engine.encoder import Encoder, Passed
from asterism.engine.kept_bytes import KeptBytes
from asterism.engine.objective import Objective, objective_of
from asterism.engine.optimiser import make_optimizer
from asterism.engine.training import Training
from asterism.relations.budget import relation_memory
from asterism.types import Batch, batch_on_device

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


def rehearse(training: Training) -> Rehearsal:
    """Take a few steps on copies of student and methods; of several devices, one's share of them.

    Args:
        training: The training; its student and methods stay as they are.
    """
    settings, data = training.settings, training.data
    device = settings.device
    student = copy.deepcopy(training.student)
    objective = objective_of(training, copy.deepcopy(training.methods)).to(device)
    order = training_order(
        data.train,
        settings.samples_per_step // settings.processes,
        seed=settings.seed,
        targets=data.source.targets,
        per_class=settings.samples_per_class,
        steps=settings.steps_per_epoch,
        blocks=data.source.blocks,
    )
    rehearsal = Rehearsal(settings.limit_steps or settings.epochs * len(order))
    passes = chain.from_iterable(repeat(Loader(data.source, order)))
    batches = (batch_on_device(batch, device) for batch in passes if len(batch.index))
    stage = _Stage(training, Encoder(training, student, device), objective, device)
    student.train()
    objective.train()
    with relation_memory(settings.relation_memory), torch.random.fork_rng():
        stage.measure(next(batches), rehearsal)
        times = [stage.time(batches) for _ in range(TIMED)]
    rehearsal.fetching, rehearsal.seconds, rehearsal.teaching = (
        statistics.median(column) for column in zip(*times, strict=True)
    )
    return rehearsal


class _Stage:
    """Student and objective with an optimiser, ready for a step."""

    def __init__(
        self, training: Training, encoder: Encoder, objective: Objective, device: torch.device
    ) -> None:
        settings = training.settings
        self.encoder = encoder
        self.objective = objective
        self.device = device
        self.network = None if training.teacher is None else training.teacher.network
        self.modules = [encoder.student, objective]
        self.optimizer = make_optimizer(self.modules, settings)
        self.key = (settings.seed, 0)
        short = SHORT.get(settings.precision)
        self.arithmetic = torch.autocast(device.type, short) if short else nullcontext()

    def measure(self, batch: Batch, rehearsal: Rehearsal) -> None:
        """Take a step and note its terms, their gradients and what memory it takes."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        kept = KeptBytes(x for m in self.modules for x in (*m.parameters(), *m.buffers()))
        with kept.watching(), self.arithmetic:
            passed = self.encoder.encode(batch, 0, self.key, eagerly=True)
            activations = kept.now
            terms = self._terms(passed)
        encoded = passed.encoded
        memory = rehearsal.memory
        memory["relations"] = kept.most - activations
        with self.arithmetic:
            norms = encoded.norms(list(terms.values()))
        rehearsal.norms = dict(zip(terms, norms, strict=True))
        rehearsal.terms = {name: float(term.detach()) for name, term in terms.items()}
        self.optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(terms.values())).sum())
        terms.clear()
        kept.begin()
        with kept.watching(), self.arithmetic:
            encoded.backward()
        memory["activations"] = kept.most
        if all(map(math.isfinite, norms)):  # else the steps to come would be of another kind
            self.optimizer.step()
        memory["weights"] = sum(
            x.nbytes
            for m in (*self.modules, *([] if self.network is None else [self.network]))
            for x in (*m.parameters(), *m.buffers())
        )
        state = [x for own in self.optimizer.state.values() for x in own.values()]
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
            passed = self.encoder.encode(batch, 0, self.key)
            terms = self._terms(passed)
            self.optimizer.zero_grad()
            torch.autograd.backward(torch.stack(list(terms.values())).sum())
            passed.encoded.backward()
            self.optimizer.step()
        return fetched - begun, self._now() - fetched, sum(teaching)

    def _terms(self, passed: Passed) -> dict[str, Tensor]:
        seed_step(*self.key)
        sizes = [len(passed.batch.index)]
        return self.objective.terms(passed.student, passed.teacher, passed.batch, sizes)

    @contextmanager
    def _clocked(self) -> Iterator[list[float]]:
        """Note how long each forward pass of the teacher takes."""
        taken: list[float] = []
        hooks = []
        if self.network is not None:
            hooks += [
                self.network.register_forward_pre_hook(lambda *_: taken.append(-self._now())),
                self.network.register_forward_hook(lambda *_: taken.append(self._now())),
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
