"""The command line: one file per verb; parses, calls, prints."""

import importlib
import io
import os
import sys
from collections.abc import Sequence

from asterism.cli.mistakes import UsageError, choices

VERBS = {
    "distill": "Distil a teacher into a student.",
    "train": "Train a model from labels: a teacher, or a baseline.",
    "doctor": "Look at a distillation before it begins.",
    "embed": "Write a student's vectors of data, or keep a teacher's outputs.",
    "evaluate": "Measure the student of a run again.",
    "report": "Write a page on what the students of runs kept.",
    "compare": "Print runs beside each other.",
    "align": "Fit the map from a run's student into its teacher's space.",
    "export": "Write a run's student in other libraries' formats.",
    "bench": "Run a grid of methods, models and seeds, and print its table.",
    "list": "List models, methods and data.",
    "demo": "Distil a small network on handwritten digits, in about a minute.",
}

HELP = "usage: asterism VERB …\n\n" + "".join(
    f"  {verb:<10} {what}\n" for verb, what in VERBS.items()
)
HELP += "\n`asterism VERB --help` shows the options of a verb."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; a user's mistake is one sentence and exit code 2, never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A class may be named by a folder whose name the screen cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    # Not list(…): importing the verb `list` would take the place of the built-in one here.
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    if not given or given[0] in ("-h", "--help"):
        print(HELP)
        return 0
    if given[0] == "--version":
        from asterism import __version__

        print(__version__)
        return 0
    verb = given[0]
    if verb not in VERBS:
        return _refuse(f"unknown verb {verb!r}: {choices(verb, VERBS)}")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # methods of the user's own, by import path
    try:
        command = importlib.import_module(f"asterism.cli.{verb}")
        code: int | None = command.run(given[1:])
    except (UsageError, ValueError, OSError) as error:
        return _refuse(_words(error))
    except KeyboardInterrupt as stopped:
        print(f"asterism: interrupted. {stopped}", file=sys.stderr)
        return 130
    return code or 0


def _words(error: Exception) -> str:
    """Return an error's message; of one from a worker process without that one's traceback."""
    text = str(error)
    if "Original Traceback" not in text:
        return text
    return text.strip().splitlines()[-1].partition(": ")[2]


def _refuse(message: str) -> int:
    print(f"asterism: {message}", file=sys.stderr)
    return 2
