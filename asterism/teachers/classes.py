"""Classes of a teacher and of data, matched by name."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from asterism.data import Data
from asterism.models.adapt import Wrapper
from asterism.teachers.teacher import TeacherCard
from asterism.types import Outputs, Samples
from asterism.words import count

Names = Sequence[str] | None


class Reordered(Wrapper):
    """A classifier whose scores come in another order, those of other classes left out.

    Attributes:
        classes: Names of the classes in that order.
    """

    order: Tensor

    def __init__(self, module: nn.Module, order: Sequence[int], names: Sequence[str]) -> None:
        """Wrap a network.

        Args:
            module: The network.
            order: For each class its column in the network's scores.
            names: The names of the classes.
        """
        super().__init__(module)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.classes = tuple(names)

    def forward(self, samples: Samples) -> Outputs:
        """Return embedding and scores."""
        outputs: Outputs = self.module(samples)
        logits = outputs.logits
        return outputs._replace(logits=None if logits is None else logits[:, self.order])


def in_order(network: nn.Module, own: Names, wanted: Names) -> nn.Module:
    """Return a network whose scores are those of the data's classes, if it knows all of these.

    Numbers that nobody has given a name are no such thing: of more of them nobody knows which.

    Args:
        network: The network.
        own: Names of its classes, where they are known.
        wanted: Names of the data's classes; None without labels.
    """
    if own is None or wanted is None or tuple(own) == tuple(wanted):
        return network
    if not set(wanted) <= set(own) or (len(own) > len(wanted) and _numbers(own)):
        return network
    return Reordered(network, [list(own).index(name) for name in wanted], wanted)


def differing(card: TeacherCard, data: Data) -> str | None:
    """Return in words why a teacher's scores are not of the data's classes; None if they are.

    Bare numbers are the names of classes that nobody named, and then their number is compared.
    """
    if not card.classes:
        return "the teacher has no class scores"
    if card.classes != data.classes:
        return f"the teacher has {card.classes} classes, the data {data.classes}"
    own, wanted = card.names, data.class_names
    if own is None or wanted is None or set(own) == set(wanted):
        return None
    strange = [name for name in own if name not in wanted]
    if len(strange) == len(own) and (_numbers(own) or _numbers(wanted)):
        return None
    missing = next(name for name in wanted if name not in own)
    return (
        f"of the teacher's {count(len(own))} classes {count(len(strange))} are not among the "
        f"data's, {strange[0]!r} for one, as {missing!r} is not among the teacher's"
    )


def strangers(card: TeacherCard, data: Data) -> bool:
    """Return whether a teacher scores as many classes as the data have, and others."""
    return card.classes == data.classes and differing(card, data) is not None


def _numbers(names: Sequence[str]) -> bool:
    return tuple(names) == tuple(map(str, range(len(names))))
