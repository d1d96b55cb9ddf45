"""`asterism train`."""

from collections.abc import Sequence

from asterism.cli.requests import parse_request
from asterism.cli.resumption import going_on


def run(arguments: Sequence[str]) -> None:
    """Train, and print what came of it."""
    request, _ = parse_request("train", arguments)
    from asterism.cli.show import show  # here: help needs nothing of what trains
    from asterism.training import carry_out

    with going_on("train", arguments):
        show(carry_out(request))
