"""From what a user typed, or wrote into a file, to a request."""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_type_hints

from jsonargparse import SUPPRESS, ActionYesNo, Namespace
from jsonargparse._actions import ActionConfigFile

from asterism import methods
from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser, dashed
from asterism.cli.resumption import begun_with
from asterism.documents import read_yaml
from asterism.methods.base import Method
from asterism.names import all_as_text, located, nothing_at
from asterism.options import Group, Role, Verb, help_of, options_of
from asterism.request import CacheRequest, Request, help_for, typed_name
from asterism.settings import Settings
from asterism.words import listing

# What must be named, by verb.
REQUIRED: dict[Verb, tuple[str, ...]] = {
    "distill": ("teacher", "student", "data"),
    "train": ("model", "data"),
    "doctor": ("student", "data"),
}
METHODS = (
    f"methods: {', '.join(methods.__all__)}. `asterism list RKD` shows what one is and "
    "takes, `asterism list` what else can be named. Several: --method+ RKD --method+ KD."
)


class ConfigFile(ActionConfigFile):
    """A YAML file with options."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Read it as all files of people's are read, and go on as if it had been typed."""
        try:
            given = read_yaml(Path(located(values)))
        except FileNotFoundError as error:
            raise UsageError(f"--config: {nothing_at(values)}.") from error
        except OSError as error:
            raise UsageError(f"--config {values}: {(error.strerror or '').lower()}.") from error
        except ValueError as error:
            raise UsageError(
                f"--config takes a YAML file of lines `option: value`; got {values}: {error}."
            ) from error
        if isinstance(given.get("teacher"), list):
            given |= {"teacher": all_as_text(given["teacher"])}
        self.apply_config(parser, cfg, self.dest, json.dumps(given))


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
    parser = _parser(verb, formats)
    arguments = _one_teacher(arguments)
    named = _typed_names(arguments)
    of_method = any(name.startswith("method.") and name != "method.help" for name in named)
    if of_method and not {"method", "config"} & {*named}:
        raise UsageError("name the method before its options, as --method RKD --method.… …")
    typed = _parsed(parser, arguments)
    if typed.get("resume") and typed["out"] and "config" not in named:
        # What the run was begun with stands for what is not typed again.
        typed = _parsed(parser, arguments, begun_with(verb, typed["out"], named))
    _refuse_meaningless(verb, named)
    missing = [f"--{name}" for name in REQUIRED[verb] if typed.get(name) is None]
    if missing:
        why = ""
        if (
            typed.get("resume")
            and typed["out"]
            and not (Path(typed["out"]) / "config.yaml").exists()
        ):
            why = f" There is no run to go on with: {nothing_at(typed['out'])}."
        raise UsageError(f"asterism {verb} needs {listing(missing)}.{why}")
    names = {each.name: typed_name(each.name, verb) for each in options_of(Request, verb=verb)}
    own = {name: typed[option] for name, option in names.items()}
    settings = {each.name: typed[each.name] for each in options_of(Settings)}
    return Request(**own, settings=Settings(**settings)), typed.get("format", "")


def _parser(verb: Verb, formats: Sequence[str]) -> Parser:
    """Return the parser of a verb that trains, or looks at a training."""
    parser = Parser(prog=f"asterism {verb}")
    parser.add_argument("--config", action=ConfigFile, help="A YAML file with options.")
    parser.add_argument("--provenance", type=dict, help=SUPPRESS)  # config.yaml of a run has it
    if formats:
        parser.add_argument(
            "--format",
            type=Literal[tuple(formats)],
            default=formats[0],
            help="How to print it.",
        )
    for dataclass in (Request, Settings):
        _add_options(parser, dataclass, verb=verb)
    parser.rare = frozenset({"config", *_names(verb, usual=False)})
    parser.required = REQUIRED[verb]
    parser.more = "" if verb == "train" else METHODS
    other: Verb = "train" if verb == "distill" else "distill"
    parser.elsewhere = {name: other for name in _names(other) - _names(verb)}
    return parser


def _names(verb: Verb, *, usual: bool | None = None) -> frozenset[str]:
    """Return the options that mean something to a verb; the usual or the other ones alone."""
    return frozenset(
        typed_name(each.name, verb)
        for each in options_of(Request, Settings, verb=verb)
        if usual is None or each.metadata["usual"] is usual
    )


def _typed_names(arguments: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Return the options that a user typed; none of those that a file or a grid gives."""
    if isinstance(arguments, Mapping):
        return []
    dashes = [re.split(r"[=+]", a[2:])[0] for a in arguments if a.startswith("--")]
    return [name.replace("-", "_") for name in dashes]


def _one_teacher(
    arguments: Sequence[str] | Mapping[str, Any],
) -> Sequence[str] | Mapping[str, Any]:
    """Return the arguments with all teachers that are named joined as one name."""
    if isinstance(arguments, Mapping):
        several = isinstance(arguments.get("teacher"), list)
        return {**arguments, "teacher": all_as_text(arguments["teacher"])} if several else arguments
    named: list[str | None] = []
    others: list[str] = []
    given = iter(arguments)
    for argument in given:
        if argument == "--teacher":
            named += [next(given, None)]
        elif argument.startswith("--teacher="):
            named += [argument.partition("=")[2]]
        else:
            others += [argument]
    if len(named) < 2 or None in named:
        return arguments
    return [*others, "--teacher", all_as_text(named)]


def _refuse_meaningless(verb: Verb, named: Sequence[str]) -> None:
    """Refuse options that mean nothing to `train`, to which the config of a run gives them all."""
    known = _names(verb)
    for each in options_of(Settings):
        if verb == "train" and each.name in named and each.name not in known:
            raise UsageError(
                f"{dashed(each.name)} means nothing to `asterism train`, which has no teacher: "
                "leave it out."
            )


def parse_cache(arguments: Sequence[str]) -> CacheRequest:
    """Return the cache that a user asked for; raises as `parse_request`."""
    parser = Parser(prog="asterism cache")
    parser.add_argument("--config", action=ConfigFile, help="A YAML file with options.")
    _add_options(parser, CacheRequest)
    usual = {each.name for each in options_of(CacheRequest) if each.metadata["usual"]}
    parser.rare = frozenset({each.name for each in options_of(CacheRequest)} - usual | {"config"})
    parser.required = ("teacher", "data", "out")
    typed = _parsed(parser, arguments)
    missing = [f"--{name}" for name in ("teacher", "data", "out") if not typed.get(name)]
    if missing:
        raise UsageError(f"asterism cache needs {listing(missing)}.")
    return CacheRequest(**typed)


def _add_options(parser: Parser, dataclass: type, *, verb: Verb | None = None) -> None:
    """Add the options of a dataclass; those that mean nothing to the verb are not shown.

    They are accepted where a command or a file has them that is another verb's, too: doctor takes
    what distill takes, and the settings in the config of any run are all of them.
    """
    places: dict[str, Any] = {"Model": str, "Models": str, "Callback": object}
    places |= {"Methods": Method | list[Method] | None}
    types = get_type_hints(dataclass, localns=places)
    texts = help_of(dataclass) if verb is None else help_for(verb)
    groups = {group: parser.add_argument_group(group.value) for group in Group}
    accepted: Verb | None = "distill" if verb == "doctor" else verb
    for each in options_of(dataclass, verb=None if dataclass is Settings else accepted):
        known = each.metadata
        name = each.name if verb is None else typed_name(each.name, verb)
        kind = types[each.name]
        how: dict[str, Any] = {
            "help": texts[name] if verb is None or verb in known["verbs"] else SUPPRESS
        }
        if kind is bool and known["role"] is not Role.EXPERIMENT:
            how |= {"action": ActionYesNo if each.default else "store_true"}
            how |= {"default": True} if each.default else {}
        elif known["is_name"]:
            how |= {"type": str | None, "default": each.default or None}
        else:
            how |= {"type": kind, "default": each.default}
        if known["bare"] is not None:
            how |= {"nargs": "?", "const": known["bare"]}
        groups[known["group"]].add_argument(f"--{name}", **how)


def _parsed(
    parser: Parser,
    arguments: Sequence[str] | Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the values of all options by name; what is not given is taken from the base."""
    with _own_methods():
        if isinstance(arguments, Mapping):
            checked = parser.parse_object(dict(arguments))
        else:
            before = parser.parse_object(dict(base)) if base else None
            checked = parser.parse_args(list(arguments), namespace=before)
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
