"""`asterism cache`."""

from collections.abc import Sequence

from asterism.cli.requests import parse_cache
from asterism.words import number, printable


def run(arguments: Sequence[str]) -> None:
    """Keep a teacher's outputs, and say how to use them."""
    request = parse_cache(arguments)
    from asterism.teachers import make_cache  # here: help needs nothing of what computes

    try:
        state = make_cache(request)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("The same command goes on.") from None
    if not state.complete:
        said = f"{state.written} of {state.shards} files. When all parts are there: --finish."
    else:
        said = (
            f"{state.written} files, {number(state.bytes, 'bytes')}. "
            f"`asterism distill --teacher {request.out} …` needs no teacher."
        )
    print(printable(f"{request.out}: {said}"))
    if request.verify_cache:
        print("Everything in it is as it was written, and as the teacher returns it now.")
