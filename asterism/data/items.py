"""The items of a user's Dataset and what stands beside them: labels, names of classes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from asterism.data.values import scalar
from asterism.words import readable

# So many items are looked at: the first ones, or some spread over all.
FIRST = 16


def labels_of(dataset: Any) -> tuple[Any, dict[int, str], tuple[str, ...]]:
    """Return the labels of a dataset's items, the items that cannot be had, and a note.

    Its attribute `targets` saves fetching all items; where it differs from some of them, the items
    are believed.
    """
    known = _attribute(dataset, "targets")
    note: tuple[str, ...] = ()
    if known is not None:
        if _agree(dataset, known):
            return known, {}, ()
        note = ("the dataset's `targets` differ from its items, which are believed",)
    items, unusable = all_items(dataset)
    return [item[1] if item is not None else None for item in items], unusable, note


def names_of(dataset: Any) -> tuple[Any, tuple[str, ...]]:
    """Return the names of the classes that a dataset gives, and a note if it gives something else.

    A number is how many there are, as some datasets have it.
    """
    names = _attribute(dataset, "classes")
    if names is None or (isinstance(names, Sequence | np.ndarray) and not isinstance(names, str)):
        return names, ()
    return None, (f"`classes` of the dataset is no list of names: {readable(repr(names))}",)


def _attribute(dataset: Any, name: str) -> Any:
    """Return an attribute of a dataset, of a Subset that of its rows."""
    if not isinstance(dataset, Subset):
        return getattr(dataset, name, None)
    known = _attribute(dataset.dataset, name)
    if known is None or name != "targets":
        return known
    try:
        return [known[row] for row in dataset.indices]
    except (IndexError, KeyError, TypeError):
        return None


def _agree(dataset: Any, known: Any) -> bool:
    """Return whether labels beside a dataset are those of some of its items."""
    try:
        if len(known) != len(dataset):
            return False
        listed = known.tolist() if hasattr(known, "tolist") else known
        rows = spread(len(dataset))
        pairs = [(scalar(listed[row]), _label_at(dataset, row)) for row in rows]
    except (KeyError, TypeError, ValueError):
        return False
    return all(there is Ellipsis or here == there for here, there in pairs)


def _label_at(dataset: Any, row: int) -> Any:
    """Return the label of an item; an ellipsis if the item cannot be had."""
    try:
        item = dataset[row]
    except Exception:  # said when the item is needed
        return Ellipsis
    return scalar(item[1])


def all_items(dataset: Any) -> tuple[list[Any], dict[int, str]]:
    """Return all items, None for those that cannot be had, which are named with the reason."""
    items: list[Any] = []
    unusable: dict[int, str] = {}
    for row in range(len(dataset)):
        try:
            items.append(dataset[row])
        except Exception as error:
            items.append(None)
            unusable[row] = f"unreadable: {type(error).__name__}: {readable(error)}"
    return items, unusable


def first_item(dataset: Any) -> Any:
    """Return the first item that can be had: of the first ones a text, if there is one.

    Raises:
        ValueError: If none of the first can.
    """
    reason = ""
    items = []
    for row in range(min(FIRST, len(dataset))):
        try:
            items.append(dataset[row])
        except Exception as error:
            reason = reason or cannot(row, error)
            continue
        if not isinstance(_sample(items[-1]), str | int | float | None):
            break  # an image, an array, or what is neither
    items = [item for item in items if _present(item)]
    if not items:
        raise ValueError(
            f"none of the first items of the dataset can be had; {reason or 'they are empty'}."
        )
    return next((item for item in items if isinstance(_sample(item), str)), items[0])


def _sample(item: Any) -> Any:
    return item[0] if labelled(item) else item


def _present(item: Any) -> bool:
    value = _sample(item)
    return not (value is None or (isinstance(value, float) and math.isnan(value)))


def labelled(item: Any) -> bool:
    """Return whether an item is a sample with a label."""
    return isinstance(item, tuple | list) and len(item) > 1


def cannot(row: int, error: Exception) -> str:
    """Return that an item cannot be had, with the reason."""
    return f"item {row} ({type(error).__name__}: {readable(error, 200)})"


def spread(rows: int) -> list[int]:
    """Return some rows, spread over all."""
    return torch.linspace(0, rows - 1, min(FIRST, rows)).long().tolist()
