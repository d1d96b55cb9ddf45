"""`asterism distill`."""

from collections.abc import Sequence

from asterism.cli.requests import parse_request
from asterism.cli.resumption import going_on


def run(arguments: Sequence[str]) -> None:
    """Distil, and print what came of it."""
    request, _ = parse_request("distill", arguments)
    from asterism.cli.show import show  # here: help needs nothing of what trains
    from asterism.recipe import carry_out_with_baselines

    with going_on("distill", arguments):
        show(carry_out_with_baselines(request))
