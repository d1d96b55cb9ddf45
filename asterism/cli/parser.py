"""The parser that all verbs share."""

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn, get_type_hints

from jsonargparse import SUPPRESS, ActionYesNo, ArgumentParser, Namespace
from jsonargparse._actions import ActionConfigFile

from asterism import methods
from asterism.cli.mistakes import UsageError, choices
from asterism.documents import read_yaml
from asterism.methods.base import Method
from asterism.names import located
from asterism.options import Role, Verb, help_of, options_of
from asterism.request import CacheRequest, Request, typed_name
from asterism.settings import Settings

# What must be named, by verb.
REQUIRED: dict[Verb, tuple[str, ...]] = {
    "distill": ("teacher", "student", "data"),
    "train": ("model", "data"),
    "doctor": ("student", "data"),
}


class Parser(ArgumentParser):
    """Options with dashes, errors in one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError: a ValueError would be taken for one more type that does not fit."""
        raise UsageError(self._reworded(" ".join(message.split())))

    def format_help(self, *arguments: Any, **options: Any) -> str:
        """Show options with dashes."""
        shown = super().format_help(*arguments, **options)
        if "--method" in shown and self.prog == "asterism distill":
            shown += f"\nmethods (`{self.prog} --method.help NAME` shows all of one):\n"
            shown += "".join(f"  {line}\n" for line in method_lines())
        return re.sub(r"--[a-z_]+", lambda match: match[0].replace("_", "-"), shown)

    def _reworded(self, text: str) -> str:
        """Return jsonargparse's message as what must hold, what came, and the way out."""
        # A method's own options are checked by a parser within the verb's.
        within = "" if self.prog.startswith("asterism ") else "method."
        if match := re.search(r" - (--method[. ].*?\.) - Expected a ", text):
            return match[1]
        if re.search(r"^Option 'class_path'|class_path .* 'NoneType' object has no", text):
            return (
                "--method in a file is a name, or {class_path: NAME, init_args: {option: value}}, "
                "or a list of these; got options beside init_args, or nothing in it."
            )
        if match := re.search(r"NestedArg\(key='([\w.]+)'|^Option '([\w.]+)'", text):
            if within or match[1]:
                return (
                    f"--method.{match[1] or match[2]} is no option of this method: "
                    f"`asterism distill --method.help NAME` shows them."
                )
        if match := re.search(r'Parser key "(\w+)": Expected a (.*?)\. Got value: (.*)', text):
            return f"{dashed(within + match[1])} takes {_kind(match[2])}; got {match[3]}."
        if match := re.search(r'Parser key "method".*Given value: (\S+)', text):
            cause = r"(Problem with given class_path .*?|(?<=Errors: - )(?!Exp|Imp|Not a).*?) - Exp"
            if wrong := re.search(cause, text):  # something in a file of the user's own
                return f"--method: {wrong[1]}."
            named = re.search(r"(?:dot import path string:|Import path) (?!does)(\S+)", text)
            name = match[1] if named is None else named[1]
            return f"unknown method {name!r}: {choices(name, methods.__all__)}"
        if match := re.search(
            r'Parser key "(\w+)": Does not .*Subtypes: \[(.*?), .*Given value: (.*)', text
        ):
            return f"{dashed(match[1])} takes {_kind(match[2])}; got {match[3]}."
        trying = (
            r"Union subtypes .*Errors: - (?:Not a valid .*?implicit class_path\) - )?(.*?) - Exp"
        )
        if match := re.search(trying, text):
            return match[1]  # what a method's constructor says of its arguments
        if match := re.search(r"(?:Option '|unrecognized arguments: -*)([\w.]+)", text):
            known = [action.dest for action in self._actions]
            near = difflib.get_close_matches(match[1], known, 1)
            hint = f" (did you mean {dashed(near[0])}?)" if near else ""
            return f"{dashed(match[1])} is no option here{hint}: `{self.prog} --help` shows all."
        return f"{text} (`{self.prog} --help` shows all options.)"


class ConfigFile(ActionConfigFile):
    """A YAML file with options."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Read it as all files of people's are read, and go on as if it had been typed."""
        try:
            given = read_yaml(Path(located(values)))
        except FileNotFoundError as error:
            raise UsageError(f"--config {values}: there is no such file.") from error
        except ValueError as error:
            raise UsageError(f"--config {values} is no YAML of options: {error}.") from error
        self.apply_config(parser, cfg, self.dest, json.dumps(given))


def method_lines() -> list[str]:
    """Return each method's name, options and paper."""
    lines = []
    for name in methods.__all__:
        method = getattr(methods, name)
        lines += [f"{name:<5} {method.paper}", f"{'':5} {', '.join(method().config())}"]
    return lines


KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "str": "a name or a path",
    "tuple": "a list",
}


def _kind(declared: str) -> str:
    """Return a type, as jsonargparse names it, in a reader's words."""
    names = re.findall(r"'([^']+)'", declared)
    return "one of " + ", ".join(names) if "Literal" in declared else KINDS[names[0]]


def dashed(option: str) -> str:
    """Return an option as it is typed."""
    return "--" + option.replace("_", "-")


def parse_request(
    verb: Verb, arguments: Sequence[str] | Mapping[str, Any], *, formats: Sequence[str] = ()
) -> tuple[Request, str]:
    """Return what a user asked for, and how to print what comes of it.

    Args:
        verb: The verb.
        arguments: What the user typed, or options by name, as a YAML file gives them.
        formats: What `--format` may be, the default first; none for a verb without it.

    Raises:
        UsageError: If an option is not known, missing or of another kind.
        ValueError: If a value cannot be meant.
    """
    parser = Parser(prog=f"asterism {verb}")
    parser.add_argument("--config", action=ConfigFile, help="A YAML file with options.")
    parser.add_argument("--provenance", type=dict, help=SUPPRESS)  # config.yaml of a run has it
    if formats:
        parser.add_argument(
            "--format", type=Literal[tuple(formats)], default=formats[0], help="How to print it."
        )
    # A command of distill with another verb is a command, too.
    accepted: Verb = "distill" if verb == "doctor" else verb
    for dataclass in (Request, Settings):
        _add_options(parser, dataclass, verb=verb, accepted=accepted)
    typed = _parsed(parser, arguments)
    missing = [f"--{name}" for name in REQUIRED[verb] if typed.get(name) is None]
    if missing:
        raise UsageError(f"asterism {verb} needs {' and '.join(missing)}.")
    names = {each.name: typed_name(each.name, verb) for each in options_of(Request, verb=verb)}
    settings = {each.name: typed[each.name] for each in options_of(Settings, verb=verb)}
    own = {name: typed[option] for name, option in names.items()}
    return Request(**own, settings=Settings(**settings)), typed.get("format", "")


def parse_cache(arguments: Sequence[str]) -> CacheRequest:
    """Return the cache that a user asked for; raises as `parse_request`."""
    parser = Parser(prog="asterism embed")
    parser.add_argument("--config", action=ConfigFile, help="A YAML file with options.")
    _add_options(parser, CacheRequest)
    typed = _parsed(parser, arguments)
    missing = [f"--{name}" for name in ("teacher", "data", "out") if not typed.get(name)]
    if missing:
        raise UsageError(f"asterism embed needs {' and '.join(missing)}.")
    return CacheRequest(**typed)


def _add_options(
    parser: ArgumentParser,
    dataclass: type,
    *,
    verb: Verb | None = None,
    accepted: Verb | None = None,
) -> None:
    """Add the options of a dataclass; those that mean nothing to the verb are not shown."""
    places = {"Model": str, "Methods": Method | list[Method] | None, "Callback": object}
    types = get_type_hints(dataclass, localns=places)
    texts = help_of(dataclass)
    for each in options_of(dataclass, verb=accepted):
        known = each.metadata
        shown = texts[each.name] if verb is None or verb in known["verbs"] else SUPPRESS
        name = f"--{each.name if verb is None else typed_name(each.name, verb)}"
        kind = types[each.name]
        switch = kind is bool and known["role"] is not Role.EXPERIMENT
        if switch and each.default:
            parser.add_argument(name, action=ActionYesNo, default=True, help=shown)
        elif switch:
            parser.add_argument(name, action="store_true", help=shown)
        elif known["is_name"]:
            parser.add_argument(name, type=str | None, default=each.default or None, help=shown)
        elif known["bare"] is not None:
            parser.add_argument(
                name, type=kind, nargs="?", const=known["bare"], default=each.default, help=shown
            )
        else:
            parser.add_argument(name, type=kind, default=each.default, help=shown)


def _parsed(parser: ArgumentParser, arguments: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all options by name."""
    with _own_methods():
        if isinstance(arguments, Mapping):
            checked = parser.parse_object(dict(arguments))
        else:
            typed = [a if not a.startswith("--") else _underscored(a) for a in arguments]
            checked = parser.parse_args(typed)
        try:
            parsed = parser.instantiate(checked)
        except ValueError as error:
            parser.error(str(error))
    options = {k: v for k, v in vars(parsed).items() if k not in ("config", "provenance")}
    return {k: v for k, v in options.items() if not isinstance(v, Namespace)}


@contextmanager
def _own_methods() -> Iterator[None]:
    """Let methods of the user's own be imported from where he stands, as `python -m` does.

    Only while options are read: what a library looks for later, one that is not installed, is not
    taken from whatever folder this happens to be. A module that has been found may go on.
    """
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    before = {*sys.modules}
    sys.path.append(here)
    try:
        yield
    finally:
        files = (getattr(sys.modules[name], "__file__", None) for name in {*sys.modules} - before)
        if not any(file and Path(file).is_relative_to(here) for file in files):
            sys.path.remove(here)


def _underscored(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value
