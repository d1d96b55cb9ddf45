"""`asterism distill`."""

from collections.abc import Sequence

from asterism.cli.parser import parse_request


def run(arguments: Sequence[str]) -> None:
    """Distil, and print what came of it."""
    request, _ = parse_request("distill", arguments)
    from asterism.cli.show import show  # here: help needs nothing of what trains
    from asterism.recipe import carry_out_with_baselines

    show(carry_out_with_baselines(request))
