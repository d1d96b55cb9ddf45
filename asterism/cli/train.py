"""`asterism train`."""

from collections.abc import Sequence

from asterism.cli.parser import parse
from asterism.cli.show import show
from asterism.recipe import train


def run(arguments: Sequence[str]) -> None:
    """Train, and print what came of it."""
    show(train(**parse(train, arguments, required=("model", "data"))))
