"""The interface of a modality: all that depends on the kind of samples."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from asterism import reading
from asterism.settings import Settings
from asterism.types import Kind, Samples, Shape
from asterism.views import Views

Pictures = dict[str, npt.NDArray[Any]]
Statistics = tuple[tuple[float, ...], tuple[float, ...]]
# Longest side of the picture that a report shows of a sample.
THUMBNAIL = 64
# Longest name or text kept: an array of texts takes the length of the longest for each.
CHARACTERS = 1_000


class Modality(ABC):
    """A kind of samples: images, texts, arrays.

    The rest of the package asks a modality and never which one it is. A new one is a file here, a
    line in `MODALITIES`, and the models that take it (docs/extending.md).

    Attributes:
        name: Its name, as run folders keep it.
        plural: What several samples are called.
        columns: Names that a table's column of samples may have, in the order in which they are
            looked for.
        optimizer: The optimiser that its models are trained with by default.
        pixels: Whether values are pixels, which models expect in [0, 1].
        reading: How what a user has becomes a sample, for who does it without asterism.
        has_files: Whether a path names a sample; otherwise it names data.
        preparation: What to check first of a network that knows nothing of the labels.
    """

    name: ClassVar[Kind]
    plural: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    optimizer: ClassVar[str]
    pixels: ClassVar[bool] = False
    has_files: ClassVar[bool] = True
    reading: ClassVar[str] = ""
    preparation: ClassVar[str]

    def described(self, shape: Shape) -> str:
        """Return what samples of a shape are, in words."""
        return f"{self.plural} of shape {shape}"

    @abstractmethod
    def example(self, shape: Shape) -> Samples:
        """Return two samples to try a model with."""

    @abstractmethod
    def edges(self, shape: Shape) -> list[tuple[str, Samples]]:
        """Return batches that go wrong first, with what they are: exports are tried with them."""

    def statistics(self, samples: Samples) -> Statistics:
        """Return mean and deviation of samples, as models normalise with; two empty tuples if none.

        Args:
            samples: Samples as they come from a source.
        """
        return (), ()

    def views(self, shape: Shape, settings: Settings, *, virtual: int, flip: bool) -> Views | None:
        """Return what makes the training views; None for samples that are taken as they come.

        Args:
            shape: Size of a sample.
            settings: How to train.
            virtual: How many virtual views are asked for.
            flip: Whether a mirrored sample is still the same thing.
        """
        return None

    @abstractmethod
    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return what a report shows of samples: `thumbnails` `(n, h, w, 3)` uint8, or `texts`."""

    def listed(self, given: Any) -> list[Any]:
        """Return what a user has, one sample or many, as a list of samples.

        Raises:
            ValueError: If it is no list of samples.
        """
        return reading.listed(given)

    def as_tensor(self, given: Any, shape: Shape) -> torch.Tensor | None:
        """Return what is a tensor of samples already, or floats of one; None for what is read.

        Raises:
            ValueError: If they are pixels of another size or range.
        """
        floats = isinstance(given, np.ndarray) and given.dtype.kind == "f"
        if not self.has_files or not (floats or isinstance(given, torch.Tensor)):
            return None
        return torch.as_tensor(given)

    @abstractmethod
    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return samples, as a source has them, of what a user has: paths, texts, arrays.

        Raises:
            ValueError: If something among it is none; the message names it.
            OSError: If a file cannot be read.
        """

    def check(self, samples: Any, shape: Shape) -> None:
        """Refuse samples that a trained student would take for others than they are.

        Args:
            samples: What a user gives to a student.
            shape: Size of a sample in training.

        Raises:
            ValueError: If they are of another kind, size or range than in training.
        """
        axes = ", ".join(str(side) for side in ("n", *(shape or ())))
        must = f"the student takes {self.plural} as a tensor of floats of shape ({axes})"
        if not isinstance(samples, torch.Tensor):
            way_out = "for files, or what is not one tensor yet, use student.embed(…)"
            raise ValueError(f"{must}; got {type(samples).__name__}: {way_out}.")
        if samples.shape[1:] != shape:
            raise ValueError(
                f"{must}; got shape {tuple(samples.shape)}{self.reshaped(samples, shape)}."
            )
        if not samples.is_floating_point():
            divided = " / 255" if self.pixels else ""
            raise ValueError(f"{must}; got {samples.dtype}: write samples.float(){divided}.")
        if not len(samples):
            return
        low, high = torch.stack(samples.aminmax()).tolist()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"{must}, all of it finite; got NaN or infinite values.")
        if self.pixels:
            reading.refuse_range(low, high, self.plural)

    def reshaped(self, samples: torch.Tensor, shape: Shape) -> str:
        """Return in words how a tensor of another shape becomes one that fits, if that is known."""
        return ": one sample is samples[None]" if samples.shape == shape else ""

    @abstractmethod
    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the content of each sample as bytes, by which equal ones are found."""


def cut(texts: Sequence[str]) -> npt.NDArray[Any]:
    """Return texts as an array, long ones cut."""
    return np.array(
        [x if len(x) <= CHARACTERS else x[: CHARACTERS - 1] + "…" for x in texts], dtype=np.str_
    )
