"""`asterism train`."""

from collections.abc import Sequence

from asterism.cli.parser import parse_request


def run(arguments: Sequence[str]) -> None:
    """Train, and print what came of it."""
    request, _ = parse_request("train", arguments)
    from asterism.cli.show import show  # here: help needs nothing of what trains
    from asterism.training import carry_out

    show(carry_out(request))
