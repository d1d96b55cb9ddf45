"""`asterism evaluate`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from asterism.cli.parser import Parser, ask_for_models
from asterism.cli.probe import show_transfer
from asterism.cli.screen import Screen
from asterism.cli.show import show
from asterism.measures import Episodes, FewShot
from asterism.recipe import Transfer, evaluate, suite
from asterism.settings import Distance


def run(arguments: Sequence[str]) -> None:
    """Measure a run's student, on its own data or on others."""
    parser = _parser()
    options = parser.parse_args(list(arguments))
    if options.suite is not None:
        _suite(parser, options)
        return
    result = evaluate(
        options.run,
        data=options.data,
        factory=options.factory,
        teacher=options.teacher,
        out=options.out,
        overwrite=options.overwrite,
        metric=options.metric,
        episodes=Episodes(options.shots, options.way, options.queries, options.episodes)
        if options.shots
        else None,
    )
    if options.format == "json":
        print(json.dumps(result.evaluation, indent=1))
    else:
        show(result)
        for line in few_shots(result.evaluation.get("few_shot") or {}):
            print(line)
        if broken := result.evaluation["broken"]:
            print(f"{len(broken)} unreadable samples were left out.")


def _parser() -> Parser:
    parser = Parser(prog="asterism evaluate")
    parser.add_argument("run", type=str, help="The run folder.")
    parser.add_argument("--data", type=str | None, help="Other data to measure it on.")
    parser.add_argument(
        "--suite",
        type=str | None,
        help="Standard tasks instead: mteb:TASK,TASK or nanobeir for texts, folder:PATH for a "
        "folder of pictures with train and val.",
    )
    parser.add_argument(
        "--out",
        type=str | None,
        help="Folder for what is found, as JSON and on a page; report and compare read it as a "
        "run. By default it is shown alone.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace what is in that folder.")
    parser.add_argument(
        "--metric",
        type=Distance | None,
        help="By what neighbours are found: euclidean or cosine; by default as in the run.",
    )
    parser.add_argument(
        "--shots",
        type=tuple[int, ...],
        default=(),
        help="Few-shot classification by prototypes, with so many samples of each class, as 1,5.",
    )
    parser.add_argument("--way", type=int, default=5, help="Classes of an episode.")
    parser.add_argument("--queries", type=int, default=15, help="Queries of each class in it.")
    parser.add_argument("--episodes", type=int, default=600, help="Number of episodes.")
    ask_for_models(parser)
    return parser


def _suite(parser: Parser, options: Any) -> None:
    """Measure standard tasks, and print what was found."""
    taken = ("run", "suite", "factory", "format")
    for name, value in vars(options).items():
        if name not in taken and value != parser.get_default(name):
            raise ValueError(f"--suite has its own data and measures: leave --{name} out.")
    found = suite(options.run, options.suite, factory=options.factory)
    if isinstance(found, Transfer):
        show_transfer(found, options.format)
    elif options.format == "json":
        print(json.dumps(asdict(found), indent=1))
    else:
        shown = Table(title=f"{found.run}, by {found.library}", title_justify="left")
        for column in ("task", "part", "figure", "value"):
            shown.add_column(column, justify="right" if column == "value" else "left")
        for each in found.scores:
            part = each.split if each.subset == "default" else f"{each.split}, {each.subset}"
            shown.add_row(each.task, part, each.metric, f"{each.value:.4f}")
        Screen().print(shown)


def few_shots(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return in words what few shots give of each model."""
    lines = []
    for who, measured in found.items():
        for each in (FewShot(**values) for values in measured):
            how = f"{each.way}-way {each.shot}-shot"
            lines.append(f"{how}: {who} {each.words()} ({each.episodes} episodes)")
    return lines
