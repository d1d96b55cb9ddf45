"""Mistakes on the command line, and the sentences that answer them."""

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """A mistake on the command line; its message is shown, a traceback never."""


def choices(name: str, known: Iterable[str]) -> str:
    """Return the names to choose from, and the one that was probably meant."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, 1)
    hint = f" (did you mean {by_lower[near[0]]}?)" if near else ""
    return f"choose from {', '.join(by_lower.values())}{hint}."
