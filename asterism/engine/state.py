"""The state of a training: networks, objective, optimiser, and where it stands."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asterism.distributed import average_buffers, broadcast
from asterism.engine.balance import Balance
from asterism.engine.encoder import Encoder
from asterism.engine.faults import Faults
from asterism.engine.objective import Objective, objective_of
from asterism.engine.optimiser import make_optimizer, make_schedule
from asterism.engine.recording import Moment
from asterism.engine.training import Training


class State:
    """A training as it stands.

    Attributes:
        student: The network that is trained.
        objective: The task and the methods.
        ema: The moving average of the student, or None.
        balance: What sets the factors of the terms; None for the weights that are given.
        step: Steps of the optimiser so far.
        epoch: The epoch that is trained, or comes next.
        batch: The batch of that epoch that comes next.
        scores: What the last validation measured.
        best: The best score so far.
        waited: Epochs since then.
        last: The score of the last epoch.
        guess: What a guess may reach of the score.
        broken: Unreadable samples by name, in order.
    """

    def __init__(self, training: Training, accelerator: Accelerator, *, batches: int) -> None:
        """Begin a training.

        Args:
            training: What is trained.
            accelerator: Device and precision.
            batches: Batches of an epoch.
        """
        settings = training.settings
        self.settings = settings
        self.device: torch.device = accelerator.device
        self.scaler: torch.amp.GradScaler | None = getattr(accelerator, "scaler", None)
        self.student = training.student
        self.ema = _average_of(training.student, settings.ema)
        self.encoder = Encoder(training, training.student, self.device)
        self.objective: Objective = objective_of(training).to(self.device)
        for module in self.modules:
            module.to(self.device)
            broadcast(module)  # all ranks begin with the first one's weights
        self.optimizer = make_optimizer([self.student, self.objective], settings)
        self.schedule = make_schedule(self.optimizer, settings, steps_per_epoch=batches)
        self.balance = Balance() if settings.loss_weights == "auto" and training.methods else None
        self.faults = Faults(settings.skip_nonfinite)
        self.step = 0
        self.epoch = 0
        self.batch = 0
        self.scores: dict[str, float] = {}
        self.best: float | None = None
        self.waited = 0
        self.last = 0.0
        self.guess = training.guess
        self.broken: dict[str, None] = {}

    @property
    def modules(self) -> list[nn.Module]:
        """Return all that has weights or buffers."""
        average = [] if self.ema is None else [self.ema]
        return [self.student, self.objective, *average]

    @property
    def kept(self) -> nn.Module:
        """Return the network that is evaluated and kept."""
        return self.student if self.ema is None else self.ema.module

    @property
    def moment(self) -> Moment:
        """Return where the training stands, for those that are told."""
        return Moment(self.step, self.epoch, self.student)

    def train(self) -> None:
        """Switch to train mode what is trained."""
        self.student.train()
        self.objective.train()

    def average_statistics(self) -> None:
        """Give all ranks the same running statistics: each has seen its own samples."""
        average_buffers(self.student)
        if self.ema is not None:
            average_buffers(self.ema)

    def figures(self) -> dict[str, float]:
        """Return what a line of metrics says beside the terms."""
        factors = {} if self.balance is None else self.balance.factors
        weights = {f"weight/{name}": factor for name, factor in factors.items()}
        return {**weights, "lr": self.optimizer.param_groups[0]["lr"]}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training goes on from."""
        return {
            "step": self.step,
            "position": [self.epoch, self.batch],
            "best": self.best,
            "waited": self.waited,
            "last": self.last,
            "skipped": self.faults.skipped,
            "student": self.student.state_dict(),
            "objective": self.objective.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
            "balance": None if self.balance is None else self.balance.state_dict(),
        }

    def load_weights(self, state: Mapping[str, Any]) -> None:
        """Take the networks of a state."""
        self.student.load_state_dict(state["student"])
        self.objective.load_state_dict(state["objective"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.load_weights(state)
        self.step = state["step"]
        self.epoch, self.batch = state["position"]
        self.best = state["best"]
        self.waited = state.get("waited", 0)  # states of older versions have none
        self.last = state["last"]
        self.faults.skipped = state["skipped"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.balance is not None:
            self.balance.load_state_dict(state["balance"])


def _average_of(student: nn.Module, decay: float) -> AveragedModel | None:
    if not decay:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(student, multi_avg_fn=average, use_buffers=True)
