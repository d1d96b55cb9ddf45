"""What is printed of verbs, options and names: each with what it means, in columns."""

import argparse
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

# How far names reach, and the widest line.
REACH, WIDEST = 26, 100
# What stands for a value, by the name of an option's type.
VALUES = {"int": "N", "float": "X", "bool": "true|false"}


def paragraph(text: str) -> str:
    """Return a text on as many lines as it takes."""
    return "\n".join(textwrap.wrap(text, _width(), break_on_hyphens=False))


def _width() -> int:
    return max(60, min(shutil.get_terminal_size().columns, WIDEST))


def entry(name: str, what: str, *, reach: int = REACH) -> str:
    """Return a name and beside it what it is, on as many lines as that takes."""
    lines = textwrap.wrap(what, _width() - reach, break_on_hyphens=False) or [""]
    first = f"  {name}" if len(name) > reach - 4 else f"  {name:<{reach - 2}}{lines.pop(0)}"
    return "\n".join([first, *(f"{'':{reach}}{line}" for line in lines)]).rstrip()


def page(
    prog: str,
    what: str,
    actions: Iterable[argparse.Action],
    *,
    rare: frozenset[str] = frozenset(),
    required: Iterable[argparse.Action] = (),
    more: str = "",
) -> str:
    """Return the help of a verb.

    Args:
        prog: The command.
        what: What it is for.
        actions: Its options, as argparse knows them.
        rare: Options that are left out, for whoever does not ask for all.
        required: Options that must be given.
        more: What is said at the end.
    """
    shown = [a for a in actions if a.help not in (None, argparse.SUPPRESS) and a.dest not in rare]
    places = [a for a in shown if not a.option_strings]
    # Places come first: an option that takes several values would take them too.
    usage = [prog, *map(_named, places), *map(_named, required)]
    usage += ["[options]"] if len(shown) > len(places) else []
    parts = [f"usage: {' '.join(usage)}", what]
    groups: dict[str, list[str]] = {}
    # What belongs to no group comes last.
    for action in sorted(shown, key=lambda action: _title(action) == "options"):
        groups.setdefault(_title(action), []).append(
            entry(_named(action), f"{action.help}{_default(action)}")
        )
    parts += ["\n".join([title, *entries]) for title, entries in groups.items()]
    parts += [f"`{prog} --help all` shows every option."] if rare else []
    return "\n\n".join([*parts, *filter(None, [paragraph(more)])]) + "\n"


def value_of(kind: Any) -> str:
    """Return what stands for the value of an option of a type.

    Examples:
        >>> from typing import Literal
        >>> value_of(int | None), value_of(Literal["best", "last"]), value_of(tuple[str, ...])
        ('N', 'best|last', 'NAME,…')
    """
    shown = str(kind)
    if "Literal" in shown:
        return "|".join(shown.split("'")[1::2])
    name = getattr(kind, "__name__", shown.partition(" |")[0])
    return (
        ("NAME,…" if "str" in shown else "N,N,…")
        if name == "tuple"
        else VALUES.get(name, VALUES.get(shown.partition(" |")[0], "NAME"))
    )


def _title(action: argparse.Action) -> str:
    group = getattr(action, "container", None)
    return str(getattr(group, "title", "options")) if action.option_strings else "what"


def _named(action: argparse.Action) -> str:
    """Return an option as it is typed, and what it takes."""
    if not action.option_strings:
        name = action.dest.upper()
        return {"+": f"{name} …", "*": f"[{name} …]"}.get(str(action.nargs), name)
    if _is_switch(action):  # one that is on is typed to turn it off
        return ("--no-" if action.default else "--") + action.dest.replace("_", "-")
    value = action.metavar or value_of(getattr(action, "_typehint", str))
    more = " …" if action.nargs == "+" else ""
    return f"--{action.dest.replace('_', '-')} {value}{more}"


def _is_switch(action: argparse.Action) -> bool:
    return action.nargs == 0 or type(action).__name__ == "ActionYesNo"


def _default(action: argparse.Action) -> str:
    if _is_switch(action) or action.default in (None, "", (), argparse.SUPPRESS):
        return ""
    default = str(action.default)
    return f" (default {default.lower() if isinstance(action.default, bool) else default})"
