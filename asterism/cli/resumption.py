"""A training that was stopped: what it was begun with, and the command with which it goes on."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from asterism.cli.mistakes import UsageError
from asterism.names import is_own_code
from asterism.options import Verb
from asterism.run import Interrupted, Run, RunError


def begun_with(verb: Verb, out: str, typed: Sequence[str]) -> dict[str, Any]:
    """Return the options that a run was begun with, but for those that were typed again.

    Args:
        verb: The verb.
        out: The run folder.
        typed: Names of the options that were typed, with their dashes.

    Raises:
        UsageError: If another verb began it, or with code of the user's own that is not named
            again: nothing that a run folder names is imported.
    """
    run = Run(out)
    if not (run.path / "config.yaml").is_file():
        return {}
    kept = run.read_config()
    begun: Verb = "train" if "model" in kept else "distill"
    if begun != verb:
        raise UsageError(
            f"{out} was begun with `asterism {begun}`: go on with {_command(begun, out)}."
        )
    from asterism.training import made_with  # here: help needs nothing of what trains

    made = made_with(run, verb)
    kept = {name: value for name, value in made.items() if name in kept and name not in typed}
    for name, value in own_code(kept).items():
        way_out = (
            "go on there, with resume=True"
            if value.startswith("python:")
            else f"name it again, --{name} {shlex.quote(value)}"
        )
        raise UsageError(
            f"{out} was begun with {name} {value}, which is your own code, and nothing that a run "
            f"folder names is imported: {way_out}."
        )
    return kept


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the options among a run's that name code of the user's own."""
    named = {name: [value] for name, value in config.items() if isinstance(value, str)}
    found = {name: text for name, texts in named.items() for text in texts if is_own_code(text)}
    methods = config.get("method")
    described = methods if isinstance(methods, list) else [methods]
    for each in described:
        path = str(each.get("class_path") if isinstance(each, dict) else each)
        if "." in path.removeprefix("asterism."):
            found["method"] = path
    return found


@contextmanager
def going_on(verb: Verb, typed: Sequence[str]) -> Iterator[None]:
    """Say, when a training is stopped, with which command it goes on.

    Args:
        verb: The verb.
        typed: What the user typed behind it.

    Raises:
        KeyboardInterrupt: With the command, if Ctrl-C was typed.
    """
    try:
        yield
    except Interrupted as stopped:
        raise KeyboardInterrupt(f"Go on with: {_goes_on(verb, typed, stopped)}") from None
    except KeyboardInterrupt:
        command = shlex.join(["asterism", verb, *typed])
        raise KeyboardInterrupt(f"Nothing was written; begin again with: {command}") from None


def _goes_on(verb: Verb, typed: Sequence[str], stopped: Interrupted) -> str:
    """Return the shortest command that goes on; what is typed again is what has to be."""
    named = any(each.partition("=")[0] == "--out" for each in typed)
    again = ["asterism", verb, *typed, *(() if named else ("--out", str(stopped.run)))]
    if stopped.before:
        return shlex.join(again)
    try:
        own = bool(own_code(Run(stopped.run).read_config()))
    except (OSError, RunError):  # stopped before it was written
        own = True
    if not own:
        return _command(verb, str(stopped.run))
    kept = [each for each in again if each not in ("--overwrite", "--resume")]
    return shlex.join([*kept, "--resume"])


def _command(verb: Verb, out: str) -> str:
    return shlex.join(["asterism", verb, "--out", out, "--resume"])
