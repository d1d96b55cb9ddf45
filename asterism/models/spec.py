"""The spec of the data that a model is built for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from asterism.modality import IMAGE, MODALITIES, TEXT, Modality
from asterism.models.vocabulary import Vocabulary, vocabulary_of
from asterism.types import Shape


@dataclass(frozen=True)
class Spec:
    """What a model needs to know about the data.

    Attributes:
        classes: Number of classes; None for a model without a classifier.
        shape: Size of a sample; None for texts.
        mean: Mean of each channel, for images in [0, 1]; of each feature or of all of arrays.
        std: Standard deviation, likewise.
        tokenizer: For texts: the content of a `tokenizer.json`; by default the teacher's.
        vocabulary: For texts: the teacher's tokens, and possibly vectors to begin with; by default
            what the network knows of them.
        teacher: For texts: the teacher's network, if there is one, for a factory that asks for it.
        own_classifier: Keep the classifier that a model of another library comes with, whatever
            the data's classes are, as a teacher does.
        modality: What the samples are; by default texts without a shape, images with one.
        config: What the run card kept of another library's model, so that nothing is fetched.
    """

    classes: int | None
    shape: Shape
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    tokenizer: str | None = None
    vocabulary: Vocabulary | None = None
    teacher: nn.Module | None = None
    own_classifier: bool = False
    modality: Modality | None = None
    config: dict[str, Any] | None = None

    @property
    def takes(self) -> Modality:
        """Return what the samples are."""
        return self.modality or (TEXT if self.shape is None else IMAGE)

    def card(self) -> dict[str, Any]:
        """Return what a run card keeps of it, as plain values."""
        shape = self.shape and list(self.shape)
        kept = {"kind": self.takes.name, "classes": self.classes, "image_shape": shape}
        return {**kept, "mean": list(self.mean), "std": list(self.std)}

    def arguments(self) -> dict[str, Any]:
        """Return what a factory may ask for; statistics of images for each channel."""
        offered: dict[str, Any] = {"classes": self.classes, "shape": self.shape}
        if self.takes is TEXT:
            known = self.vocabulary or vocabulary_of(self.teacher)
            tokenizer = known.tokeniser if known and self.tokenizer is None else self.tokenizer
            offered |= {"tokenizer": tokenizer, "vocabulary": known}
            return {**offered, "teacher": self.teacher}
        if self.takes is not IMAGE or self.shape is None:
            return {**offered, "mean": self.mean, "std": self.std}
        channels = self.shape[0]
        mean = self.mean * channels if len(self.mean) == 1 else self.mean
        std = self.std * channels if len(self.std) == 1 else self.std
        return {**offered, "image_shape": self.shape, "mean": mean, "std": std}


def spec_of_card(card: Mapping[str, Any]) -> Spec:
    """Return the spec that a run card keeps.

    Raises:
        KeyError: If the card is damaged; or a TypeError, or a ValueError.
    """
    modality = MODALITIES[card.get("kind") or "image"]
    shape = None if modality is TEXT else tuple(int(x) for x in card["image_shape"])
    if modality is IMAGE and len(shape or ()) != 3:
        raise ValueError(f"image_shape is {shape}")
    spec = Spec(card["classes"], shape, modality=modality, config=card.get("config"))
    if "mean" not in card:
        return spec
    return replace(spec, mean=tuple(card["mean"]), std=tuple(card["std"]))
