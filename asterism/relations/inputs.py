"""Checks of the inputs of relational losses, and the precision that they run in."""

import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, get_args

import torch
from torch import Tensor, nn

P = ParamSpec("P")


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Run `loss` in float32 or better, whatever comes in, with autocast off.

    Relations subtract nearly equal numbers and divide by small ones: in half precision that
    overflows, rounds the floors of divisions to zero and ends in NaN. All floating-point tensors
    and matrices of integers are brought to one type, the widest floating-point one among them and
    float32, so float64 stays float64.
    """

    @functools.wraps(loss)
    def in_full_precision(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        given = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
        arrays = [x for x in kwargs.values() if isinstance(x, list) or getattr(x, "ndim", False)]
        wrong = [type(x).__name__ for x in (*args, *arrays) if not isinstance(x, Tensor)]
        if wrong or not given:
            raise TypeError(
                f"{loss.__name__} takes tensors, of an array torch.as_tensor(…); got "
                f"{wrong[0] if wrong else 'none'}."
            )
        _refuse_complex(loss.__name__, *given)
        floats = [x.dtype for x in given if x.is_floating_point()]
        dtype = functools.reduce(torch.promote_types, floats, torch.float32)

        def promote(value: object) -> object:
            if not isinstance(value, Tensor) or value.dtype == torch.bool:
                return value
            return value.to(dtype) if value.is_floating_point() or value.ndim == 2 else value

        with torch.autocast(given[0].device.type, enabled=False):
            return loss(*map(promote, args), **{k: promote(v) for k, v in kwargs.items()})  # type: ignore[arg-type]

    return in_full_precision


def _refuse_complex(name: str, *tensors: Tensor) -> None:
    if any(x.is_complex() for x in tensors):
        raise TypeError(
            f"{name} takes real numbers; got complex ones: give their real and imaginary parts as "
            "columns, torch.view_as_real(rows).flatten(1)."
        )


def check_rows(loss: str, student: Tensor, teacher: Tensor, *, same_width: bool = False) -> None:
    """Raise a ValueError unless both batches are matrices with a row for each sample.

    Args:
        loss: Name of the function that asks, for the message.
        student: Rows of the student.
        teacher: Rows of the teacher.
        same_width: Also ask for equally wide rows, as losses on logits do.
    """
    matrices = student.ndim == 2 and teacher.ndim == 2
    if matrices and len(student) == len(teacher):
        if not same_width or student.shape[1] == teacher.shape[1]:
            return
    width = ", equally wide" if same_width else ""
    raise ValueError(
        f"{loss} compares the same samples in both networks: it needs one row per sample from the "
        f"student and from the teacher{width}; got {tuple(student.shape)} and "
        f"{tuple(teacher.shape)}."
    )


def split_views(
    method: str, logits: Tensor | None, views: int, *, samples: int | None = None
) -> Tensor:
    """Return the rows of several views, one view after the other, as a tensor `(views, n, c)`.

    Args:
        method: Name of the method that asks, for the messages.
        logits: Logits of all views; None for a network without a classifier.
        views: Number of views.
        samples: How many samples there are, where it is known: the length of `batch.index`.

    Raises:
        ValueError: If there are no logits, the views differ in length, or the rows are not those
            of so many views of the samples: a batch of one view must not be taken for two halves.
    """
    if logits is None:
        raise ValueError(f"{method} compares logits: both networks need a classifier, or use RKD.")
    if len(logits) % views:
        raise ValueError(
            f"{method} takes the rows of {views} views, one view after the other: {len(logits)} "
            f"rows cannot be divided into {views} views of the same samples."
        )
    if samples is not None and len(logits) != views * samples:
        raise ValueError(
            f"{method} takes the rows of {views} views, one view after the other, and an index of "
            f"each sample once: {samples} samples have {views * samples} rows; got {len(logits)}."
        )
    return logits.reshape(views, len(logits) // views, *logits.shape[1:])


def connected_zero(student: Tensor) -> Tensor:
    """Return a zero that is part of the graph of `student`, for batches without any relation."""
    return student[:0].sum()


def project(head: nn.Module, rows: Tensor) -> Tensor:
    """Apply a method's head in the head's own precision, with autocast off."""
    _refuse_complex("a head", rows)
    with torch.autocast(rows.device.type, enabled=False):
        projected: Tensor = head(rows.to(next(head.parameters()).dtype))
        return projected


def check_temperature(loss: str, temperature: float) -> None:
    """Raise a ValueError unless a temperature is positive and finite.

    Args:
        loss: Name of the function or method that asks, for the message.
        temperature: What was given.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"{loss} needs a positive temperature; got {temperature}.")


def check_finite(name: str, **weights: float) -> None:
    """Raise a ValueError unless all weights are finite numbers.

    Args:
        name: Name of the function or method that asks, for the message.
        weights: The weights by their names.
    """
    for argument, weight in weights.items():
        if not math.isfinite(weight):
            raise ValueError(f"{name} needs a finite {argument}; got {weight}.")


def check_target(loss: str, target: Tensor, n: int) -> None:
    """Raise a ValueError unless there is a whole number for each sample.

    Args:
        loss: Name of the function that asks, for the message.
        target: The class numbers.
        n: How many samples there are.
    """
    if target.shape != (n,):
        raise ValueError(
            f"{loss} needs the true class of each of {n} samples; got {tuple(target.shape)}."
        )
    if target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(
            f"{loss} needs class numbers, as whole numbers, target.long(); got {target.dtype}."
        )


def check_choice(argument: str, value: str, choices: Any) -> None:
    """Raise a ValueError unless `value` is one of the strings of a `Literal` type.

    Args:
        argument: Name of the argument, for the message.
        value: What was given for it.
        choices: The type.
    """
    if value not in get_args(choices):
        raise ValueError(
            f"unknown {argument} {value!r}: choose from {', '.join(get_args(choices))}."
        )


def check_views(loss: str, *views: Tensor) -> None:
    """Raise a ValueError unless all views are logits of the same samples for the same classes.

    Args:
        loss: Name of the function that asks, for the message.
        views: Logits of both networks for each view.
    """
    if len({view.shape for view in views}) > 1 or views[0].ndim != 2:
        shapes = ", ".join(str(tuple(view.shape)) for view in views)
        raise ValueError(
            f"{loss} compares the logits (n, c) of the same samples and classes in all views of "
            f"student and teacher; got {shapes}. For networks with different classes use a method "
            "on embeddings, such as RKD or RRD."
        )
