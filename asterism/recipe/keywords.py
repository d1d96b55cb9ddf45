"""The settings as keyword arguments of the verbs, for type checkers and editors."""

from typing import TypedDict

from asterism.settings import (
    Accelerator,
    Distance,
    Keep,
    Log,
    LossWeights,
    Precision,
    Schedule,
    Scope,
)


class SettingsByName(TypedDict, total=False):
    """The settings as keyword arguments, each as in `Settings`."""

    epochs: int
    batch_size: int
    steps_per_epoch: int | None
    samples_per_class: int | None
    lr: float | None
    optimizer: str | None
    nesterov: bool
    weight_decay: float | None
    decay_all: bool
    schedule: Schedule
    milestones: tuple[int, ...]
    milestone_factor: float
    warmup_epochs: float
    clip: float
    loss: str
    task_weight: float
    loss_weights: LossWeights
    prefixes: tuple[int, ...]
    precision: Precision
    channels_last: bool
    compile: bool
    ema: float
    keep: Keep
    patience: int | None
    metric: Distance | None
    seed: int
    view_seed: int
    train_views: str | None
    randaugment_operations: int
    randaugment_magnitude: int
    view_count: int | None
    padding: int | None
    crop_area: tuple[float, ...]
    crop_ratio: float
    color_jitter: float
    workers: int | None
    relation_batch: int | None
    relation_scope: Scope
    devices: int
    nodes: int
    accelerator: Accelerator
    relation_memory: float | None
    limit_steps: int | None
    log_every: int
    log: Log | None
    checkpoint_minutes: float
    checkpoint_steps: int | None
    checkpoints_kept: int
    timed_batches: tuple[int, ...]
    skip_nonfinite: int
