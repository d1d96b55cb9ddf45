"""`asterism evaluate`."""

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from asterism.cli.parser import Parser
from asterism.cli.show import show
from asterism.recipe import evaluate


def run(arguments: Sequence[str]) -> None:
    """Measure a run's student, on its own data or on others."""
    parser: ArgumentParser = Parser(prog="asterism evaluate")
    parser.add_argument("run", type=str, help="The run folder.")
    parser.add_argument("--data", type=str | None, help="Other data to measure it on.")
    parser.add_argument(
        "--factory",
        type=str | None,
        help="For a student of your own: path/to/file.py:factory, which builds it.",
    )
    parser.add_argument(
        "--teacher",
        type=str | None,
        help="The teacher, if it has moved or is your own code: what a run folder names is never "
        "run.",
    )
    options = parser.parse_args(list(arguments))
    show(evaluate(options.run, data=options.data, factory=options.factory, teacher=options.teacher))
