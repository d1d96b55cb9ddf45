"""The parser that all verbs share."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NoReturn

from jsonargparse import SUPPRESS, ArgumentParser

from asterism import methods
from asterism.cli import VERBS
from asterism.cli.help import page
from asterism.cli.mistakes import UsageError
from asterism.names import choices, meant, nearest
from asterism.words import listing


class Parser(ArgumentParser):
    """Options with dashes, a help in groups, errors in one sentence.

    Attributes:
        rare: Options that the short help leaves out.
        required: Options that must be given.
        more: What the help says at its end.
        elsewhere: Options that other verbs have, with one that has it.
        instead: What is done with a parser whose help is asked for; None to print it.
    """

    rare: frozenset[str] = frozenset()
    required: tuple[str, ...] = ()
    more: str = ""
    elsewhere: Mapping[str, str] = {}
    instead: "ClassVar[Callable[[Parser], None] | None]" = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take no abbreviation: what is short today may be ambiguous tomorrow."""
        super().__init__(*arguments, **{"allow_abbrev": False, **options})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a UsageError: a ValueError would be taken for one more type that does not fit."""
        raise UsageError(self._reworded(" ".join(message.split())))

    def parse_args(self, args: Any = None, *others: Any, **options: Any) -> Any:
        """Parse; print the help instead where it is asked for, `--help all` all of it."""
        typed = _underscored(args or ())
        asked = [i for i, each in enumerate(typed) if each in ("-h", "--help", "--help=all")]
        if asked and self._is_verb:
            full = typed[asked[0]] == "--help=all" or typed[asked[0] + 1 : asked[0] + 2] == ["all"]
            if (instead := Parser.instead) is not None:
                instead(self)
            else:
                print(self.shown(full=full), end="")
            raise SystemExit(0)
        for before, each in zip(["", *typed], typed, strict=False):
            # Most often a variable of the shell that is not set.
            if not each or (each.startswith("--") and each.endswith("=")):
                raise UsageError(f"{before if not each else each[:-1]} has an empty value.")
        return super().parse_args(self._listed(typed), *others, **options)

    def _listed(self, typed: list[str]) -> list[str]:
        """Return what was typed, lists without brackets (3,5) with them."""
        lists = {
            f"--{a.dest}" for a in self._actions if "tuple" in str(getattr(a, "_typehint", ""))
        }
        found = []
        for before, each in zip(["", *typed], typed, strict=False):
            name, equals, value = each.partition("=")
            if before in lists and not each.startswith(("[", "-")):
                each = f"[{each}]"
            elif name in lists and equals and not value.startswith("["):
                each = f"{name}=[{value}]"
            found.append(each)
        return found

    @property
    def _is_verb(self) -> bool:
        # A method's own options are checked by a parser within the verb's.
        return self.prog.startswith("asterism ")

    def shown(self, *, full: bool) -> str:
        """Return the help: the usual options, or all."""
        rare = frozenset() if full else self.rare
        verb = self.prog.removeprefix("asterism ")
        actions = [a for a in self._actions if a.dest not in ("help", "print_config")]
        actions = [a for a in actions if not a.dest.endswith(".help")]
        options = [a for a in actions if a.option_strings]
        required = [a for a in options if a.required or a.dest in self.required]
        return page(self.prog, VERBS[verb], actions, rare=rare, required=required, more=self.more)

    def format_help(self, *arguments: Any, **options: Any) -> str:
        """Show a method's options with dashes."""
        shown = super().format_help(*arguments, **options)
        return re.sub(r"--[a-z_]+", lambda match: match[0].replace("_", "-"), shown)

    def _as_typed(self, name: str) -> str:
        """Return what must be given as it is typed: options with dashes, places in capitals."""
        options = {a.dest for a in self._actions if a.option_strings}
        return dashed(name) if name in options else name.upper()

    def _unknown(self, typed: str) -> str:
        """Return what is said of something typed that is no option here."""
        name, equals, value = typed.lstrip("-\u2013\u2014").partition("=")
        name = name.replace("-", "_")
        known = [a.dest for a in self._actions if a.help != SUPPRESS and a.option_strings]
        see = f"`{self.prog} --help all` shows all"
        is_option = typed[0] in "-\u2013\u2014"
        if typed.lower() in ("true", "false"):
            return f"{typed!r} follows a switch, which takes no value: write it alone, or --no-…."
        if not is_option and not (equals and nearest(name, known)):
            return f"{typed!r} follows no option's name, as --data {typed} would: {see}."
        if verb := self.elsewhere.get(name):
            return f"{dashed(name)} is an option of `asterism {verb}`, not of `{self.prog}`."
        near = nearest(name, known)
        if near != name and "method" in known and name in _options_of_methods():
            near = f"method.{name}"
        shown = near and (f"--{near}" if "." in near else dashed(near))
        hint = f" (did you mean {shown}{f' {value}' if value else ''}?)" if near else ""
        return f"{typed.replace('_', '-')} is no option here{hint}: {see}."

    def _reworded(self, text: str) -> str:
        """Return jsonargparse's message as what must hold, what came, and the way out."""
        within = "" if self._is_verb else "method."
        if match := re.search(r"argument (--[\w.-]+)\S*: expected one argument", text):
            return f"{match[1].replace('_', '-')} needs a value: `{self.prog} --help`."
        if match := re.search(r"arguments are required: (.*)", text):
            needed = [self._as_typed(name) for name in re.split(r"[, ]+", match[1])]
            return f"{self.prog} needs {listing(needed)}: `{self.prog} --help`."
        if match := re.search(r"^--method.help: .* path string: (\S+)", text):
            return f"unknown method {match[1]!r}: {choices(match[1], methods.__all__)}"
        if match := re.search(r" - (--method[. ].*?\.) - Expected a ", text):
            return match[1]
        if re.search(r"^Option 'class_path'|class_path .* 'NoneType' object has no", text):
            return (
                "--method in a file is a name, or {class_path: NAME, init_args: {option: value}}, "
                "or a list of these; got options beside init_args, or nothing in it."
            )
        if match := re.search(r"NestedArg\(key='([\w.]+)'|^Option '([\w.]+)'", text):
            if within or match[1]:
                name = match[1] or match[2]
                near = nearest(name, [a.dest for a in self._actions] if within else [])
                hint = f" (did you mean --method.{near}?)" if near else ""
                return (
                    f"--method.{name} is no option of this method{hint}: `asterism list NAME` "
                    "shows what a method takes."
                )
        if match := re.search(r'Parser key "(\w+)": Expected a (.*?)\. Got value: (.*)', text):
            return _misfit(within + match[1], match[2], match[3])
        if match := re.search(r'Parser key "method".*Given value: (\S+)', text):
            cause = r"(Problem with given class_path .*?|(?<=Errors: - )(?!Exp|Imp|Not a).*?) - Exp"
            if wrong := re.search(cause, text):  # something in a file of the user's own
                return f"--method: {wrong[1]}."
            named = re.search(r"(?:dot import path string:|Import path) (?!does)(\S+)", text)
            name = match[1] if named is None else named[1]
            return f"unknown method {name!r}: {choices(name, methods.__all__)}"
        if match := re.search(
            r'Parser key "(\w+)": Does not .*Subtypes: \[(.*?\]|.*?), <.*Given value: (.*)', text
        ):
            return _misfit(*match.groups())
        trying = (
            r"Union subtypes .*Errors: - (?:Not a valid .*?implicit class_path\) - )?(.*?) - Exp"
        )
        if match := re.search(trying, text):
            return match[1]  # what a method's constructor says of its arguments
        if match := re.search(r"nrecognized arguments: (\S+)|Option '([^']+)'", text):
            return self._unknown(match[1] or dashed(match[2]))
        return f"{text} (`{self.prog} --help` shows all options.)"


KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "str": "a name or a path",
    "tuple": "whole numbers, 3,5",
}


def _kind(declared: str) -> str:
    """Return a type, as jsonargparse names it, in a reader's words."""
    names = re.findall(r"'([^']+)'", declared)
    return "one of " + ", ".join(names) if "Literal" in declared else KINDS[names[0]]


def _options_of_methods() -> set[str]:
    return {name for each in methods.__all__ for name in getattr(methods, each)().config()}


def _misfit(option: str, declared: str, value: str) -> str:
    """Return what an option takes, what came, and of one with few values what was meant."""
    few = re.findall(r"'([^']+)'", declared) if "Literal" in declared else []
    return f"{dashed(option)} takes {_kind(declared)}; got {value}{meant(value, few)}."


def dashed(option: str) -> str:
    """Return an option as it is typed."""
    return "--" + option.replace("_", "-")


def _underscored(arguments: Sequence[str]) -> list[str]:
    """Return what was typed with the names of options as the parser has them."""

    def own(argument: str) -> str:
        name, equals, value = argument.partition("=")
        return name.replace("-", "_").replace("__", "--", 1) + equals + value

    return [own(each) if each.startswith("--") else each for each in arguments]


def ask_for_factory(parser: Parser) -> None:
    """Add the option of a verb that loads a student."""
    parser.add_argument(
        "--factory",
        type=str | None,
        help="For a student of your own: path/to/file.py:factory, which builds it.",
    )


def ask_for_models(parser: Parser) -> None:
    """Add the options of a verb that measures a run's student, beside its teacher."""
    parser.add_argument(
        "--format", type=Literal["table", "json"], default="table", help="How to print it."
    )
    ask_for_factory(parser)
    parser.add_argument(
        "--teacher",
        type=str | None,
        help="The teacher, if it has moved or is your own code: what a run folder names is never "
        "run.",
    )
