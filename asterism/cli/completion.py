"""`asterism completion`."""

import argparse
import importlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args, get_origin

from asterism import methods
from asterism.cli import VERBS
from asterism.cli.parser import Parser, dashed
from asterism.models import BUILT_IN
from asterism.models.hub import load_library

SHELLS = ("bash", "zsh", "tcsh")
# Words that stand where a type says only that it is a name.
NAMES = {"method": methods.__all__, "model": BUILT_IN, "student": BUILT_IN, "teacher": ()}


def run(arguments: Sequence[str]) -> None:
    """Print what makes a shell complete verbs, options and their values."""
    parser = Parser(prog="asterism completion")
    parser.add_argument(
        "shell",
        type=Literal[SHELLS],
        help='Whose: eval "$(asterism completion bash)" in its start file.',
    )
    print(script(parser.parse_args(list(arguments)).shell))


def script(shell: str) -> str:
    """Return the completion script for a shell.

    Raises:
        ValueError: If shtab, which writes it, is not installed.
    """
    shtab = load_library("shtab", "completion")
    whole = argparse.ArgumentParser("asterism", add_help=False)
    verbs = whole.add_subparsers()
    for verb, what in VERBS.items():
        own = verbs.add_parser(verb, help=what, description=what, add_help=False)
        for action in _actions(verb):
            _add(own, action, shtab.FILE)
    return str(shtab.complete(whole, shell))


def _actions(verb: str) -> Iterator[argparse.Action]:
    """Return what a verb takes, of the parsers that its help would show."""
    found: list[Parser] = []
    Parser.instead = found.append
    try:
        if verb != "help":
            with suppress(SystemExit):
                importlib.import_module(f"asterism.cli.{verb}").run(["--help"])
    finally:
        Parser.instead = None
    for parser in found:
        for action in parser._actions:
            if action.help != argparse.SUPPRESS and not action.dest.endswith("help"):
                yield action


def _add(own: argparse.ArgumentParser, action: argparse.Action, file: Any) -> None:
    """Give an argparse parser one of jsonargparse's options, with what it may be."""
    words = _words(getattr(action, "_typehint", None)) or NAMES.get(action.dest, ())
    options: dict[str, Any] = {"help": (action.help or "").partition(". ")[0].replace("%", "%%")}
    named = [dashed(each.lstrip("-")) for each in action.option_strings]
    switch = action.nargs == 0 or any(each.startswith("--no-") for each in named)
    if switch:
        options["action"] = "store_true"
    elif words:
        options["choices"] = list(words)
    if not named:
        options["nargs"] = "*"
    made = own.add_argument(*named or [action.dest], **options)
    if not switch and not words:
        made.complete = file  # type: ignore[attr-defined]


def _words(kind: Any) -> list[str]:
    """Return the words that a type allows."""
    if get_origin(kind) is Literal:
        return [str(each) for each in get_args(kind) if each is not None]
    return [word for part in get_args(kind) for word in _words(part)]
