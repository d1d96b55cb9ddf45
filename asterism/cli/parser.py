"""The parser that all verbs share."""

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser, Namespace
from jsonargparse._actions import ActionConfigFile

from asterism import methods

# Paths and other names that arrive as strings; in Python they may also be objects.
STRINGS = (
    "teacher",
    "student",
    "model",
    "data",
    "validation_data",
    "test_data",
    "out",
    "teacher_cache",
)


class Parser(ArgumentParser):
    """Options with dashes, errors in one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as a ValueError, which the command line prints."""
        text = " ".join(re.sub(r"\s+", " ", message).split())
        unknown = re.search(
            r'(?:Expected a path but|import path|class path|")\s*"?([A-Za-z_]\w*)', text
        )
        if 'Parser key "method"' in text and unknown:
            raise ValueError(unknown_method(_method_in(text) or unknown[1]))
        raise ValueError(f"{text} (`{self.prog} --help` shows all options.)")

    def format_help(self, *arguments: Any, **options: Any) -> str:
        """Show options with dashes."""
        return re.sub(
            r"--[a-z_]+",
            lambda found: found[0].replace("_", "-"),
            super().format_help(*arguments, **options),
        )


def _method_in(text: str) -> str | None:
    found = re.search(r"[Gg]iven value: (\S+)|value (\S+)", text)
    return found and (found[1] or found[2])


def unknown_method(name: str) -> str:
    """Return what to say about a method that does not exist."""
    known = methods.__all__
    near = difflib.get_close_matches(name.upper(), [m.upper() for m in known], 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown method {name!r}: choose from {', '.join(known)}{hint}."


def parse(
    function: Callable[..., Any], arguments: Sequence[str], *, required: Sequence[str]
) -> dict[str, Any]:
    """Parse a verb's options from the signature and docstring of its function.

    Args:
        function: The function behind the verb.
        arguments: What the user typed.
        required: Options without which the verb cannot run.
    """
    verb = function.__name__
    parser = Parser(prog=f"asterism {verb}")
    parser.add_argument("--config", action=ActionConfigFile, help="A YAML file with options.")
    parser.add_argument("--provenance", type=dict, help=SUPPRESS)  # config.yaml of a run has it
    for name, text in _documented(function).items():
        if name in STRINGS:
            parser.add_argument(f"--{name}", type=str | None, help=text)
        elif name in ("resume", "overwrite"):
            parser.add_argument(f"--{name}", action="store_true", help=text)
    skip: set[str | int] = {*STRINGS, "resume", "overwrite"}
    parser.add_function_arguments(function, skip=skip, as_positional=False)
    typed = [a if not a.startswith("--") else _underscored(a) for a in arguments]
    parsed = parser.instantiate(parser.parse_args(typed))
    options = {k: v for k, v in vars(parsed).items() if k not in ("config", "provenance")}
    missing = [f"--{name}" for name in required if options.get(name) is None]
    if missing:
        raise ValueError(f"asterism {verb} needs {' and '.join(missing)}.")
    return {k: v for k, v in options.items() if not isinstance(v, Namespace)}


def _underscored(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value


def _documented(function: Callable[..., Any]) -> dict[str, str]:
    """Return the arguments of a function and what its docstring says of them."""
    body = (function.__doc__ or "").partition("Args:")[2].partition("Returns:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", body, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}
