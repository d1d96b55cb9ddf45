"""Several teachers as one: what the student keeps is their mean pattern."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import torch
from torch import nn

from asterism.data import Data, Source
from asterism.relations.directions import unit_rows
from asterism.settings import Settings
from asterism.teachers.teacher import Taught, Teacher, TeacherCard, class_names_of
from asterism.types import Outputs, Samples
from asterism.views import Views


def side_by_side(outputs: Sequence[Outputs]) -> Outputs:
    r"""Return the outputs of several teachers on the same samples as those of one.

    The embedding is their rows of unit length beside each other, over $\sqrt{m}$: the cosine of two
    samples is then the mean of the $m$ teachers' cosines, the squared distance the mean of theirs.
    Logits are the mean of theirs (the geometric mean of the distributions; Hinton, Vinyals & Dean,
    2015, https://arxiv.org/abs/1503.02531), where all have scores of equally many classes.
    """
    rows = torch.cat([unit_rows(x.embedding) for x in outputs], dim=1) / len(outputs) ** 0.5
    logits = [x.logits for x in outputs if x.logits is not None]
    if len({x.shape for x in logits}) != 1 or len(logits) < len(outputs):
        return Outputs(rows)
    return Outputs(rows, torch.stack(logits).mean(0))


class SideBySide(nn.Module):
    """Several networks as one."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """Hold the networks."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        names = {class_names_of(network) for network in networks}
        self.classes = names.pop() if len(names) == 1 else None

    def forward(self, samples: Any) -> Outputs:
        """Return what `side_by_side` makes of their outputs."""
        return side_by_side([network(samples) for network in self.networks])


class Several(Teacher):
    """Several teachers as one, some of them known by their outputs alone."""

    a_name = "one of several teachers"

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        """Hold the teachers."""
        super().__init__(" + ".join(teacher.place for teacher in teachers))
        self.teachers = tuple(teachers)
        self.one_view = any(teacher.one_view for teacher in teachers)
        self.virtual = all(teacher.virtual for teacher in teachers)

    def _match(self, source: Source) -> Taught:
        return _SideBySide([teacher.on(source) for teacher in self.teachers])

    @property
    def card(self) -> TeacherCard:
        """Return what is known of all of them."""
        cards = [teacher.card for teacher in self.teachers]
        outputs = side_by_side([card.example() for card in cards])
        parameters = [card.parameters for card in cards if card.parameters is not None]
        names = {card.names for card in cards}
        return TeacherCard(
            width=outputs.embedding.shape[1],
            classes=0 if outputs.logits is None else outputs.logits.shape[1],
            parameters=sum(parameters) if len(parameters) == len(cards) else None,
            kinds=tuple(sorted({kind for card in cards for kind in card.kinds})),
            names=names.pop() if len(names) == 1 else None,
        )

    def fingerprint(self) -> str:
        """Return a short hash of all, in order."""
        prints = " ".join(teacher.fingerprint() for teacher in self.teachers)
        return sha256(prints.encode()).hexdigest()[:16]

    def settle(
        self, settings: Settings, views: Views | None, methods: Sequence[str]
    ) -> tuple[Settings, Views | None]:
        """Return settings and training views, what was left open as the teachers have it."""
        for teacher in self.teachers:
            settings, views = teacher.settle(settings, views, methods)
        return settings, views

    def without_absent(self, data: Data) -> Data:
        """Return the data without the samples that one of them could not be shown."""
        for teacher in self.teachers:
            data = teacher.without_absent(data)
        return data

    def to(self, device: torch.device, *, channels_last: bool = False) -> None:
        """Move the networks."""
        for teacher in self.teachers:
            teacher.to(device, channels_last=channels_last)


class _SideBySide:
    def __init__(self, taught: Sequence[Taught]) -> None:
        self.taught = taught

    def clean(self, index: torch.Tensor, samples: Samples) -> Outputs:
        return side_by_side([each.clean(index, samples) for each in self.taught])

    def views(self, number: int, index: torch.Tensor, views: Sequence[Samples]) -> Outputs:
        return side_by_side([each.views(number, index, views) for each in self.taught])
