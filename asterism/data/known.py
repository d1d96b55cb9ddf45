"""Teachers without a network: what they return for each sample is known already."""

from typing import Protocol

from torch import Tensor, nn

from asterism.data.sources import Source
from asterism.types import Outputs, Samples


class Lookup(Protocol):
    """A teacher's outputs on the samples of one source."""

    def of(self, index: Tensor) -> Outputs:
        """Return the outputs on some samples, clean, on the CPU."""

    def view(self, kind: int, number: int, index: Tensor) -> Outputs:
        """Return the outputs that teach, where `index` is.

        Args:
            kind: 0 for the real view, k for the k-th virtual one.
            number: Number of the view.
            index: Rows of the samples, shape `(n,)`.
        """


class KnownTeacher(nn.Module):
    """Looks outputs up by sample instead of computing them.

    Attributes:
        place: Where they are from, for messages.
        widths: Columns of the embedding and of the logits, 0 for no logits.
    """

    widths: tuple[int, int]

    def __init__(self, place: str) -> None:
        """Know nothing yet."""
        super().__init__()
        self.place = place
        self.at: dict[Source, Lookup] = {}

    def on(self, source: Source) -> Lookup:
        """Return what gives the outputs on samples of a source; of the training data first.

        Raises:
            ValueError: If they are not known; the message says why.
        """
        if source not in self.at:
            self.at[source] = self._matched(source)
        return self.at[source]

    def _matched(self, source: Source) -> Lookup:
        raise NotImplementedError

    def knows(self, source: Source) -> bool:
        """Return whether the outputs on samples of a source are known."""
        try:
            self.on(source)
        except ValueError:
            return False
        return True

    def fingerprint(self) -> str:
        """Return a short hash of the teacher."""
        raise NotImplementedError

    def forward(self, samples: Samples) -> Outputs:
        """Refuse: there is no network.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"{self.place} has outputs for known samples only: it is no network.")
