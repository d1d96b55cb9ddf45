"""`asterism push`."""

from collections.abc import Sequence

from asterism.cli.parser import Parser
from asterism.cli.screen import Screen
from asterism.exporters import push
from asterism.words import number


def run(arguments: Sequence[str]) -> None:
    """Send an export to Hugging Face's hub, or show what would be sent."""
    parser = Parser(prog="asterism push")
    parser.add_argument(
        "export", type=str, help="The folder of an export, or a run folder with a single one."
    )
    parser.add_argument("name", type=str, help="The repository: ORG/NAME.")
    parser.add_argument("--private", action="store_true", help="Nobody else may see it.")
    parser.add_argument(
        "--license", type=str | None, help="Written into the card: apache-2.0, mit, …"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="Show what would be sent, and send nothing."
    )
    options = parser.parse_args(list(arguments))
    pushed = push(
        options.export,
        options.name,
        private=options.private,
        license=options.license,
        dry_run=options.dry_run or None,
    )
    console = Screen()
    for name, size in pushed.files:
        console.print(f"  {name}  {number(size, 'bytes')}")
    for name in pushed.left_out:
        console.print(f"  {name} is no part of the export and stays here")
    if pushed.license is None:
        console.print("The card names no licence: --license, or a line in its README.md.")
    if pushed.url is None:
        console.print(
            f"Nothing was sent. Without --dry-run and with a token (HF_TOKEN, `hf auth login`) it "
            f"goes to {pushed.name}."
        )
    else:
        console.print(f"Sent to {pushed.url}")
