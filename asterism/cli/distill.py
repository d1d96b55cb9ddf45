"""`asterism distill`."""

from collections.abc import Sequence

from asterism.cli.requests import parse_request
from asterism.cli.resumption import going_on
from asterism.words import printable


def run(arguments: Sequence[str]) -> None:
    """Distil, and print what came of it."""
    request, _ = parse_request("distill", arguments)
    from asterism.cli.show import show  # here: help needs nothing of what trains
    from asterism.recipe import carry_out_all

    with going_on("distill", arguments):
        results = carry_out_all(request)
        for result in results:
            show(result)
        if len(results) > 1 and request.report:
            page = results[0].run.parent / "report.html"
            print(printable(f"All seeds on one page: {page}"))
