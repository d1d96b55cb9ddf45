"""`asterism embed`."""

from collections.abc import Sequence

from asterism.caching import embed
from asterism.cli.parser import parse
from asterism.report.words import number


def run(arguments: Sequence[str]) -> None:
    """Keep a teacher's outputs, and say how to use them."""
    options = parse(embed, arguments, required=("teacher", "data", "out"))
    try:
        state = embed(**options)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command goes on.") from None
    print(
        f"{options['out']}: {state.written} files, {number(state.bytes, 'bytes')}. "
        f"`asterism distill --teacher {options['out']} …` needs no teacher."
    )
    if options["verify_cache"]:
        print("Everything in it is as it was written, and as the teacher returns it now.")
