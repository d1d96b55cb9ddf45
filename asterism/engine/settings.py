"""How to train: what everyone sets, with defaults that work."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from asterism.types import Kind


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        samples_per_class: Compose each batch of classes with this many samples each, every class
            as often as any other; by default samples come as they are.
        lr: Peak learning rate; by default 0.1 for sgd, 1e-3 for adamw.
        optimizer: `sgd` (Nesterov momentum 0.9; by default for images) or `adamw` (for texts).
        weight_decay: L2 penalty; by default 5e-4 for sgd, 0.05 for adamw. None on biases and norms.
        schedule: Of the learning rate: `one-cycle` (linear up over 30 % of the steps, cosine
            down), `cosine`, `multi-step` (a tenth at each milestone) or `constant`.
        milestones: Epochs of the multi-step schedule.
        warmup_epochs: Epochs of linear warm-up before `cosine`, `multi-step` or `constant`.
        clip: Largest norm of the gradient; 0 for no clipping.
        task_weight: Factor of the cross-entropy with the labels.
        precision: `32`, `bf16` or `16` (mixed; losses always run in 32).
        channels_last: Memory format of images; faster for convolutions.
        compile: Compile the student with torch.compile.
        ema: Decay of an exponential moving average of the student, which is then what is
            evaluated and kept; 0 for none.
        keep: The state that becomes the student: `best` on the validation rows, or `last`, as most
            papers report.
        seed: Seed of initial weights and order.
        view_seed: Seed of the views.
        train_views: `real`, or `real,virtual` to train every method and the task on a RandAugment
            view too, as more samples. By default each method gets the views that it asks for, and
            the task the real one.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        devices: Number of devices.
        accelerator: `auto`, `cpu`, `gpu` or `mps`.
        limit_steps: Stop after this many steps, for a dry run.
        log_every: Steps between lines in metrics.jsonl.
    """

    epochs: int = 30
    batch_size: int = 128
    samples_per_class: int | None = None
    lr: float | None = None
    optimizer: Literal["sgd", "adamw"] | None = None
    weight_decay: float | None = None
    schedule: Literal["one-cycle", "cosine", "multi-step", "constant"] = "one-cycle"
    milestones: tuple[int, ...] = ()
    warmup_epochs: float = 0.0
    clip: float = 0.0
    task_weight: float = 1.0
    precision: Literal["32", "bf16", "16"] = "32"
    channels_last: bool = True
    compile: bool = False
    ema: float = 0.0
    keep: Literal["best", "last"] = "best"
    seed: int = 0
    view_seed: int = 0
    train_views: str | None = None
    padding: int | None = None
    workers: int | None = None
    devices: int = 1
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    limit_steps: int | None = None
    log_every: int = 50

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, before anything is built."""
        least = {"epochs": 1, "batch_size": 1, "devices": 1, "log_every": 1, "limit_steps": 1}
        least["samples_per_class"] = 1
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}; got {value}.")
        for name in ("clip", "task_weight", "warmup_epochs", "seed", "workers", "padding"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative; got {value}.")
        if self.lr is not None and self.lr <= 0:
            raise ValueError(f"lr must be positive; got {self.lr}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay between 0 and 1, 0.999 say; got {self.ema}.")
        kinds = (self.train_views or "real").split(",")
        if kinds[0] != "real" or set(kinds[1:]) - {"virtual"}:
            raise ValueError(
                f"train_views are real, or real,virtual with any number of virtual ones; got "
                f"{self.train_views}."
            )
        if self.devices > 1:
            raise ValueError(
                "this version trains on one device: relations across devices are not gathered yet."
            )
        if self.schedule == "multi-step" and not self.milestones:
            raise ValueError(
                "the multi-step schedule needs milestones, for example milestones [150, 180, 210]."
            )
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError("the one-cycle schedule has its own warm-up: leave warmup_epochs out.")

    def for_kind(self, kind: Kind) -> "Settings":
        """Return these settings with what was left open filled in for images or texts."""
        return replace(self, optimizer=self.optimizer or ("adamw" if kind == "text" else "sgd"))

    @property
    def device(self) -> torch.device:
        """Return where models run outside the training loop."""
        for name, kind in (("gpu", torch.cuda), ("mps", torch.backends.mps)):
            if self.accelerator in ("auto", name) and kind.is_available():
                return torch.device("cuda" if name == "gpu" else "mps")
        return torch.device("cpu")
