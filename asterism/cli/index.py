"""`asterism index`."""

from collections.abc import Sequence
from typing import Literal

from asterism.cli.parser import Parser
from asterism.settings import Distance
from asterism.words import number, printable, share, without_row


def run(arguments: Sequence[str]) -> None:
    """Build an index, and say what is in it and what its cells find."""
    parser = Parser(prog="asterism index")
    parser.add_argument(
        "model",
        type=str,
        help="What embeds the data: a run folder, or what else can be a teacher; or a file of "
        "vectors.",
    )
    parser.add_argument(
        "--data", type=str | None, help="The data, all of their rows; not needed with vectors."
    )
    parser.add_argument("--out", type=str, required=True, help="Folder of the index.")
    parser.add_argument("--metric", type=Distance, default="cosine", help="What near means.")
    parser.add_argument(
        "--search",
        type=Literal["auto", "exact", "cells"],
        default="auto",
        help="Look at every row, or at those of the nearest cells; by default cells from 100,000 "
        "rows on.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an earlier index.")
    options = vars(parser.parse_args(list(arguments)))
    from asterism.index import build_index  # here: help needs nothing of what computes

    made = build_index(options.pop("model"), options.pop("data"), **options)
    card, sight = made.card, made.sight
    size = number(sum(file.stat().st_size for file in made.folder.iterdir()), "bytes")
    print(printable(f"{made.folder}: {card.rows:,} rows of {card.width} columns, {size}."))
    if sight is None:
        print("Every query looks at every row.")
    else:
        print(
            f"A query looks into {card.probes} of {card.cells:,} cells: it finds "
            f"{share(sight.recall)} of the ten nearest rows ({sight.queries} rows as queries), in "
            f"{sight.milliseconds:.1f} ms; looking at every row takes "
            f"{sight.exhaustive_milliseconds:.1f} ms."
        )
    if made.broken:
        print(printable(without_row(made.broken)))
