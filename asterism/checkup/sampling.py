"""A small seeded sample of the training data, and what the networks make of it."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.assess.seeing import device_of
from asterism.augment import as_input
from asterism.checkup.finding import Case
from asterism.data import Data, StoredTeacher
from asterism.engine.objective import join
from asterism.models.modes import evaluating
from asterism.types import Outputs, Samples, on_device

ROWS = 500
# Of many classes some are looked at, so that each has several samples.
CLASSES = 50
CHUNK = 50


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


def choose_rows(data: Data, rows: int = ROWS) -> Tensor:
    """Return training rows, drawn by a fixed seed; of few classes, as many of each."""
    generator = torch.Generator().manual_seed(0)
    order = data.train[torch.randperm(len(data.train), generator=generator)]
    if data.source.targets is None:
        return order[:rows]
    target = data.source.targets[order]
    present = torch.unique(target)
    present = present[torch.randperm(len(present), generator=generator)][:CLASSES]
    each = -(-rows // len(present))
    chosen = torch.cat([torch.nonzero(target == c).flatten()[:each] for c in present])
    return order[chosen.sort().values][:rows]


@torch.random.fork_rng(devices=[])
def see(case: Case, *, seconds: float | None = None) -> Sample:
    """Run both networks on the sample, clean, in eval mode.

    Args:
        case: The training.
        seconds: Time after which what was seen has to do; None for all of it.
    """
    source, models = case.data.source, case.models
    found: dict[str, list[Outputs]] = {name: [] for name in models}
    read: list[Tensor] = []
    shown: Samples = []
    begun = time.perf_counter()
    for rows in torch.split(choose_rows(case.data), CHUNK):
        batch = source.__getitems__(rows.tolist())
        if not len(batch.index):
            continue
        samples = as_input(batch.views[0])
        shown = shown if read else samples
        read.append(batch.index)
        for name, model in models.items():
            if isinstance(model, StoredTeacher):
                outputs = model.on(source).of(batch.index)
            else:
                with evaluating(model):
                    outputs = model(on_device(samples, device_of(model)))
            logits = None if outputs.logits is None else outputs.logits.float().cpu()
            found[name].append(Outputs(outputs.embedding.float().cpu(), logits))
        if seconds is not None and time.perf_counter() - begun > seconds:
            break
    index = torch.cat(read)
    target = None if source.targets is None else source.targets[index]
    return Sample(shown, index, target, {name: join(parts) for name, parts in found.items()})
