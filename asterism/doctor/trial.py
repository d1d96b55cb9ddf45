"""Outputs of both networks on some training samples, for the checks."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.data import Data
from asterism.engine import Training
from asterism.teachers import observed, strangers
from asterism.types import Outputs, Samples, as_input, join_outputs, join_views

# Samples that the networks see, and how many of them are kept to be shown again.
ROWS = 500
SHOWN = 200
# Of many classes some are looked at, so that each has several samples.
CLASSES = 50
CHUNK = 25


@dataclass(frozen=True)
class Trial:
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


def networks_of(training: Training) -> dict[str, nn.Module]:
    """Return the networks by name, student first; a teacher without one is left out."""
    networks = {"student": training.student}
    if training.teacher is not None and training.teacher.network is not None:
        networks["teacher"] = training.teacher.network
    return networks


def try_networks(training: Training, *, seconds: float) -> Trial | None:
    """Run both networks on some samples, clean, in eval mode.

    Args:
        training: The training.
        seconds: Time after which what was seen has to do.

    Returns:
        The samples and outputs; None if none of the samples can be read.
    """
    source = training.data.source
    teacher = training.teacher
    made: dict[str, list[Outputs]] = {"student": []}
    read: list[Tensor] = []
    shown: list[Samples] = []
    begun = time.perf_counter()
    for rows in torch.split(_choose_rows(training.data), CHUNK):
        batch = source.__getitems__(rows.tolist())
        if not len(batch.index):
            continue
        samples = as_input(batch.views[0])
        shown += [samples] if len(shown) * CHUNK < SHOWN else []
        read.append(batch.index)
        made["student"].append(observed(training.student, samples))
        if teacher is not None:
            taught = teacher.on(source).clean(batch.index, samples)
            if strangers(teacher.card, training.data):
                taught = Outputs(taught.embedding)  # its scores say nothing of these classes
            made.setdefault("teacher", []).append(taught)
        if time.perf_counter() - begun > seconds:
            break
    if not read:
        return None
    index = torch.cat(read)
    target = None if source.targets is None else source.targets[index]
    outputs = {name: join_outputs(parts) for name, parts in made.items()}
    return Trial(join_views(shown), index, target, outputs)


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
