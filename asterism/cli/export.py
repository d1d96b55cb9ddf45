"""`asterism export`."""

from collections.abc import Sequence

from asterism.cli.parser import Parser, ask_for_factory
from asterism.cli.screen import Screen
from asterism.exporters import EXPORTERS, TOLERANCE, Exported
from asterism.recipe import export
from asterism.words import number


def run(arguments: Sequence[str]) -> None:
    """Write a run's student in other libraries' formats, and say how far each is from it."""
    parser = Parser(prog="asterism export")
    parser.add_argument("run", type=str, help="The run folder.")
    parser.add_argument(
        "--to",
        type=str,
        nargs="+",
        required=True,
        help=f"Formats, each in a folder of its name: {', '.join(EXPORTERS)} (docs/export.md).",
    )
    parser.add_argument(
        "--out", type=str | None, help="Where the folders are made; by default RUN/export."
    )
    parser.add_argument(
        "--data", type=str | None, help="Data to compare on; by default the run's own."
    )
    ask_for_factory(parser)
    parser.add_argument(
        "--aligned", action="store_true", help="Embeddings in the teacher's space (asterism align)."
    )
    parser.add_argument("--int8", action="store_true", help="Weights in 8 bits (onnx).")
    parser.add_argument(
        "--uint8",
        action="store_true",
        help="Images go in as bytes, 0 to 255 (onnx, openvino, pt2).",
    )
    parser.add_argument("--opset", type=int | None, help="Version of ONNX's operators.")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help="Largest difference from the student, as a share of its largest value.",
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace earlier exports.")
    options = vars(parser.parse_args(list(arguments)))
    run_folder, formats = options.pop("run"), options.pop("to")
    console = Screen()
    for exported in export(run_folder, formats, **options):
        for line in _told(exported):
            console.print(line)


def _told(exported: Exported) -> list[str]:
    floats = " as floats" if exported.int8 is not None else ""
    lines = [
        f"{exported.folder}: {number(exported.size, 'bytes')}; at most "
        f"{exported.largest_difference:.1e} from the student{floats}, on {exported.compared_on}."
    ]
    lines += [f"  {note}." for note in exported.notes]
    if (cost := exported.int8) is not None:
        told = [f"  8 bits, on {cost.rows} rows"]
        if cost.smallest_cosine is not None:
            told.append(f"smallest cosine to the float student {cost.smallest_cosine:.4f}")
        if cost.neighbours_kept is not None:
            told.append(f"{100 * cost.neighbours_kept:.1f} % of its ten nearest neighbours kept")
        for name, pair in (("accuracy", cost.accuracy), ("recall@1", cost.recall_at_1)):
            if pair is not None:
                told.append(f"{name} {100 * pair[1]:.1f} instead of {100 * pair[0]:.1f} %")
        lines.append(", ".join(told) + ".")
    return lines
