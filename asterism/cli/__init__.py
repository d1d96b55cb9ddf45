"""The command line: one file per verb; parses, calls, prints."""

import importlib
import io
import os
import sys
from collections.abc import Sequence

from asterism.cli.mistakes import UsageError
from asterism.names import meant
from asterism.words import readable, tell

# Verbs by what a user wants.
GROUPS = {
    "make": {
        "distill": "Distil a teacher into a student.",
        "train": "Train a model from labels: a teacher, or a baseline.",
        "cache": "Run a teacher once, and keep its outputs for trainings.",
        "demo": "Distil a small network on handwritten digits, in about a minute.",
    },
    "judge": {
        "doctor": "Look at a distillation before it begins.",
        "evaluate": "Measure the student of a run again, or on other data.",
        "probe": "Measure a run's frozen student on other data with classes of their own.",
        "report": "Write a page on what the students of runs kept.",
        "compare": "Print runs beside each other.",
        "bench": "Run a grid of methods, models and seeds, and print its table.",
    },
    "ship": {
        "align": "Fit the map from a run's student into its teacher's space.",
        "embed": "Write a student's vectors of data into a file.",
        "export": "Write a run's student in other libraries' formats.",
        "push": "Send an export to a model hub, or show what would be sent.",
        "index": "Build an index of data's vectors, or of a file of vectors.",
        "search": "Search an index: with a text, a picture, or one of its rows.",
    },
    "look up": {
        "list": "List models, methods and data, or show one: asterism list resnet20.",
        "help": "Show the options of a verb: asterism help distill.",
        "completion": "Print what makes a shell complete verbs and options.",
    },
}
VERBS = {verb: what for group in GROUPS.values() for verb, what in group.items()}


def overview() -> str:
    """Return what there is, by what a user wants."""
    groups = (
        "\n".join([group, *(f"  {verb:<12}{what}" for verb, what in verbs.items())])
        for group, verbs in GROUPS.items()
    )
    return "\n\n".join(["usage: asterism VERB [options]", *groups, "First steps: asterism demo"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; a user's mistake is one sentence and exit code 2, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A class may be named by a folder whose name the screen cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Not list(…): importing the verb `list` would take the place of the built-in one here.
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if given[:1] == ["help"]:  # as git and others have it
        given = [*given[1:2], "--help", *given[2:]] if given[1:2] != ["help"] else []
    if not given or given[0] in ("-h", "--help"):
        print(overview())
        return 0
    if given[0] in ("-V", "--version"):
        from asterism import __version__

        print(__version__)
        return 0
    verb = given[0]
    if verb.startswith("-"):
        return _refuse(f"a verb comes first, asterism VERB {verb}: {', '.join(VERBS)}.")
    if verb not in VERBS:
        return _refuse(f"unknown verb {verb!r}{_meant(verb)}: choose from {', '.join(VERBS)}.")
    try:
        command = importlib.import_module(f"asterism.cli.{verb}")
        code: int | None = command.run(given[1:])
    except BrokenPipeError:  # whoever reads has seen enough, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (UsageError, ValueError, OSError) as error:
        return _refuse(_words(error))
    except KeyboardInterrupt as stopped:
        tell(f"asterism: interrupted. {stopped}".strip())
        return 130
    return code or 0


def _meant(verb: str) -> str:
    """Return what was probably meant: a verb, or a thing of another kind."""
    if hint := meant(verb, VERBS):
        return hint
    from asterism.cli.list import kind_of  # here: it knows models and methods, and takes a second

    kind = kind_of(verb)
    return f" ({kind}: `asterism list {verb}`)" if kind else ""


def _words(error: Exception) -> str:
    """Return an error's message; of one from a worker process without that one's traceback."""
    if isinstance(error, OSError) and isinstance(error.filename, str) and error.strerror:
        return f"{readable(error.filename, 200)}: {error.strerror.lower()}."
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]


def _refuse(message: str) -> int:
    tell(f"asterism: {message}")
    return 2
