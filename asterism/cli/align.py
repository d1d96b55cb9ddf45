"""`asterism align`."""

from collections.abc import Sequence

from asterism.alignment import align
from asterism.cli.parser import Parser, ask_for_factory
from asterism.cli.screen import Screen


def run(arguments: Sequence[str]) -> None:
    """Fit the map from a run's student into its teacher's space, and say what it is good for."""
    parser = Parser(prog="asterism align")
    parser.add_argument("run", type=str, help="The run folder.")
    parser.add_argument(
        "--to",
        type=str,
        default="teacher",
        help="teacher; or an .npy file with embeddings of the run's training data; or the teacher, "
        "as distill takes it, if it has moved or is your own code.",
    )
    ask_for_factory(parser)
    options = parser.parse_args(list(arguments))
    card = align(options.run, to=options.to, factory=options.factory)
    console = Screen()
    console.print(
        f"{options.run}/aligner.safetensors: a {card['kind']} map from {card['student_dim']} to "
        f"{card['teacher_dim']} columns, fitted on {card['rows']:,} training rows."
    )
    for name, quality in card["quality"].items():
        what, k = name.split("@")
        whose = "their own item" if what == "item_recall" else "an item of their class"
        where = "first" if k == "1" else f"among the {k} nearest"
        console.print(
            f"{100 * quality['value']:.1f} % of queries find {whose} {where} of "
            f"{card['searched']:,} ({card['split']}; {100 * quality['confidence']:.0f} % interval "
            f"{100 * quality['low']:.1f} to {100 * quality['high']:.1f} %)."
        )
    console.print("asterism.load(run, aligned=True) returns embeddings in the teacher's space.")
