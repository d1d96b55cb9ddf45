"""The interface of a modality: all that depends on the kind of samples."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from asterism.settings import Optimizer, Settings
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
        preparation: What to check first of a network that knows nothing of the labels.
    """

    name: ClassVar[Kind]
    plural: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    optimizer: ClassVar[Optimizer]
    pixels: ClassVar[bool] = False
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

    @abstractmethod
    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return samples of what a user has: paths of pictures, texts, arrays."""

    @abstractmethod
    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the content of each sample as bytes, by which equal ones are found."""


def cut(texts: Sequence[str]) -> npt.NDArray[Any]:
    """Return texts as an array, long ones cut."""
    return np.array(
        [x if len(x) <= CHARACTERS else x[: CHARACTERS - 1] + "…" for x in texts], dtype=np.str_
    )
