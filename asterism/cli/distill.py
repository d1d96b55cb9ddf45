"""`asterism distill`."""

from collections.abc import Sequence

from asterism.cli.parser import parse
from asterism.cli.show import show
from asterism.recipe import distill


def run(arguments: Sequence[str]) -> None:
    """Distil, and print what came of it."""
    show(distill(**parse(distill, arguments, required=("teacher", "student", "data"))))
