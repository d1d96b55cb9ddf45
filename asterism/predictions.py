"""Predictions: names of classes with their probabilities. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt


class Prediction(NamedTuple):
    """A class and its probability, the softmax of the class scores.

    Attributes:
        name: Name of the class.
        probability: Between 0 and 1; how far it can be trusted, only a measure of calibration says.
    """

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Predictions(Sequence[Prediction]):
    """The most probable class of each sample, and all probabilities behind it.

    Attributes:
        classes: Names of the classes.
        probabilities: Of each class for each sample, float32 `(n, c)`; rows add up to 1.

    Examples:
        >>> made = Predictions.of(np.log([[0.1, 0.9], [0.75, 0.25]]), ("cat", "dog"))
        >>> [name for name, probability in made]
        ['dog', 'cat']
        >>> made[1]
        Prediction(name='cat', probability=0.75)
        >>> [each.name for each in made.top(2)[0]]
        ['dog', 'cat']
    """

    classes: tuple[str, ...]
    probabilities: npt.NDArray[np.float32]

    @classmethod
    def of(cls, logits: npt.NDArray[Any], classes: Sequence[str] | None) -> "Predictions":
        """Return the predictions of class scores.

        Args:
            logits: Class scores, `(n, c)`.
            classes: Names of the classes; None for their numbers.
        """
        scores = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True, initial=-np.inf))
        probabilities = (scores / scores.sum(1, keepdims=True)).astype(np.float32)
        names = map(str, range(logits.shape[1])) if classes is None else classes
        return cls(tuple(names), probabilities)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.probabilities)

    @overload
    def __getitem__(self, row: int) -> Prediction: ...

    @overload
    def __getitem__(self, row: slice) -> "Predictions": ...

    def __getitem__(self, row: int | slice) -> "Prediction | Predictions":
        """Return the most probable class of a sample, or the predictions of several."""
        if isinstance(row, slice):
            return Predictions(self.classes, self.probabilities[row])
        chosen = int(self.probabilities[row].argmax())
        return Prediction(self.classes[chosen], float(self.probabilities[row, chosen]))

    def top(self, count: int) -> list[list[Prediction]]:
        """Return the most probable classes of each sample, the first one first."""
        order = np.argsort(-self.probabilities, 1, kind="stable")[:, :count]
        return [
            [Prediction(self.classes[c], float(row[c])) for c in chosen]
            for row, chosen in zip(self.probabilities, order.tolist(), strict=True)
        ]

    def __repr__(self) -> str:
        """Return the first few."""
        first = ", ".join(f"{name} {probability:.2f}" for name, probability in self[:5])
        return f"<{len(self)} predictions: {first}{', …' if len(self) > 5 else ''}>"
