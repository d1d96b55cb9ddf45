"""Anchor samples for the methods that compare with fixed ones."""

from collections.abc import Sequence

import torch
from torch import Tensor

from asterism.data import Data
from asterism.engine import Anchors
from asterism.methods.base import Method
from asterism.teachers import Teacher, differing
from asterism.types import as_input
from asterism.verdict import outputs_on, teaching


def choose_anchors(
    methods: Sequence[Method], teacher: Teacher | None, data: Data, *, seed: int
) -> Anchors | None:
    """Return the anchors, clean, and the teacher's outputs for them; None if nobody asks.

    `random` draws training samples, `per-class` equally many of each class, as many as fit into the
    number asked for, `most-confident` the same but those to whose own class the teacher gives most
    probability, those it takes for another class last.

    Raises:
        ValueError: If classes are needed and there are none, or more than anchors, if there are too
            few samples, or if two methods ask differently.
    """
    wishes = {(m.anchors, m.anchor_count) for m in methods if "anchors" in m.needs}
    if not wishes or teacher is None:
        return None
    if len(wishes) > 1:
        raise ValueError(
            "all methods of a run share their anchors: ask for the same ones; got "
            f"{' and '.join(f'{count} {name}' for name, count in sorted(wishes))}."
        )
    strategy, count = wishes.pop()
    generator = torch.Generator().manual_seed(seed)
    rows = data.train[torch.randperm(len(data.train), generator=generator)]
    if strategy != "random":
        if data.source.targets is None or data.classes is None:
            raise ValueError(f"{strategy} anchors need labels: choose random ones.")
        if count < data.classes:
            raise ValueError(
                f"{strategy} anchors need at least one for each of the {data.classes} classes; got "
                f"an anchor_count of {count}: raise it, or choose random ones."
            )
        if strategy == "most-confident":
            rows = _by_confidence(teacher, data, rows)
        target = data.source.targets[rows]
        each = count // data.classes
        fewest = int(torch.bincount(target, minlength=data.classes).min())
        if fewest < each:
            fitting = f"lower it to {fewest * data.classes}, or " if fewest else ""
            raise ValueError(
                f"an anchor_count of {count} takes {each} samples of each class, and one class has "
                f"{fewest}: {fitting}choose random anchors."
            )
        rows = torch.cat([rows[target == c][:each] for c in range(data.classes)])
    elif count > len(rows):
        raise ValueError(
            f"an anchor_count of {count} needs as many training samples; there are {len(rows)}."
        )
    batch = data.source.__getitems__(rows[:count].tolist())
    taught = outputs_on(teaching(teacher), data.source, batch.index)
    return Anchors(as_input(batch.views[0]), taught.outputs)


def _by_confidence(teacher: Teacher, data: Data, rows: Tensor) -> Tensor:
    """Return the rows that can be read, those first of whose class the teacher is surest."""
    # What cannot be read has no outputs either.
    parts = [data.source.__getitems__(some.tolist()).index for some in torch.split(rows, 256)]
    rows = torch.cat(parts)
    observed = outputs_on(teaching(teacher), data.source, rows)
    taught = observed.outputs
    target = observed.target
    if taught.logits is None or target is None or differing(teacher.card, data):
        raise ValueError(
            "most-confident anchors need a teacher that classifies the data's classes."
        )
    probability = taught.logits.softmax(1)
    own = probability[torch.arange(len(target)), target]
    confidence = torch.where(probability.argmax(1) == target, own, own - 1)
    return rows[confidence.argsort(descending=True, stable=True)]
