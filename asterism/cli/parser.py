"""The parser that all verbs share."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from jsonargparse import SUPPRESS, ActionYesNo, ArgumentParser, Namespace
from jsonargparse._actions import ActionConfigFile

from asterism import methods
from asterism.cli.mistakes import UsageError, choices

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
    "baseline",
)
# Options without a value.
SWITCHES = ("resume", "overwrite", "with_baselines")
# Options that are on: --no-report.
ON = ("check", "report")


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
        return re.sub(r"--[a-z_]+", lambda found: found[0].replace("_", "-"), shown)

    def _reworded(self, text: str) -> str:
        """Return jsonargparse's message as what must hold, what came, and the way out."""
        # A method's own options are checked by a parser within the verb's.
        within = "" if self.prog.startswith("asterism ") else "method."
        if found := re.search(r" - (--method[. ].*?\.) - Expected a ", text):
            return found[1]
        if re.search(r"^Option 'class_path'|class_path .* 'NoneType' object has no", text):
            return (
                "--method in a file is a name, or {class_path: NAME, init_args: {option: value}}, "
                "or a list of these; got options beside init_args, or nothing in it."
            )
        if found := re.search(r"NestedArg\(key='([\w.]+)'|^Option '([\w.]+)'", text):
            if within or found[1]:
                return (
                    f"--method.{found[1] or found[2]} is no option of this method: "
                    f"`asterism distill --method.help NAME` shows them."
                )
        if found := re.search(r'Parser key "(\w+)": Expected a (.*?)\. Got value: (.*)', text):
            return f"{dashed(within + found[1])} takes {_kind(found[2])}; got {found[3]}."
        if found := re.search(r'Parser key "method".*Given value: (\S+)', text):
            cause = r"(Problem with given class_path .*?|(?<=Errors: - )(?!Exp|Imp|Not a).*?) - Exp"
            if wrong := re.search(cause, text):  # something in a file of the user's own
                return f"--method: {wrong[1]}."
            named = re.search(r"(?:dot import path string:|Import path) (?!does)(\S+)", text)
            name = found[1] if named is None else named[1]
            return f"unknown method {name!r}: {choices(name, methods.__all__)}"
        if found := re.search(
            r'Parser key "(\w+)": Does not .*Subtypes: \[(.*?), .*Given value: (.*)', text
        ):
            return f"{dashed(found[1])} takes {_kind(found[2])}; got {found[3]}."
        trying = (
            r"Union subtypes .*Errors: - (?:Not a valid .*?implicit class_path\) - )?(.*?) - Exp"
        )
        if found := re.search(trying, text):
            return found[1]  # what a method's constructor says of its arguments
        if found := re.search(r"(?:Option '|unrecognized arguments: -*)([\w.]+)", text):
            known = [action.dest for action in self._actions]
            near = difflib.get_close_matches(found[1], known, 1)
            hint = f" (did you mean {dashed(near[0])}?)" if near else ""
            return f"{dashed(found[1])} is no option here{hint}: `{self.prog} --help` shows all."
        return f"{text} (`{self.prog} --help` shows all options.)"


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


def parse(
    function: Callable[..., Any],
    arguments: Sequence[str] | Mapping[str, Any],
    *,
    required: Sequence[str],
    verb: str | None = None,
    formats: Sequence[str] = (),
) -> dict[str, Any]:
    """Parse a verb's options from the signature and docstring of its function.

    Args:
        function: The function behind the verb.
        arguments: What the user typed, or options by name, as a YAML file gives them.
        required: Options without which the verb cannot run.
        verb: Its name; by default the function's.
        formats: What `--format` may be, the default first; none for a verb without it.
    """
    verb = verb or function.__name__
    parser = Parser(prog=f"asterism {verb}")
    parser.add_argument("--config", action=ActionConfigFile, help="A YAML file with options.")
    parser.add_argument("--provenance", type=dict, help=SUPPRESS)  # config.yaml of a run has it
    if formats:
        parser.add_argument(
            "--format", type=Literal[tuple(formats)], default=formats[0], help="How to print it."
        )
    for name, text in _documented(function).items():
        if name in STRINGS:
            parser.add_argument(f"--{name}", type=str | None, help=text)
        elif name in SWITCHES:
            parser.add_argument(f"--{name}", action="store_true", help=text)
        elif name == "verify_cache":
            parser.add_argument(
                "--verify_cache", type=int, nargs="?", const=64, default=0, help=text
            )
        elif name in ON:
            parser.add_argument(f"--{name}", action=ActionYesNo, default=True, help=text)
    skip: set[str | int] = {*STRINGS, *SWITCHES, *ON, "verify_cache"}
    parser.add_function_arguments(function, skip=skip, as_positional=False)
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
    missing = [f"--{name}" for name in required if options.get(name) is None]
    if missing:
        raise UsageError(f"asterism {verb} needs {' and '.join(missing)}.")
    return {k: v for k, v in options.items() if not isinstance(v, Namespace)}


def _underscored(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("-", "_").replace("__", "--", 1) + equals + value


def _documented(function: Callable[..., Any]) -> dict[str, str]:
    """Return the arguments of a function and what its docstring says of them."""
    body = (function.__doc__ or "").partition("Args:")[2].partition("Returns:")[0]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", body, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for name, text in entries}
