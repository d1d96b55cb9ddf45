"""What a model needs to know about the data."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from asterism.types import Kind


@dataclass(frozen=True)
class Spec:
    """What a model needs to know about the data.

    Attributes:
        classes: Number of classes; None for a model without a classifier.
        image_shape: Channels, height and width; None for texts.
        mean: Mean of each channel, for images in [0, 1].
        std: Standard deviation of each channel.
        tokenizer: For texts: the content of a `tokenizer.json`; by default the teacher's.
        teacher: For texts: whose tokeniser, and possibly whose vectors, a student begins with.
        own_classifier: Keep the classifier that a model of another library comes with, whatever
            the data's classes are, as a teacher does.
        config: What the run card kept of another library's model, so that nothing is fetched.
    """

    classes: int | None
    image_shape: tuple[int, int, int] | None
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.25,)
    tokenizer: str | None = None
    teacher: nn.Module | None = None
    own_classifier: bool = False
    config: dict[str, Any] | None = None

    @property
    def kind(self) -> Kind:
        """Return what the samples are."""
        return "text" if self.image_shape is None else "image"

    def card(self) -> dict[str, Any]:
        """Return what a run card keeps of it, as plain values."""
        shape = self.image_shape and list(self.image_shape)
        kept = {"kind": self.kind, "classes": self.classes, "image_shape": shape}
        return {**kept, "mean": list(self.mean), "std": list(self.std)}

    def arguments(self) -> dict[str, Any]:
        """Return what a factory may ask for, statistics repeated for each channel."""
        if self.image_shape is None:
            return {"classes": self.classes, "tokenizer": self.tokenizer, "teacher": self.teacher}
        channels = self.image_shape[0]
        mean = self.mean * channels if len(self.mean) == 1 else self.mean
        std = self.std * channels if len(self.std) == 1 else self.std
        return {
            "classes": self.classes, "image_shape": self.image_shape, "mean": mean, "std": std
        }  # fmt: skip
