"""`asterism search`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser, ask_for_factory
from asterism.cli.screen import Screen
from asterism.words import readable, share

if TYPE_CHECKING:
    from asterism.index import Answers, Index
    from asterism.student import Student


def run(arguments: Sequence[str]) -> None:
    """Search an index and show what was found, or measure what a student finds in it."""
    options = _parser().parse_args(list(arguments))
    asked = [*(options.query or ()), *(f"row {row}" for row in options.row or ())]
    if not (asked or options.measure):
        raise UsageError(
            "asterism search needs --query (a text, or the path of a picture), --row (an id of "
            "the index) or --measure."
        )
    if options.out and not asked:
        raise UsageError("--out is a page of what queries find: give --query or --row.")
    from asterism.index import Hits, answers, asker, embedded, open_index, unit_of, write_page

    index = open_index(options.index)
    parts = []
    if options.query or options.measure:
        student = asker(index, options.student, aligned=options.aligned, factory=options.factory)
        vectors = embedded(index, student, options.query or [])  # none: their width is checked
    if options.query:
        parts.append(index.search(vectors, options.k, exact=options.exact))
    if options.row:
        places = [index.position(row) for row in options.row]
        parts.append(index.near(places, options.k, exact=options.exact))
    console = Screen()
    if options.measure:
        _measure(console, index, student, options.data)
    if asked:
        hits = Hits(*map(np.concatenate, zip(*parts, strict=True)))
        answered = answers(index, asked, hits, options.data)
        _show(console, answered, unit_of(index))
        if options.out:
            console.print(f"{write_page(answered, index, options.out)}")


def _show(console: Screen, answered: "Answers", unit: str) -> None:
    for answer in answered.each:
        columns = {
            "": [str(number) for number, _ in enumerate(answer.found, 1)],
            unit: [f"{found.score:.3f}" for found in answer.found],
            "id": [readable(found.name, 60) for found in answer.found],
            "class": [readable(found.label or "", 40) for found in answer.found],
            "text": [readable(found.text or "", 100) for found in answer.found],
        }
        filled = {name: cells for name, cells in columns.items() if any(cells)}
        table = Table(*filled, title=readable(answer.query, 100), title_justify="left", box=None)
        for cells in zip(*filled.values(), strict=True):
            table.add_row(*cells)
        console.print(table)
    if answered.missing:
        console.print(f"Texts and pictures are not shown: {answered.missing}.")


def _measure(console: Screen, index: "Index", student: "Student", data: str | None) -> None:
    """Print what a student finds in an index, beside what the index's own vectors find there."""
    from asterism.data import size_of
    from asterism.index import data_of, reach

    size = size_of(student.modality, student.shape)
    source, missing = data_of(index, data, image_size=size)
    if source is None:
        raise ValueError(f"nothing can be measured in {index.folder}: {missing}.")
    found = reach(index, student, source)
    console.print(
        f"{found.queries:,} of its rows as queries: the student finds {share(found.neighbours)} of "
        f"the ten nearest that the index's own vectors find, and the query's own row first in "
        f"{share(found.own_item)}, among ten in {share(found.own_item_among_ten)}."
    )
    if found.own_class is not None:
        student_share, own = found.own_class
        console.print(
            f"The nearest other row is of the query's class in {share(student_share)} with the "
            f"student's vectors, and in {share(own)} with the index's own."
        )


def _parser() -> Parser:
    parser = Parser(prog="asterism search")
    parser.add_argument("index", type=str, help="Folder of the index.")
    parser.add_argument(
        "--query", type=str, nargs="+", help="Texts, paths of pictures, or .npy files of arrays."
    )
    parser.add_argument("--row", type=str, nargs="+", help="Ids of rows of the index.")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="Draw 1,000 rows of the data as queries, and say what the student finds.",
    )
    parser.add_argument(
        "--student",
        type=str | None,
        help="The run folder of what embeds the queries; by default what the index was made of.",
    )
    parser.add_argument(
        "--aligned",
        action="store_true",
        help="The index holds the teacher's vectors: query through the map of asterism align.",
    )
    parser.add_argument("--k", type=int, default=10, help="How many rows are found.")
    parser.add_argument(
        "--exact", action="store_true", help="Look at every row, in an index of cells too."
    )
    parser.add_argument(
        "--data", type=str | None, help="Where the data are now, to show texts and pictures."
    )
    parser.add_argument("--out", type=str | None, help="A page of the answers, NAME.html.")
    ask_for_factory(parser)
    return parser
