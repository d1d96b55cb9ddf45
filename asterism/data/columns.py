"""The columns of a table that hold the sample, the label and the id."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asterism.data.source import MOST_CLASSES
from asterism.modality import ARRAY, IMAGE, TEXT, Modality
from asterism.names import meant, refuse_arguments

# Names that are looked for when none is given, in this order; texts before pictures.
SAMPLES: dict[str, Modality] = {each.name: each for each in (TEXT, IMAGE, ARRAY)}
USUAL: dict[str, tuple[str, ...]] = {
    **{name: modality.columns for name, modality in SAMPLES.items()},
    "label": ("label",),
    "id": ("id",),
}


@dataclass(frozen=True)
class Chosen:
    """The columns that are used.

    Attributes:
        samples: Name of the column with the samples.
        modality: What it holds.
        label: Name of the column with the classes; None for data without labels.
        id: Name of the column with the names of the samples, or None.
    """

    samples: str
    modality: Modality
    label: str | None
    id: str | None


def choose(columns: Sequence[str], named: dict[str, str], place: str) -> Chosen:
    """Return the columns to use: those that the user named, else those with a usual name.

    Raises:
        ValueError: If a named column is not there, or none has a usual name.
    """
    listed = f"{place} has the columns {', '.join(columns)}"
    for role, column in named.items():
        refuse_arguments(place, [role], USUAL)
        if column not in columns:
            near = meant(column, columns)
            raise ValueError(f"{listed}; there is no {role} column {column!r}{near}.")
    asked = [name for name in SAMPLES if name in named]
    if len(asked) > 1:
        raise ValueError(f"{place}: name one column of samples, not {' and '.join(asked)}.")
    chosen = {
        role: named.get(role) or next((name for name in names if name in columns), None)
        for role, names in USUAL.items()
    }
    for name in asked or SAMPLES:
        if samples := chosen[name]:
            return Chosen(samples, SAMPLES[name], chosen["label"], chosen["id"])
    ways = " or ".join(f"?{name}=COLUMN" for name in SAMPLES)
    raise ValueError(f"{listed}: name the one to use, {ways}.")


def classes(
    labels: Sequence[Any], names: Sequence[str] | None, place: str, broken: dict[int, str]
) -> tuple[Tensor, Sequence[str] | None]:
    """Return the class number of each row and the names of the classes.

    Names in `names` are numbered in that order. Else whole numbers are class numbers, as they
    stand, and anything else is a class's name, numbered alphabetically.

    Args:
        labels: The column.
        names: Names of the classes in the order of their numbers, where they are known.
        place: Where the labels are from, for messages.
        broken: Rows that cannot be used; those without a label are added.

    Raises:
        ValueError: If a label is no class, or not one of the training data's.
    """
    for row, label in enumerate(labels):
        if label is None or label == "":
            broken.setdefault(row, "no label")
    kept = {row: label for row, label in enumerate(labels) if row not in broken}
    numbers = torch.zeros(len(labels), dtype=torch.int64)
    if not kept:
        return numbers, names
    if odd := [value for value in kept.values() if not isinstance(value, int | str)]:
        raise ValueError(
            f"labels must be class numbers or names; {place} has {odd[0]!r}. For data without "
            "labels, rename the column or name another one."
        )
    present = {str(label) for label in kept.values()}
    unknown = sorted(present - set(names or ()))
    if unknown and all(label.isdecimal() for label in present):
        number = {label: int(label) for label in present}
        if (most := max(number.values())) >= MOST_CLASSES:
            raise ValueError(
                f"labels must be class numbers from 0 on, or names; {place} has {most}: number the "
                "classes, with np.unique(y, return_inverse=True)."
            )
    elif unknown and names is not None:
        raise ValueError(f"{place} has the class {unknown[0]!r}, which the training data lack.")
    else:
        names = list(names or unknown)
        number = {name: i for i, name in enumerate(names)}
    numbers[list(kept)] = torch.tensor([number[str(label)] for label in kept.values()])
    return numbers, names
