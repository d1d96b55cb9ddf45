"""How to train: what everyone sets, with defaults that work."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from asterism.distributed import launched
from asterism.types import Kind


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        samples_per_class: Compose each step of classes with this many samples each, every class
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
        loss_weights: Weights of the methods' terms: as they are `given`, or `auto` from the
            gradients of the first steps, so that each term's is as long as the task's
            (docs/methods.md).
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
        randaugment_operations: Operations of RandAugment on each virtual view.
        randaugment_magnitude: Their strength, from 0 to 30.
        view_count: How many different views of a sample training goes through, over and over: epoch
            e has view e mod view_count. By default each epoch has a new one, or with a teacher
            that is a cache as many as the cache has.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        relation_batch: Samples whose relations a step sees, over all devices; by default what they
            hold, batch_size each. A larger one is worked through in chunks of batch_size per
            device, twice, with exact gradients (batch norm sees the chunks).
        relation_scope: Whether relations are those of the samples of all devices (`global`) or of
            each device by itself (`local`).
        devices: Number of devices on this machine.
        nodes: Number of machines, where Slurm or Lightning's own variables start the processes.
        accelerator: `cpu`, `gpu`, or `auto`: a GPU if there is one. Not that of a Mac, which has no
            float64, and relations need it.
        relation_memory: Megabytes for the blocks that relations are computed in, beside one number
            for each pair of samples; by default 256 on a GPU, a few in a CPU's cache.
        limit_steps: Stop after this many steps, for a dry run.
        log_every: Steps between lines in metrics.jsonl.
        checkpoint_minutes: Time between checkpoints within an epoch; there is one after each epoch.
        checkpoint_steps: Steps between checkpoints within an epoch, instead.
        checkpoints_kept: How many of the latest checkpoints stay, beside the best.
        skip_nonfinite: How many steps whose loss or gradient is not finite may be left out before
            the training stops.
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
    loss_weights: Literal["given", "auto"] = "given"
    precision: Literal["32", "bf16", "16"] = "32"
    channels_last: bool = True
    compile: bool = False
    ema: float = 0.0
    keep: Literal["best", "last"] = "best"
    seed: int = 0
    view_seed: int = 0
    train_views: str | None = None
    randaugment_operations: int = 2
    randaugment_magnitude: int = 9
    view_count: int | None = None
    padding: int | None = None
    workers: int | None = None
    relation_batch: int | None = None
    relation_scope: Literal["global", "local"] = "global"
    devices: int = 1
    nodes: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    relation_memory: float | None = None
    limit_steps: int | None = None
    log_every: int = 50
    checkpoint_minutes: float = 10.0
    checkpoint_steps: int | None = None
    checkpoints_kept: int = 2
    skip_nonfinite: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, before anything is built."""
        at_least_one = (
            "epochs batch_size samples_per_class devices nodes log_every limit_steps "
            "relation_batch checkpoint_steps checkpoints_kept view_count randaugment_operations"
        )
        for name in at_least_one.split():
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}.")
        not_negative = (
            "clip task_weight warmup_epochs seed workers padding checkpoint_minutes skip_nonfinite"
        )
        for name in not_negative.split():
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative; got {value}.")
        if self.seed >= 2**32 or abs(self.view_seed) >= 2**63:
            raise ValueError(
                "seed must be below 2^32 and view_seed below 2^63; got "
                f"{self.seed} and {self.view_seed}."
            )
        if self.lr is not None and self.lr <= 0:
            raise ValueError(f"lr must be positive; got {self.lr}.")
        if self.relation_memory is not None and self.relation_memory <= 0:
            raise ValueError(f"relation_memory must be positive; got {self.relation_memory}.")
        if not 0 <= self.randaugment_magnitude <= 30:
            raise ValueError(
                f"randaugment_magnitude lies between 0 and 30; got {self.randaugment_magnitude}."
            )
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema is a decay between 0 and 1, 0.999 say; got {self.ema}.")
        kinds = (self.train_views or "real").split(",")
        if kinds[0] != "real" or set(kinds[1:]) - {"virtual"}:
            raise ValueError(
                f"train_views are real, or real,virtual with any number of virtual ones; got "
                f"{self.train_views}."
            )
        if self.relation_batch is not None and self.relation_batch % self.processes:
            raise ValueError(
                f"relation_batch is shared by all devices: it must be a multiple of their number, "
                f"{self.processes}; got {self.relation_batch}."
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
    def trained_views(self) -> int:
        """Return on how many views of each sample the task is trained."""
        return len((self.train_views or "real").split(","))

    @property
    def processes(self) -> int:
        """Return how many processes train together, one for each device."""
        return max(self.devices * self.nodes, launched())

    @property
    def samples_per_step(self) -> int:
        """Return the samples of one step, over all devices."""
        return self.relation_batch or self.batch_size * self.processes

    @property
    def device(self) -> torch.device:
        """Return where models run outside the training loop.

        Raises:
            ValueError: If there is no GPU but one is asked for, or needed for the precision.
        """
        if self.accelerator != "cpu" and torch.cuda.is_available():
            return torch.device("cuda")
        if self.accelerator == "gpu":
            raise ValueError(
                "accelerator gpu: torch finds none in this machine that it can use with CUDA or "
                "ROCm. Use auto or cpu, or install a build of torch for it."
            )
        if self.precision == "16":
            raise ValueError("precision 16 needs a GPU: use bf16 or 32 on a CPU.")
        return torch.device("cpu")
