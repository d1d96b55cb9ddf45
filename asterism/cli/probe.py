"""`asterism probe`."""

import json
from collections.abc import Sequence
from typing import Literal

from rich.table import Table

from asterism.cli.parser import Parser, ask_for_models
from asterism.cli.screen import Screen
from asterism.measures import Estimate
from asterism.recipe import Probed, Transfer, probe
from asterism.settings import Distance
from asterism.words import count

NAMES = {"probe": "linear probe", "knn": "k-NN"}


def parser() -> Parser:
    """Return the parser of the verb, which a grid's probes are held against, too."""
    parser = Parser(prog="asterism probe")
    parser.add_argument("run", type=str, help="The run folder, or an exported `state`.")
    parser.add_argument(
        "--data", type=str, required=True, help="Data with labels, whose classes are learnt."
    )
    parser.add_argument("--test_data", type=str | None, help="Data to test on.")
    parser.add_argument(
        "--test_share",
        type=float,
        default=0.2,
        help="Share of the data to test on, class by class, where there are no test data.",
    )
    parser.add_argument(
        "--solver",
        type=Literal["logistic", "sgd"],
        default="logistic",
        help="How the linear classifier is found: logistic regression, or SGD as in the papers.",
    )
    parser.add_argument(
        "--metric",
        type=Distance | None,
        help="By what the nearest are found: euclidean or cosine; by default as in the run.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Seed of the held share and of SGD.")
    parser.add_argument("--out", type=str | None, help="A .json file for what is found.")
    parser.add_argument("--overwrite", action="store_true", help="Replace that file.")
    parser.add_argument("--student_only", action="store_true", help="Leave the teacher out.")
    ask_for_models(parser)
    return parser


def run(arguments: Sequence[str]) -> None:
    """Measure what a run's frozen student is good for on other data, with their own classes."""
    options = parser().parse_args(list(arguments))
    made = probe(
        options.run,
        options.data,
        test_data=options.test_data,
        test_share=options.test_share,
        solver=options.solver,
        metric=options.metric,
        seed=options.seed,
        factory=options.factory,
        teacher=False if options.student_only else options.teacher,
        out=options.out,
        overwrite=options.overwrite,
    )
    show_transfer(made, options.format)


def show_transfer(made: Transfer, how: str) -> None:
    """Print the figures, as `json` or as a table, the student beside its teacher."""
    if how == "json":
        print(json.dumps(made.plain(), indent=1))
        return
    console = Screen()
    console.print(
        f"{made.run}, frozen: {count(made.classes)} classes learnt from {count(made.learnt)} "
        f"samples of {made.data}, tested on {count(made.tested)} of {made.test_data or made.data}."
    )
    shown = Table()
    for column in ("", *(f"{name} %" for name in NAMES.values()), "width"):
        shown.add_column(column, justify="right" if column else "left")
    for name, each in {"teacher": made.teacher, "student": made.student}.items():
        if each is not None:
            shown.add_row(name, *_cells(each), str(each.width))
    console.print(shown)
    if made.teacher is not None:
        beside = made.student.minus(made.teacher)
        said = ", ".join(f"{NAMES[name]} {_points(x)}" for name, x in beside.items())
        console.print(f"Student less teacher, in points: {said} (95 % intervals).")


def _cells(figures: Probed) -> list[str]:
    return [f"{100 * x:.1f} ({_ends(x)})" for x in (figures.probe, figures.knn)]


def _ends(x: Estimate, form: str = ".1f") -> str:
    low, high = x.interval()
    return f"{100 * low:{form}} to {100 * high:{form}}"


def _points(x: Estimate) -> str:
    return f"{100 * x:+.1f} ({_ends(x, '+.1f')})"
