"""Numbers, units, lists and texts from elsewhere, formatted for readers."""

import re
import sys
from collections.abc import Sequence
from typing import Any

MISSING = "–"
# Control characters, halves of surrogate pairs, and the marks that turn the direction of what
# follows. (Marks that only touch their neighbours stay: Arabic and Hebrew need them.)
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def readable(text: Any, limit: int = 60) -> str:
    """Return a text of unknown origin on one line, without control characters, cut to a limit."""
    # Cut first: a text may have millions of characters.
    cleaned = _UNPRINTABLE.sub(" ", str(text)[: 4 * limit]).strip()
    whole = len(cleaned) <= limit and len(str(text)) <= 4 * limit
    return cleaned if whole else cleaned[: limit - 1].rstrip() + "…"


def printable(text: Any) -> str:
    r"""Return a text of unknown origin as a terminal may have it: what it would obey is spelt out.

    Examples:
        >>> print(printable("\x1b[31mred.png"), printable("a\nb"))
        \x1b[31mred.png a\nb
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], str(text))


def tell(text: Any) -> None:
    """Print a line to the user, beside what a verb prints as its result."""
    print(printable(text), file=sys.stderr, flush=True)


def markdown(text: Any) -> str:
    """Return a text with every character escaped that Markdown or HTML would obey."""
    line = readable(text, 2_000)
    escaped = "".join("\\" + c if c in "\\`*_{}[]#+!|~@" else c for c in line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV file: a text that a spreadsheet would calculate is marked as text.

    Examples:
        >>> csv_cell("=1+1"), csv_cell("a=1"), csv_cell(-1.5), csv_cell(None)
        ("'=1+1", 'a=1', -1.5, None)
    """
    if not isinstance(value, str):
        return value
    line = readable(value, 2_000)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def number(value: float | None, unit: str = "") -> str:
    """Return a number with the digits that a reader can use.

    Examples:
        >>> number(82.64, "%"), number(1096360, "bytes"), number(272474), number(0.70131)
        ('82.6', '1.1 MB', '272,474', '0.701')
        >>> number(4.1e7, "FLOPs"), number(None)
        ('41.0 M', '–')
    """
    if value is None:
        return MISSING
    if unit == "%":
        return f"{value:.1f}"
    if unit.startswith("bytes"):
        return _scaled(value, {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1})
    if unit == "FLOPs":
        return _scaled(value, {"G": 1e9, "M": 1e6, "k": 1e3, "": 1})
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def _scaled(value: float, sizes: dict[str, float]) -> str:
    prefix, size = next((p for p in sizes.items() if value >= p[1]), ("", 1))
    return f"{value / size:.1f} {prefix}".strip()


def duration(seconds: float) -> str:
    """Return a time with the digits that a reader can use.

    Examples:
        >>> duration(12.3), duration(600), duration(9000)
        ('12 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def named_unit(unit: str) -> str:
    """Return a unit as it follows a name: nothing if the number says it itself."""
    return "" if unit in ("", "bytes") else ", " + unit.removeprefix("bytes ")


def span(low: float | None, high: float | None, unit: str = "") -> str:
    """Return an interval, or nothing if an end is missing."""
    if low is None or high is None:
        return ""
    return f"{number(low, unit)} to {number(high, unit)}"


def listing(names: list[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


def count(value: float) -> str:
    """Return a count or a size with three digits and thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# What a count of one is followed by, in place of these.
_ONE = {"cells": "cell", "files": "file", "links": "link", "pipes": "pipe", "devices": "device"}


def counted(number: int, what: str) -> str:
    """Return a count and what is counted, of which the words are those of many.

    Examples:
        >>> counted(2, "hidden or system files"), counted(1, "links to nothing, pipes or devices")
        ('2 hidden or system files', '1 link to nothing, pipe or device')
    """
    if number == 1:
        what = re.sub(r"(?<!\.)\b[a-z]+\b", lambda word: _ONE.get(word[0], word[0]), what)
    return f"{count(number)} {what}"


def share(part: float) -> str:
    """Return a share in per cent."""
    return f"{100 * part:.1f} %"


def without_row(names: Sequence[str]) -> str:
    """Return in words that samples of these names could not be read, the first ten of them."""
    more = ", …" if len(names) > 10 else ""
    listed = ", ".join(names[:10])
    return f"{len(names)} samples could not be read and have no row: {listed}{more}"
