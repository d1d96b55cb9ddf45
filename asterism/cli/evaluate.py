"""`asterism evaluate`."""

import json
from collections.abc import Sequence

from asterism.cli.parser import Parser, ask_for_models
from asterism.cli.show import show
from asterism.recipe import evaluate


def run(arguments: Sequence[str]) -> None:
    """Measure a run's student, on its own data or on others."""
    parser = Parser(prog="asterism evaluate")
    parser.add_argument("run", type=str, help="The run folder.")
    parser.add_argument("--data", type=str | None, help="Other data to measure it on.")
    parser.add_argument(
        "--out",
        type=str | None,
        help="Folder for what is found, as JSON and on a page; report and compare read it as a "
        "run. By default it is shown alone.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace what is in that folder.")
    ask_for_models(parser)
    options = parser.parse_args(list(arguments))
    result = evaluate(
        options.run,
        data=options.data,
        factory=options.factory,
        teacher=options.teacher,
        out=options.out,
        overwrite=options.overwrite,
    )
    if options.format == "json":
        print(json.dumps(result.evaluation, indent=1))
    else:
        show(result)
        if broken := result.evaluation["broken"]:
            print(f"{len(broken)} unreadable samples were left out.")
