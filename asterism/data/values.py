"""What a written value becomes: one reading of labels, ids and texts for every kind of data.

The table is in docs/data.md. A value's declared type decides; of text, as CSV has it alone, what is
written decides, for all labels of a source together: numbers only if all are.
"""

import math
import re
import unicodedata
from collections.abc import Container, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import torch
from torch import Tensor

from asterism.words import readable

# More classes than this, without names, are taken for identifiers that nobody numbered.
MOST_CLASSES = 1_000_000
NO_LABEL = "no label"
# By convention of scikit-learn and of Hugging Face's datasets.
UNLABELLED = -1

_NUMERAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
# How tools write a missing number; beside names these are names.
_MISSING = {"nan", "null", "none", "na", "n/a", "<na>"}
_SURROGATES = re.compile("[\ud800-\udfff]")

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Labels:
    """The labels of a source.

    Attributes:
        targets: Class numbers, shape `(n,)`; 0 for rows without one.
        names: Names of the classes by number.
        missing: The rows without a label, with the reason.
    """

    targets: Tensor
    names: tuple[str, ...]
    missing: dict[int, str]


def scalar(value: Any) -> Scalar:
    """Return a value as Python's own number, text or None for what is missing.

    numpy's and torch's scalars become what they hold, bytes become text, and NaN, NaT and pandas'
    NA become None.

    Raises:
        ValueError: If it is something else, as a list, or bytes that are no UTF-8.
    """
    if isinstance(value, np.ndarray | np.generic | Tensor) and value.ndim == 0:
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, bytes):
        value = value.decode()  # UnicodeDecodeError is a ValueError
    if isinstance(value, Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, UUID):
        value = str(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    if not isinstance(value, bool | int | float | str):
        raise ValueError(f"{readable(repr(value))} is of type {type(value).__name__}")
    return value


def read_labels(
    values: Any,
    rows: int,
    names: Sequence[Any] | None = None,
    *,
    place: str = "the data",
    skipped: Container[int] = (),
) -> Labels:
    """Return the labels of a source as class numbers and names.

    Args:
        values: A label for each row: numbers or names.
        rows: How many rows there are.
        names: Names of the classes by number, where they are declared.
        place: Where the labels are from, for messages.
        skipped: Rows that cannot be used, whatever their label.

    Raises:
        ValueError: If there is not one for each row, or one is no label.
    """
    names = None if names is None else class_names(names, place)
    listed = _one_each(values, rows, place)
    kept: dict[int, int | float | str] = {}
    missing: dict[int, str] = {}
    for row, value in enumerate(listed):
        if row in skipped:
            continue
        try:
            label = scalar(value)
        except ValueError as error:
            raise _no_label(place, row, str(error)) from error
        label = name_of(label) if isinstance(label, str) else label
        if label is None or label == "":
            missing[row] = NO_LABEL
        else:
            kept[row] = label
    numbers = _as_numbers(kept, names, place)
    if numbers is None:
        typed = {row: int(x) for row, x in kept.items() if names and not isinstance(x, str)}
        _refuse_out_of_range(typed, names, place)
        by_row = {row: _written(x) for row, x in kept.items() if row not in typed}
        names = names or tuple(sorted(set(by_row.values())))
        numbers = typed | _by_name(by_row, names, place)
    unlabelled = [row for row, number in numbers.items() if number == UNLABELLED]
    for row in unlabelled:
        absent = str(kept[row]).casefold() in _MISSING
        missing[row] = NO_LABEL if absent else f"{NO_LABEL} (-1)"
        del numbers[row]
    targets = torch.zeros(rows, dtype=torch.int64)
    if numbers:
        targets[list(numbers)] = torch.tensor(list(numbers.values()))
    most = max(numbers.values(), default=-1)
    return Labels(targets, names or tuple(map(str, range(most + 1))), missing)


def class_names(names: Any, place: str) -> tuple[str, ...]:
    """Return declared names of classes, each once.

    Raises:
        ValueError: If they are no list of names, or a name comes twice.
    """
    listed = names.tolist() if isinstance(names, np.ndarray) else names
    if not isinstance(listed, Sequence) or isinstance(listed, str | bytes) or not listed:
        raise ValueError(
            f"the names of the classes in {place} must be a list of texts, one for each class "
            f"number; got {readable(repr(listed))}."
        )
    read = tuple(name_of(str(scalar(name))) for name in listed)
    if len(set(read)) < len(read):
        twice = next(name for i, name in enumerate(read) if name in read[:i])
        raise ValueError(
            f"the names of the classes in {place} must differ; {readable(twice)!r} comes twice."
        )
    return read


def name_of(text: str) -> str:
    """Return the name of a class or a sample: without blanks around it, in composed characters."""
    return unicodedata.normalize("NFC", text).strip()


def read_ids(
    values: Any, rows: int, *, place: str = "the data"
) -> tuple[list[str], dict[int, str]]:
    """Return a name for each row, and the rows that have none of their own, with the reason.

    Raises:
        ValueError: If there is not one for each row, one is no name, or most rows share theirs.
    """
    ids: list[str] = []
    missing: dict[int, str] = {}
    first: dict[str, int] = {}
    for row, value in enumerate(_one_each(values, rows, place, "ids", "id")):
        name = id_of(value, place, row)
        if not name:
            missing[row] = "no id"
        elif first.setdefault(name, row) != row:
            missing[row] = "an id that an earlier row has"
        ids.append(name or f"row {row + 1}")
    if first and len(first) < rows / 2 and len(missing) > rows / 2:
        raise ValueError(
            f"the ids in {place} must name one row each; {rows} rows have {len(first)} different "
            "ones: name another column (?id=COLUMN), or rename this one."
        )
    return ids, missing


def id_of(value: Any, place: str, row: int) -> str:
    """Return the name of a row; empty if it has none.

    Raises:
        ValueError: If it is no name.
    """
    if isinstance(value, bytes) and len(value) == 16 and not _is_text(value):
        value = UUID(bytes=value)  # as Parquet keeps them
    try:
        name = scalar(value)
    except ValueError as error:
        raise ValueError(
            f"ids must be texts or whole numbers; row {row + 1} of {place}: {error}."
        ) from error
    if isinstance(name, float) and name.is_integer():
        name = int(name)
    return "" if name is None else name_of(str(name))


def read_texts(values: Sequence[Any]) -> tuple[list[str], dict[int, str]]:
    """Return the texts as they are, and the rows that have none, with the reason."""
    texts: list[str] = []
    missing: dict[int, str] = {}
    for row, value in enumerate(values):
        try:
            text = scalar(value)
        except ValueError:
            text = False  # of a type that is no text either
        if text is None or (isinstance(text, str) and not text.strip()):
            missing[row] = "no text"
        elif not isinstance(text, str):
            missing[row] = f"no text, but a value of type {type(value).__name__}"
        elif not text.isascii() and _SURROGATES.search(text):
            missing[row] = "no valid text: it holds half of a character"
        texts.append(text if isinstance(text, str) and row not in missing else "")
    return texts, missing


def _flatter(shape: tuple[int, ...], rows: int) -> str:
    """Return the way out for a matrix with a row for each sample."""
    if len(shape) != 2 or shape[0] != rows:
        return ""
    way = "y[:, 0]" if shape[1] == 1 else "y.argmax(1), if they are one-hot"
    return f" Store {way}."


def _one_each(
    values: Any, rows: int, place: str, plural: str = "labels", one: str = "class number"
) -> list[Any]:
    """Return values as a list of one for each row."""
    if isinstance(values, Tensor):
        values = values.numpy(force=True)
    if not isinstance(values, np.ndarray):
        listed = list(values)
        shape: tuple[int, ...] = (len(listed),)
    else:
        shape = values.shape
        listed = values.tolist() if values.ndim else []
    if shape != (rows,):
        raise ValueError(
            f"{plural} must be one {one} per sample, shape ({rows},); {place} has shape {shape}."
            f"{_flatter(shape, rows)}"
        )
    return listed


def _as_numbers(
    labels: dict[int, int | float | str], names: tuple[str, ...] | None, place: str
) -> dict[int, int] | None:
    """Return the class number of each row; None if labels are names, which have no number yet."""
    texts = {label for label in labels.values() if isinstance(label, str)}
    typed = {row: label for row, label in labels.items() if not isinstance(label, str)}
    declared = set(names or ())
    read = {text: None if text in declared else _numeral(text) for text in texts}
    numbers: dict[int, int] = {}
    by_name = any(number is None for number in read.values())
    for row, label in (typed if by_name else labels).items():
        number = read[label] if isinstance(label, str) else label
        assert number is not None
        if math.isnan(number):
            number = UNLABELLED
        if not math.isfinite(number) or number != math.floor(number):
            raise _no_label(place, row, f"{label!r} is no whole number")
        numbers[row] = int(number)
    if by_name:
        return None
    _refuse_out_of_range(numbers, names, place)
    return numbers


def _written(label: int | float | str) -> str:
    """Return a label as the name that it is beside names."""
    return label if isinstance(label, str) else str(int(label))


def _numeral(text: str) -> float | None:
    """Return the number that a text writes; NaN for a missing one, None for a name."""
    if _NUMERAL.fullmatch(text) or text.casefold().strip("+-") in ("inf", "infinity"):
        return float(text)
    return math.nan if text.casefold() in _MISSING else None


def _refuse_out_of_range(
    numbers: dict[int, int], names: tuple[str, ...] | None, place: str
) -> None:
    most = MOST_CLASSES if names is None else len(names)
    for row, number in numbers.items():
        if number < UNLABELLED:
            raise _no_label(place, row, f"{number} is below 0 (-1 alone means no label)")
        if number >= most and names is not None:
            known = f"there are names of {most} classes"
            raise _no_label(place, row, f"{number} is above {most - 1}, and {known}")
        if number >= most:
            raise _no_label(place, row, f"{number} is no number of a class")


def _by_name(labels: dict[int, str], names: tuple[str, ...], place: str) -> dict[int, int]:
    number = {name: i for i, name in enumerate(names)}
    for row, label in labels.items():
        if label not in number:
            shown = ", ".join(map(readable, names[:3]))
            raise _no_label(place, row, f"{readable(label)!r} is not among its names ({shown}, …)")
    return {row: number[label] for row, label in labels.items()}


def _no_label(place: str, row: int, why: str) -> ValueError:
    return ValueError(
        "labels must be class numbers from 0 on, or names of classes; in row "
        f"{row + 1} of {place}, {why}. Number the classes, with np.unique(y, "
        "return_inverse=True), or, for data without labels, rename the column or name another one."
    )


def _is_text(value: bytes) -> bool:
    try:
        return value.decode().isprintable()
    except UnicodeDecodeError:
        return False
