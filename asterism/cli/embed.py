"""`asterism embed`."""

from collections.abc import Sequence
from typing import Literal

from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser, ask_for_factory
from asterism.words import number, printable, without_row


def run(arguments: Sequence[str]) -> None:
    """Write a student's vectors, and say what is in the file."""
    if any(each.partition("=")[0] == "--teacher" for each in arguments):
        raise UsageError(
            "asterism embed RUN writes a student's vectors; a teacher's outputs are kept for "
            "trainings by `asterism cache`, with the same options."
        )
    parser = Parser(prog="asterism embed")
    parser.add_argument("run", type=str, help="The run folder, or an exported `state`.")
    parser.add_argument("--data", type=str, required=True, help="The data, all of their rows.")
    parser.add_argument(
        "--out", type=str, required=True, help="A .parquet, .npy or .safetensors file."
    )
    parser.add_argument("--ids", type=str | None, help="Column of the ids, for a table.")
    parser.add_argument(
        "--dtype",
        type=Literal["float32", "float16", "int8"],
        default="float32",
        help="How the numbers are kept.",
    )
    parser.add_argument(
        "--aligned", action="store_true", help="Embed into the teacher's space (asterism align)."
    )
    parser.add_argument("--part", type=str, default="1/1", help="i/n: the i-th of n parts.")
    ask_for_factory(parser)
    options = vars(parser.parse_args(list(arguments)))
    from asterism.vectors import embed  # here: help needs nothing of what computes

    student, data = options.pop("run"), options.pop("data")
    try:
        made = embed(student, data, **options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command goes on.") from None
    size = number(made.bytes, "bytes")
    print(printable(f"{made.out}: {made.rows:,} rows of {made.width} columns, {size}."))
    if made.broken:
        print(printable(without_row(made.broken)))
