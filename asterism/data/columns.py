"""The columns of a table that hold the sample, the label and the id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asterism.data.values import name_of
from asterism.modality import ARRAY, IMAGE, TEXT, Modality
from asterism.names import meant, refuse_arguments
from asterism.words import listing, readable

# Names that are looked for when none is given, in this order; texts before pictures.
SAMPLES: dict[str, Modality] = {each.name: each for each in (TEXT, IMAGE, ARRAY)}
USUAL: dict[str, tuple[str, ...]] = {
    **{name: modality.columns for name, modality in SAMPLES.items()},
    "label": ("label",),
    "id": ("id",),
}
# Names that may mean the same, and are never taken unasked; a reader is told.
NEAR: dict[str, tuple[str, ...]] = {
    "label": (
        "labels", "class", "classes", "class_name", "class_id", "category", "categories", "target",
        "targets", "y", "intent", "topic", "coarse_label", "fine_label", "label_id", "label_text",
    ),
    "id": ("ids", "_id", "uid", "uuid", "guid", "key", "doc_id", "row_id", "sample_id"),
}  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """The columns that are used.

    Attributes:
        samples: Name of the column with the samples.
        modality: What it holds.
        label: Name of the column with the classes; None for data without labels.
        id: Name of the column with the names of the samples, or None.
        notes: In words, what is used, and which columns may have been meant and are not.
    """

    samples: str
    modality: Modality
    label: str | None
    id: str | None
    notes: tuple[str, ...] = ()


def headed(columns: Sequence[Any], place: str) -> list[str]:
    """Return the names of columns without blanks around them, each of which is there once.

    Raises:
        ValueError: If two columns have one name.
    """
    names = [name_of(str(column)) for column in columns]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise ValueError(
            f"{place} has several columns {readable(twice[0])!r}: rename all but the one that is "
            "meant."
        )
    return names


def choose(columns: Sequence[str], named: Mapping[str, str], place: str) -> Chosen:
    """Return the columns to use: those that the user named, else those with a usual name.

    A usual name counts in capitals, too.

    Raises:
        ValueError: If a named column is not there, or none has a usual name.
    """
    listed = f"{place} has the columns {', '.join(map(readable, columns))}"
    named = {role: name_of(column) for role, column in named.items()}
    for role, column in named.items():
        refuse_arguments(place, [role], USUAL)
        if column not in columns:
            near = meant(column, columns)
            raise ValueError(f"{listed}; there is no {role} column {column!r}{near}.")
    asked = [name for name in SAMPLES if name in named]
    if len(asked) > 1:
        raise ValueError(f"{place}: name one column of samples, not {' and '.join(asked)}.")
    chosen = {role: named.get(role) or _usual(columns, names) for role, names in USUAL.items()}
    for name in asked or SAMPLES:
        if samples := chosen[name]:
            label, key = chosen["label"], chosen["id"]
            notes = _notes(columns, {name: samples, "label": label, "id": key})
            return Chosen(samples, SAMPLES[name], label, key, notes)
    apart = next((mark for mark in ";|\t" if mark in columns[0]), None)
    if len(columns) == 1 and apart:
        raise ValueError(
            f"{listed}, which looks like several: cells are apart by commas in a .csv file and by "
            f"tabs in a .tsv file, and not by {apart!r}."
        )
    ways = " or ".join(f"?{name}=COLUMN" for name in SAMPLES)
    raise ValueError(f"{listed}: name the one to use, {ways}.")


def _usual(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the first column with a usual name, in small letters before capitals."""
    exact = next((name for name in names if name in columns), None)
    folded = (c for name in names for c in columns if c.casefold() == name)
    return exact or next(folded, None)


def _notes(columns: Sequence[str], taken: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return in words which columns are used, and which may have been meant and are not."""
    used = [f"{role} {readable(column)!r}" for role, column in taken.items() if column]
    notes = [f"columns: {listing(used)}"]
    for role, names in NEAR.items():
        near = [c for c in columns if c.casefold() in names and c not in taken.values()]
        if near and taken[role] is None:
            shown = listing([repr(readable(c)) for c in near])
            notes.append(f"not taken as {role}: {shown} (?{role}={readable(near[0])} takes it)")
    return tuple(notes)
