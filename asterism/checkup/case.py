"""The training that is looked at, a sample of what its networks do, and what a check found."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from asterism.assess.seeing import device_of
from asterism.augment import Views, as_input
from asterism.data import Data, KnownTeacher
from asterism.data.cache import Cache
from asterism.engine import Settings
from asterism.methods.base import Method
from asterism.models.modes import evaluating
from asterism.types import Outputs, Samples, join_outputs, join_views, on_device

Severity = Literal["ok", "look", "wrong"]

# Samples that the networks see, and how many of them are kept to be shown again.
ROWS, SHOWN = 500, 200
# Of many classes some are looked at, so that each has several samples.
CLASSES = 50
CHUNK = 25


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        subject: What was looked at.
        severity: `ok`; `look`, which may be meant; or `wrong`, which can hardly be.
        found: What there is, in figures.
        advice: What to do about it; empty if nothing.
        figures: The figures by name.
    """

    subject: str
    severity: Severity
    found: str
    advice: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A training that is about to begin.

    Attributes:
        data: The data.
        student: The student, untrained or from an earlier run.
        teacher: The teacher, or None.
        methods: The methods, set up.
        settings: How to train.
        views: What makes the training views; None for samples that are taken as they come.
        use_labels: Whether labels are part of the objective.
        out: The run folder, if it is known.
        cache: The cache of the teacher's outputs, if one is meant.
    """

    data: Data
    student: nn.Module
    teacher: nn.Module | None
    methods: Sequence[Method]
    settings: Settings
    views: Views | None
    use_labels: bool
    out: Path | None = None
    cache: Cache | None = None

    @property
    def models(self) -> dict[str, nn.Module]:
        """Return the networks by name, student first."""
        return {"student": self.student} | ({"teacher": self.teacher} if self.teacher else {})


@dataclass(frozen=True)
class Sample:
    """Some training samples and what the networks make of them.

    Attributes:
        shown: The first of the samples, as models take them.
        index: Rows of all of them, those that could be read.
        target: Their classes; None without labels.
        outputs: Student's and teacher's outputs by name, on the CPU.
    """

    shown: Samples
    index: Tensor
    target: Tensor | None
    outputs: dict[str, Outputs]


def see(case: Case, *, seconds: float) -> Sample | None:
    """Run both networks on some samples, clean, in eval mode.

    Args:
        case: The training.
        seconds: Time after which what was seen has to do.

    Returns:
        The sample; None if none of the samples can be read.
    """
    source, models = case.data.source, case.models
    found: dict[str, list[Outputs]] = {name: [] for name in models}
    read: list[Tensor] = []
    shown: list[Samples] = []
    begun = time.perf_counter()
    for rows in torch.split(_choose_rows(case.data), CHUNK):
        batch = source.__getitems__(rows.tolist())
        if not len(batch.index):
            continue
        samples = as_input(batch.views[0])
        shown += [samples] if len(shown) * CHUNK < SHOWN else []
        read.append(batch.index)
        for name, model in models.items():
            if isinstance(model, KnownTeacher):
                outputs = model.on(source).of(batch.index)
            else:
                outputs = seen_by(model, samples)
            found[name].append(outputs)
        if time.perf_counter() - begun > seconds:
            break
    if not read:
        return None
    index = torch.cat(read)
    target = None if source.targets is None else source.targets[index]
    outputs_by_name = {name: join_outputs(parts) for name, parts in found.items()}
    return Sample(join_views(shown), index, target, outputs_by_name)


def seen_by(model: nn.Module, samples: Samples) -> Outputs:
    """Return what a network in eval mode makes of samples, in float32 on the CPU."""
    with evaluating(model):
        made = model(on_device(samples, device_of(model)))
    embedding, logits = (None if x is None else x.detach().float().cpu() for x in made)
    assert embedding is not None
    return Outputs(embedding, logits)


def _choose_rows(data: Data) -> Tensor:
    """Return training rows, drawn by a fixed seed; of few classes, as many of each."""
    generator = torch.Generator().manual_seed(0)
    order = data.train[torch.randperm(len(data.train), generator=generator)]
    if data.source.targets is None:
        return order[:ROWS]
    target = data.source.targets[order]
    present = torch.bincount(target).nonzero().flatten()
    present = present[torch.randperm(len(present), generator=generator)][:CLASSES]
    each = -(-ROWS // len(present))
    chosen = torch.cat([torch.nonzero(target == c).flatten()[:each] for c in present])
    return order[chosen.sort().values][:ROWS]


def count(number: float) -> str:
    """Return a count or a size with three digits and thousands apart."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def share(part: float) -> str:
    """Return a share in per cent."""
    return f"{100 * part:.1f} %"
