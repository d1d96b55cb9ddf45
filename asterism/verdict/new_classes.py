"""Samples of classes that no training row has: what can be said of them, and what is left out."""

from dataclasses import dataclass

import torch
from torch import Tensor

# What needs the training data's classes.
NEED_CLASSES = "accuracy, calibration, probe and k-NN"


@dataclass(frozen=True)
class NewClasses:
    """Which of the measured samples are of the training data's classes.

    Attributes:
        known: Which are, shape `(n,)`.
        classes: Number of classes that the samples have.
        new: How many of these the training data lack.
    """

    known: Tensor
    classes: int
    new: int

    @property
    def only(self) -> bool:
        """Return whether all samples are of new classes."""
        return not bool(self.known.any())

    def plain(self) -> dict[str, int]:
        """Return numbers of classes and of rows, as `result.json` keeps them."""
        rows = int((~self.known).sum())
        return {"classes": self.classes, "new": self.new, "new_rows": rows}

    def sentence(self) -> str:
        """Return what a reader must know of them."""
        if self.only:
            return (
                f"These data have classes of their own ({self.new}, which training did not see): "
                f"{NEED_CLASSES} need the training data's classes and are left out."
            )
        rows = int((~self.known).sum())
        return (
            f"Of the {self.classes} classes of these data {self.new} are classes of their own, "
            f"which training did not see ({rows:,} of {len(self.known):,} rows): {NEED_CLASSES} "
            "are of the other rows, retrieval is of all and of both kinds."
        )


def new_classes(target: Tensor | None, classes: int) -> NewClasses | None:
    """Return which samples are of new classes; None where none is.

    Args:
        target: Class numbers of the samples; those of new classes come after the others.
        classes: Number of the training data's classes.
    """
    if target is None or not bool((target >= classes).any()):
        return None
    present = torch.unique(target)
    return NewClasses(target < classes, len(present), int((present >= classes).sum()))
