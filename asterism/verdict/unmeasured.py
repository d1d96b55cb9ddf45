"""What cannot be measured is left out and named; the rest of a result stands."""

from collections.abc import Callable
from typing import TypeVar

from asterism.models import in_words
from asterism.words import tell

T = TypeVar("T")


class Unmeasured(dict[str, str]):
    """What could not be measured, and why, by name: `teacher`, `student: linear probe`."""

    def tried(self, name: str, measure: Callable[[], T]) -> T | None:
        """Return what a measure gives; None, with its name and the reason kept, if it fails."""
        try:
            return measure()
        except Exception as error:  # of any kind: a user's own module may run here
            self[name] = in_words(error)
            tell(f"asterism: not measured: {name} ({self[name]})")
            return None

    def tried_of(self, who: str, name: str, measure: Callable[[], T]) -> T | None:
        """Try a measure of one of several models."""
        return self.tried(f"{who}: {name}", measure)
