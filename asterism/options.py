"""What is known of an option, beside the field of the dataclass that holds it: nowhere else."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, field, fields
from enum import Enum
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

Plain = None | bool | int | float | str | list[Any] | dict[str, Any]
Verb = Literal["distill", "train", "doctor"]
EVERY_VERB: tuple[Verb, ...] = ("distill", "train", "doctor")
TRAINING: tuple[Verb, ...] = ("distill", "train")
OF_TEACHER: tuple[Verb, ...] = ("distill", "doctor")


class Role(Enum):
    """What an option means to a run that goes on, to a grid and to a comparison.

    Attributes:
        CONTENT: Names something whose contents are fingerprinted and compared: data, a teacher.
        EXPERIMENT: Part of the experiment: refused when changed on `--resume`, and a column where
            runs are compared.
        REPEAT: May differ between the rows of one setting: the seed.
        HARMLESS: How to run, not what: may change on `--resume`, and makes no row of its own.
        CALL: Of this call alone; no run keeps it.
    """

    CONTENT = "content"
    EXPERIMENT = "experiment"
    REPEAT = "repeat"
    HARMLESS = "harmless"
    CALL = "call"


# What makes a run another experiment when it goes on.
DECISIVE = frozenset({Role.CONTENT, Role.EXPERIMENT, Role.REPEAT})


# What a number may be.
AT_LEAST_ONE = {"at least": 1}
NOT_NEGATIVE = {"at least": 0}
POSITIVE = {"above": 0}


def option(
    default: Any,
    role: Role = Role.EXPERIMENT,
    *,
    bounds: Mapping[str, float] | None = None,
    verbs: tuple[Verb, ...] = EVERY_VERB,
    filled_in: bool = False,
    is_name: bool = False,
    grid: bool = True,
    bare: Any = None,
) -> Any:
    """Return a field of a request or of the settings, with all that is known of the option.

    Args:
        default: Its default.
        role: What it means to a run that goes on, to a grid and to a comparison.
        bounds: What a number may be, by `at least`, `above`, `at most` and `below`.
        verbs: The verbs that have it.
        filled_in: Whether a run fills it in from models and data where it was left open.
        is_name: Whether it names something (a path, a model, data) that in Python may also be an
            object; a run keeps it as text.
        grid: Whether a grid may set it; of the others it has its own way.
        bare: What it means to type it without a value; by default that is a mistake.
    """
    metadata = {
        "role": role,
        "bounds": bounds or {},
        "verbs": verbs,
        "filled_in": filled_in,
        "is_name": is_name,
        "grid": grid,
        "bare": bare,
    }
    return field(default=default, metadata=metadata)


def options_of(*kinds: type, verb: Verb | None = None) -> Iterator["Field[Any]"]:
    """Yield the options among the fields of some dataclasses; of all verbs, or of one."""
    for kind in kinds:
        for each in fields(kind):
            if "role" in each.metadata and (verb is None or verb in each.metadata["verbs"]):
                yield each


def names_with(*kinds: type, roles: frozenset[Role]) -> frozenset[str]:
    """Return the names of the options that have one of some roles."""
    return frozenset(each.name for each in options_of(*kinds) if each.metadata["role"] in roles)


def refuse_out_of_bounds(instance: Any) -> None:
    """Raise a ValueError if a number lies outside what the option's field allows."""
    for each in options_of(type(instance)):
        value = getattr(instance, each.name)
        if not within_bounds(value, each):
            must = " and ".join(
                f"{word} {bound}" for word, bound in each.metadata["bounds"].items()
            )
            raise ValueError(f"{each.name} must be {must}; got {value}.")


def fits(value: Plain, declared: Any) -> bool:
    """Return whether a plain value is of the type that an option declares."""
    origin, inner = get_origin(declared), get_args(declared)
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if declared is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return declared is Any or isinstance(value, declared)


def within_bounds(value: Plain, option: "Field[Any]") -> bool:
    """Return whether a number lies within what the option's field allows."""
    if not isinstance(value, int | float):
        return True
    lies = {
        "at least": lambda bound: value >= bound,
        "above": lambda bound: value > bound,
        "at most": lambda bound: value <= bound,
        "below": lambda bound: value < bound,
    }
    return all(lies[word](bound) for word, bound in option.metadata["bounds"].items())


def help_of(kind: type) -> dict[str, str]:
    """Return what a dataclass's docstring says of each of its attributes, on one line each."""
    body = (kind.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", body, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def differing(
    before: Mapping[str, Plain], after: Mapping[str, Plain], names: frozenset[str]
) -> list[str]:
    """Return which of some options two plain requests have different values of."""
    return sorted(
        name for name in names & before.keys() & after.keys() if before[name] != after[name]
    )
