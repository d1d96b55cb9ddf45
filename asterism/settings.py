"""How to train: what everyone sets, with defaults that work."""

import os
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

from asterism.losses import Loss, Metric, read_loss
from asterism.optimizers import refuse_optimizer
from asterism.options import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    OF_TEACHER,
    POSITIVE,
    TRAINING,
    Group,
    Plain,
    Role,
    option,
    refuse_out_of_bounds,
)

if TYPE_CHECKING:
    import torch

Schedule = Literal["one-cycle", "cosine", "multi-step", "constant"]
LossWeights = Literal["given", "auto"]
Precision = Literal["32", "bf16", "16"]
Keep = Literal["best", "last"]
Distance = Literal["euclidean", "cosine"]
Scope = Literal["global", "local"]
Accelerator = Literal["auto", "cpu", "gpu"]
Log = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True)
class Settings:
    """Settings of a training.

    Attributes:
        epochs: Passes over the training data.
        batch_size: Samples per step.
        steps_per_epoch: Steps that an epoch has, whatever the data hold; by default those of one
            pass over them.
        samples_per_class: Compose each step of classes with this many samples each, every class
            as often as any other (the last of a step may have fewer); by default samples come as
            they are, and for a loss of metric learning five of each class (prototypical: the
            shots and five), or more where there are few classes.
        lr: Peak learning rate; by default 0.1 for sgd, else 1e-3.
        optimizer: `sgd` (momentum 0.9; by default for images and arrays), `adamw` (for texts),
            `adam`, another of torch's (`nadam`, `rmsprop`, …), or `timm/NAME`, one of timm's.
        nesterov: Whether the momentum of sgd is Nesterov's; of most papers it is not.
        weight_decay: L2 penalty, of adamw beside its steps; by default 5e-4 for sgd, 0.05 for
            adamw, else none.
        decay_all: Weight decay on biases and norms, too, as in most papers.
        schedule: Of the learning rate: `one-cycle` (linear up over 30 % of the steps, cosine
            down), `cosine`, `multi-step` (less at each milestone) or `constant`.
        milestones: Epochs of the multi-step schedule.
        milestone_factor: Factor of the learning rate at each of them.
        warmup_epochs: Epochs of linear warm-up before `cosine`, `multi-step` or `constant`.
        clip: Largest norm of the gradient; 0 for no clipping.
        loss: The loss with the labels: `cross-entropy`, or of metric learning `triplet`,
            `contrastive`, `margin`, `proxy-anchor`, `multi-similarity` or `prototypical`, with
            arguments, as triplet?margin=0.2&miner=distance-weighted (`asterism list LOSS`).
        task_weight: Factor of the loss with the labels.
        loss_weights: Weights of the methods' terms: as they are `given`, or `auto` from the
            gradients of the first steps, so that each term's is as long as the task's
            (docs/methods.md).
        prefixes: Numbers of first columns (16,64) that are trained to do by themselves, too: a
            term is its mean over them and all columns (docs/methods.md).
        precision: `32`, `bf16` or `16` (mixed; losses always run in 32).
        channels_last: Memory format of images; faster for convolutions.
        compile: Compile the student with torch.compile.
        ema: Decay of an exponential moving average of the student, which is then what is
            evaluated and kept; 0 for none.
        keep: The state that becomes the student: `best` on the validation rows, or `last`, as most
            papers report.
        patience: End after this many epochs without a better validation; by default never.
        metric: By what neighbours are found where students are measured and the best epoch is
            selected, `euclidean` or `cosine`; by default cosine where the teacher's rows have unit
            length, or a loss of metric learning gives it to the student's, else euclidean.
        seed: Seed of initial weights and order.
        view_seed: Seed of the views.
        train_views: `real`, or `real,virtual` to train every method and the task on a RandAugment
            view too, as more samples. By default each method gets the views that it asks for, and
            the task the real one.
        randaugment_operations: Operations of RandAugment on each virtual view.
        randaugment_magnitude: Their strength, from 0 to 30.
        view_count: How many different views of a sample training goes through, over and over: pass
            p over the data, which is an epoch as a rule, has view p mod view_count. By default
            each has a new one, or with a teacher that is a cache as many as the cache has.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        crop_area: Smallest and largest share of the picture, for views that are a part of it
            brought back to its size (random resized crops) instead of shifts: 0.08,1 is usual for
            ImageNet; 0.766,0.766 with --crop-ratio 1 is a crop of 224 pixels from 256.
        crop_ratio: Largest ratio of the sides of such a part; 1 for squares.
        color_jitter: Strength, up to 1, of random changes of brightness, contrast and saturation.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        relation_batch: Samples whose relations a step sees, over all devices; by default what they
            hold, batch_size each. A larger one is worked through in chunks of batch_size per
            device, twice, with exact gradients (batch norm sees the chunks).
        relation_scope: Whether relations are those of the samples of all devices (`global`) or of
            each device by itself (`local`).
        devices: Number of devices on this machine.
        nodes: Number of machines, where torchrun, accelerate or Slurm starts the processes.
        accelerator: `cpu`, `gpu`, or `auto`: a GPU if there is one. Not that of a Mac, which has no
            float64, and relations need it.
        relation_memory: Megabytes for the blocks that relations are computed in, beside one number
            for each pair of samples; by default 256 on a GPU, a few in a CPU's cache.
        limit_steps: Stop after this many steps, for a dry run.
        log_every: Steps between lines in metrics.jsonl.
        log: Where to send the same figures beside metrics.jsonl: `tensorboard` (into the run
            folder), `wandb` or `mlflow`, each of which must be installed.
        checkpoint_minutes: Time between checkpoints within an epoch; there is one after each epoch.
        checkpoint_steps: Steps between checkpoints within an epoch, instead.
        checkpoints_kept: How many of the latest checkpoints stay, beside the best.
        timed_batches: Batch sizes whose time is taken at the end, beside 1 and 64.
        skip_nonfinite: How many steps whose loss or gradient is not finite may be left out before
            the training stops.
    """

    epochs: int = option(30, bounds=AT_LEAST_ONE, usual=True)
    batch_size: int = option(128, bounds=AT_LEAST_ONE, usual=True)
    steps_per_epoch: int | None = option(None, bounds=AT_LEAST_ONE)
    samples_per_class: int | None = option(
        None, bounds=AT_LEAST_ONE, filled_in=True, group=Group.DATA
    )
    lr: float | None = option(None, bounds=POSITIVE, usual=True)
    optimizer: str | None = option(None, filled_in=True)
    nesterov: bool = option(True)
    weight_decay: float | None = option(None)
    decay_all: bool = option(False)
    schedule: Schedule = option("one-cycle")
    milestones: tuple[int, ...] = option(())
    milestone_factor: float = option(0.1, bounds={"above": 0, "at most": 1})
    warmup_epochs: float = option(0.0, bounds=NOT_NEGATIVE)
    clip: float = option(0.0, bounds=NOT_NEGATIVE)
    loss: str = option("cross-entropy", usual=True)
    task_weight: float = option(1.0, bounds=NOT_NEGATIVE)
    loss_weights: LossWeights = option("given", verbs=OF_TEACHER, group=Group.RELATIONS)
    prefixes: tuple[int, ...] = option((), group=Group.RELATIONS)
    precision: Precision = option("32", group=Group.MACHINE)
    channels_last: bool = option(True, group=Group.MACHINE)
    compile: bool = option(False, group=Group.MACHINE)
    ema: float = option(0.0, bounds={"at least": 0, "below": 1})
    keep: Keep = option("best")
    patience: int | None = option(None, bounds=AT_LEAST_ONE)
    metric: Distance | None = option(None, filled_in=True)
    seed: int = option(
        0, Role.REPEAT, bounds={"at least": 0, "below": 2**32}, grid=False, usual=True
    )
    view_seed: int = option(0, bounds={"above": -(2**63), "below": 2**63}, group=Group.VIEWS)
    train_views: str | None = option(None, group=Group.VIEWS)
    randaugment_operations: int = option(2, bounds=AT_LEAST_ONE, group=Group.VIEWS)
    randaugment_magnitude: int = option(9, bounds={"at least": 0, "at most": 30}, group=Group.VIEWS)
    view_count: int | None = option(None, bounds=AT_LEAST_ONE, filled_in=True, group=Group.VIEWS)
    padding: int | None = option(None, bounds=NOT_NEGATIVE, filled_in=True, group=Group.VIEWS)
    crop_area: tuple[float, ...] = option((), group=Group.VIEWS)
    crop_ratio: float = option(4 / 3, bounds=AT_LEAST_ONE, group=Group.VIEWS)
    color_jitter: float = option(0.0, bounds={"at least": 0, "at most": 1}, group=Group.VIEWS)
    workers: int | None = option(None, Role.HARMLESS, bounds=NOT_NEGATIVE, group=Group.MACHINE)
    relation_batch: int | None = option(None, bounds=AT_LEAST_ONE, group=Group.RELATIONS)
    relation_scope: Scope = option("global", verbs=OF_TEACHER, group=Group.RELATIONS)
    devices: int = option(1, bounds=AT_LEAST_ONE, group=Group.MACHINE, usual=True)
    nodes: int = option(1, bounds=AT_LEAST_ONE, group=Group.MACHINE)
    accelerator: Accelerator = option("auto", Role.HARMLESS, group=Group.MACHINE)
    relation_memory: float | None = option(
        None, Role.HARMLESS, bounds=POSITIVE, verbs=OF_TEACHER, group=Group.RELATIONS
    )
    limit_steps: int | None = option(None, bounds=AT_LEAST_ONE, group=Group.RECORDS)
    log_every: int = option(
        50, Role.HARMLESS, bounds=AT_LEAST_ONE, verbs=TRAINING, group=Group.RECORDS
    )
    log: Log | None = option(None, Role.HARMLESS, verbs=TRAINING, group=Group.RECORDS)
    checkpoint_minutes: float = option(
        10.0, Role.HARMLESS, bounds=NOT_NEGATIVE, verbs=TRAINING, group=Group.RECORDS
    )
    checkpoint_steps: int | None = option(
        None, Role.HARMLESS, bounds=AT_LEAST_ONE, verbs=TRAINING, group=Group.RECORDS
    )
    checkpoints_kept: int = option(2, Role.HARMLESS, bounds=AT_LEAST_ONE, group=Group.RECORDS)
    timed_batches: tuple[int, ...] = option((), Role.HARMLESS, verbs=TRAINING, group=Group.RECORDS)
    skip_nonfinite: int = option(
        0, Role.HARMLESS, bounds=NOT_NEGATIVE, verbs=TRAINING, group=Group.RECORDS
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, before anything is built."""
        refuse_out_of_bounds(self)
        read_loss(self.loss).refuse_few(self.samples_per_class)
        refuse_optimizer(self.optimizer)
        refuse_crop(self.crop_area, self.padding)
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
        if min(self.timed_batches, default=1) < 1:
            raise ValueError(f"timed_batches must be at least 1; got {[*self.timed_batches]}.")
        if self.schedule == "multi-step" and not self.milestones:
            raise ValueError(
                "the multi-step schedule needs milestones, for example milestones [150, 180, 210]."
            )
        if self.schedule == "one-cycle" and self.warmup_epochs:
            raise ValueError("the one-cycle schedule has its own warm-up: leave warmup_epochs out.")

    def filled_in(
        self, optimizer: str, classes: int | None = None, *, unit: bool = False
    ) -> "Settings":
        """Return these settings with what was left open.

        Args:
            optimizer: The optimiser, where none was chosen.
            classes: Number of classes to train on.
            unit: Whether the teacher's rows have unit length.
        """
        per_class = self.samples_per_class
        if per_class is None and classes and not self.of_scores:
            per_class = max(self.task.per_class, -(-self.samples_per_step // classes))
        return replace(
            self,
            optimizer=self.optimizer or optimizer,
            samples_per_class=per_class,
            metric=self.metric or ("cosine" if unit or self.task.of_directions else None),
        )

    def plain(self) -> dict[str, Plain]:
        """Return the settings as plain values, in the form that `--config` reads."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @property
    def task(self) -> Loss:
        """Return the loss with the labels, and its arguments."""
        return read_loss(self.loss)

    @property
    def of_scores(self) -> bool:
        """Return whether the loss with the labels is of a classifier's scores."""
        return not isinstance(self.task, Metric)

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
    def device(self) -> "torch.device":
        """Return where models run outside the training loop.

        Raises:
            ValueError: If there is no GPU but one is asked for, or needed for the precision.
        """
        import torch  # here: settings are also read where nothing is computed

        if self.accelerator != "cpu" and torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if self.accelerator == "gpu":
            raise ValueError(
                "accelerator gpu: torch finds none in this machine that it can use with CUDA or "
                "ROCm. Use auto or cpu, or install a build of torch for it."
            )
        if self.precision == "16":
            raise ValueError("precision 16 needs a GPU: use bf16 or 32 on a CPU.")
        return torch.device("cpu")


def refuse_crop(area: tuple[float, ...], padding: int | None) -> None:
    """Raise a ValueError if a crop's area is none, or shifts are asked for, too."""
    if area and not (len(area) == 2 and 0 < area[0] <= area[1] <= 1):
        raise ValueError(
            "crop_area is the smallest and the largest share of the picture, as 0.08,1; got "
            f"{', '.join(map(str, area))}."
        )
    if area and padding:
        raise ValueError(
            f"crop_area takes the place of shifts, and padding {padding} asks for these: leave "
            "one of the two out."
        )


def launched() -> int:
    """Return how many processes torchrun or accelerate has started for this run; 1 without."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1
