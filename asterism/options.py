"""What is known of an option, beside the field of the dataclass that holds it: nowhere else."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, field, fields
from enum import Enum
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union, get_args, get_origin

if TYPE_CHECKING:
    from typing import Unpack

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


class Group(Enum):
    """Under which heading the help of a verb shows an option."""

    WHAT = "what"
    RUN = "run folder"
    DATA = "data"
    TRAINING = "training"
    VIEWS = "views of images"
    RELATIONS = "relations"
    MACHINE = "machine"
    RECORDS = "figures and checkpoints"


# What makes a run another experiment when it goes on.
DECISIVE = frozenset({Role.CONTENT, Role.EXPERIMENT, Role.REPEAT})


# What a number may be.
AT_LEAST_ONE = {"at least": 1}
NOT_NEGATIVE = {"at least": 0}
POSITIVE = {"above": 0}


class Known(TypedDict, total=False):
    """What is known of an option.

    Attributes:
        bounds: What a number may be, by `at least`, `above`, `at most` and `below`.
        verbs: The verbs that it means something to; by default all.
        filled_in: Whether a run fills it in from models and data where it was left open.
        is_name: Whether it names something (a path, a model, data) that in Python may also be an
            object; a run keeps it as text.
        grid: Whether a grid may set it (by default); of the others it has its own way.
        bare: What it means to type it without a value; by default that is a mistake.
        group: Under which heading the help shows it.
        usual: Whether the short help shows it; `--help all` shows every option.
    """

    bounds: Mapping[str, float]
    verbs: tuple[Verb, ...]
    filled_in: bool
    is_name: bool
    grid: bool
    bare: Any
    group: Group
    usual: bool


UNSAID = Known(
    bounds={}, verbs=EVERY_VERB, filled_in=False, is_name=False, grid=True, bare=None,
    group=Group.TRAINING, usual=False,
)  # fmt: skip


def option(default: Any, role: Role = Role.EXPERIMENT, **known: "Unpack[Known]") -> Any:
    """Return a field of a request or of the settings, with all that is known of the option.

    Args:
        default: Its default.
        role: What it means to a run that goes on, to a grid and to a comparison.
        **known: What else is known of it.
    """
    return field(default=default, metadata={"role": role, **UNSAID, **known})


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
    """Raise a ValueError for a value that an option's field does not allow: a number, or a word."""
    for each in options_of(type(instance)):
        value = getattr(instance, each.name)
        words = _words(each.type)
        if words and value is not None and value not in words:
            raise ValueError(f"{each.name} must be one of {', '.join(words)}; got {value!r}.")
        if not within_bounds(value, each):
            must = " and ".join(
                f"{word} {bound}" for word, bound in each.metadata["bounds"].items()
            )
            raise ValueError(f"{each.name} must be {must}; got {value}.")


def _words(declared: Any) -> tuple[str, ...]:
    """Return the words that a declared type allows; none for one that is no choice of words."""
    if get_origin(declared) is Literal:
        return get_args(declared)
    several = get_origin(declared) in (Union, UnionType)
    return tuple(word for each in get_args(declared) for word in _words(each)) if several else ()


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


def are_methods(described: Any) -> bool:
    """Return whether a value is what a run keeps of methods: no class within another."""
    if described is None:
        return True
    if not isinstance(described, list) or not all(isinstance(each, dict) for each in described):
        return False
    arguments = [each.get("init_args") or {} for each in described]
    return (
        all(isinstance(each.get("class_path"), str) for each in described)
        and all(isinstance(each, dict) for each in arguments)
        and not any(isinstance(value, dict) for each in arguments for value in each.values())
    )


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
    return said_of(kind.__doc__, "Attributes")


def said_of(doc: str | None, heading: str) -> dict[str, str]:
    """Return what a docstring says under a heading (`Args`, `Attributes`), on one line each."""
    body = inspect.cleandoc(doc or "").partition(f"{heading}:\n")[2]
    entries = re.findall(
        r"^ {4}\**(\w+): (.*(?:\n {8}.*)*)", re.split(r"\n(?=\S)", body)[0], re.MULTILINE
    )
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}


def differing(
    before: Mapping[str, Plain], after: Mapping[str, Plain], names: frozenset[str]
) -> list[str]:
    """Return which of some options two plain requests have different values of."""
    return sorted(
        name for name in names & before.keys() & after.keys() if before[name] != after[name]
    )
