"""Teachers: a network, a file of its outputs, a cache of them. Nobody asks which."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from asterism.data import Data, Source
from asterism.measures import Cost
from asterism.modality import Modality
from asterism.models import (
    Vocabulary,
    evaluating,
    in_words,
    tokeniser_of,
    vocabulary_of,
    weights_fingerprint,
)
from asterism.settings import Settings
from asterism.types import Outputs, Samples, Shape, join_views, on_device, outputs_on_device
from asterism.views import Views


class Taught(Protocol):
    """A teacher's outputs on the samples of one source."""

    def clean(self, index: torch.Tensor, samples: Samples) -> Outputs:
        """Return the outputs on clean samples, float32 on the CPU.

        Args:
            index: Rows of the samples, shape `(n,)`.
            samples: The samples, as models take them.
        """

    def views(self, number: int, index: torch.Tensor, views: Sequence[Samples]) -> Outputs:
        """Return the outputs that teach, one view after the other, where `index` is.

        Args:
            number: Number of the views.
            index: Rows of the samples, shape `(n,)`.
            views: The samples in each view, the real one first, as models take them.
        """


@dataclass(frozen=True)
class TeacherCard:
    """What is known of a teacher.

    Attributes:
        width: Columns of its embedding.
        classes: Columns of its logits, 0 for none.
        parameters: Numbers in its weights; None where there is no network.
        kinds: Types of its weights, sorted.
        names: What the columns of its logits mean, where that is known.
        cost: What running it costs, where that was measured before and cannot be now.
    """

    width: int
    classes: int
    parameters: int | None = None
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    cost: Cost | None = None

    def example(self) -> Outputs:
        """Return outputs of two samples of these widths."""
        logits = torch.zeros(2, self.classes) if self.classes else None
        return Outputs(torch.zeros(2, self.width), logits)


class Teacher(ABC):
    """What a student is taught by.

    Attributes:
        place: What it is called in messages.
        network: The network, for what can be tried on one alone; None where there is none.
        one_view: Whether it knows the clean view of a sample alone.
        virtual: Whether it knows virtual views, too.
        a_name: What it is, in words, where that matters.
        first_look: What to check if it knows nothing of the labels; None for what a network of
            these data should be checked for.
    """

    network: nn.Module | None = None
    one_view: bool = False
    virtual: bool = True
    a_name: str = "a teacher"
    first_look: str | None = None

    def __init__(self, place: str) -> None:
        """Name it."""
        self.place = place
        self._matched: dict[Source, Taught] = {}

    def on(self, source: Source) -> Taught:
        """Return what gives the outputs on samples of a source; of the training data first.

        Raises:
            ValueError: If they are not known; the message says why.
        """
        if source not in self._matched:
            self._matched[source] = self._match(source)
        return self._matched[source]

    @abstractmethod
    def _match(self, source: Source) -> Taught:
        """Return the outputs on a source that was not asked for before."""

    def knows(self, source: Source) -> bool:
        """Return whether the outputs on samples of a source are known."""
        try:
            self.on(source)
        except ValueError:
            return False
        return True

    @property
    @abstractmethod
    def card(self) -> TeacherCard:
        """Return what is known of it."""

    @property
    def vocabulary(self) -> Vocabulary | None:
        """Return what is known of its tokens; None for one that has none."""
        return vocabulary_of(self.network)

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a short hash of it."""

    def settle(
        self, settings: Settings, views: Views | None, methods: Sequence[str]
    ) -> tuple[Settings, Views | None]:
        """Return settings and training views, what was left open as the teacher has it.

        Args:
            settings: How to train.
            views: The training views by these settings.
            methods: Names of the methods, for messages.

        Raises:
            ValueError: If the training asks for views that the teacher does not have.
        """
        return settings, views

    def without_absent(self, data: Data) -> Data:
        """Return the data without the samples that the teacher could not be shown."""
        return data

    def to(self, device: torch.device, *, channels_last: bool = False) -> None:
        """Move the network, if there is one."""
        if self.network is None:
            return
        self.network.to(device)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class LiveTeacher(Teacher):
    """A network that is run on every sample: frozen, in eval mode, never in a checkpoint."""

    network: nn.Module

    def __init__(
        self, network: nn.Module, modality: Modality, shape: Shape, name: str = "the teacher"
    ) -> None:
        """Freeze a network, and try it.

        Args:
            network: Takes samples and returns `Outputs`.
            modality: What the samples are.
            shape: Size of a sample.
            name: What it is called in messages.

        Raises:
            ValueError: If it cannot take the samples, or returns something else.
        """
        super().__init__(name)
        self.network = network.eval().requires_grad_(False)
        self.outputs = try_out(network, modality, shape, "teacher")

    def _match(self, source: Source) -> Taught:
        return _Live(self.network)

    @property
    def card(self) -> TeacherCard:
        """Return the network's widths, size, types and class names."""
        return card_of(self.network, self.outputs)

    def fingerprint(self) -> str:
        """Return a short hash of the weights by name."""
        return weights_fingerprint(self.network)


class _Live:
    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def clean(self, index: torch.Tensor, samples: Samples) -> Outputs:
        return observed(self.network, samples)

    @torch.no_grad()
    def views(self, number: int, index: torch.Tensor, views: Sequence[Samples]) -> Outputs:
        outputs: Outputs = self.network(join_views(views))
        return outputs


def observed(model: nn.Module, samples: Samples) -> Outputs:
    """Return what a network in eval mode makes of samples, float32 on the CPU."""
    with evaluating(model):
        outputs = model(on_device(samples, device_of(model)))
    # A module of a user's own may have switched gradients on again.
    logits = None if outputs.logits is None else outputs.logits.detach().float()
    embedding = outputs.embedding.detach().float()
    return outputs_on_device(Outputs(embedding, logits), torch.device("cpu"))


def card_of(network: nn.Module, outputs: Outputs) -> TeacherCard:
    """Return what is known of a network that gave some outputs."""
    embedding, logits = outputs
    parameters = list(network.parameters())
    classes = 0 if logits is None else logits.shape[1]
    names = class_names_of(network)
    return TeacherCard(
        width=embedding.shape[1],
        classes=classes,
        parameters=sum(p.numel() for p in parameters),
        kinds=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
        names=names if names and len(names) == classes else None,
    )


def class_names_of(network: nn.Module) -> tuple[str, ...] | None:
    """Return the names of its classes that a network, or a part of it, comes with."""
    known = (getattr(module, "classes", None) for module in network.modules())
    tuples = (names for names in known if isinstance(names, tuple) and names)
    return next((names for names in tuples if all(isinstance(x, str) for x in names)), None)


def device_of(model: nn.Module) -> torch.device:
    """Return where a network is."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def try_out(
    model: nn.Module, modality: Modality, shape: Shape, role: str, *, classes: int | None = None
) -> Outputs:
    """Run two samples through a network, to see what it returns before an hour is spent.

    Args:
        model: The network.
        modality: What the samples are.
        shape: Size of a sample.
        role: What to call it.
        classes: Number of classes that labels or methods ask it for, if any.

    Raises:
        ValueError: If it cannot take the samples, or returns something else.
    """
    example = modality.example(shape)
    rows = len(example)
    if not isinstance(example, list) and tokeniser_of(model) is not None:
        raise ValueError(f"the {role} takes texts, and the data are {modality.plural}.")
    try:
        with evaluating(model):
            outputs = model(on_device(example, device_of(model)))
    except Exception as error:  # of any kind: a user's own module may run here
        what = modality.described(shape)
        raise ValueError(f"the {role} cannot take {what}: {in_words(error)}.") from error
    if not isinstance(outputs, Outputs) or outputs.embedding.ndim != 2:
        raise ValueError(f"the {role} must return an embedding of shape (n, d) for each sample.")
    if any(x is not None and len(x) != rows for x in outputs):
        got = ", ".join(str(tuple(x.shape)) for x in outputs if x is not None)
        raise ValueError(f"the {role} must return one row for each sample; of {rows} came {got}.")
    if classes and (outputs.logits is None or outputs.logits.shape[1] != classes):
        raise ValueError(
            f"the {role} gives no scores of {classes} classes, and labels or methods need them: "
            "give it a classifier, or leave them out."
        )
    return outputs
