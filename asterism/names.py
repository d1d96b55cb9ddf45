"""Names: with arguments, `NAME?key=value&key=value`, and of objects."""

from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote


def split_name(text: str) -> tuple[str, dict[str, str]]:
    """Return a name and its arguments.

    An argument may hold `&` as `%26`. Nothing else is a URL here: `+` stays what it is.

    Raises:
        ValueError: If an argument has no value: left out, it would mean the default.

    Examples:
        >>> split_name("resnet20?weights=a+b.safetensors&width=8")
        ('resnet20', {'weights': 'a+b.safetensors', 'width': '8'})
    """
    base, _, query = text.partition("?")
    arguments = {}
    for argument in filter(None, query.split("&")):
        key, _, value = argument.partition("=")
        if not key or not value:
            raise ValueError(
                f"the argument {argument!r} of {text} has no value: write {base}?key=value, "
                "several arguments joined by &, or leave it out."
            )
        arguments[unquote(key)] = unquote(value)
    return base, arguments


def joined_name(base: str, arguments: dict[str, str]) -> str:
    """Return the name that `split_name` takes apart into these."""
    query = "&".join(f"{quote(key)}={quote(value)}" for key, value in arguments.items())
    return f"{base}?{query}" if query else base


def as_text(value: Any) -> str:
    """Return a name as it is, and a Python object by the qualified name of what it is."""
    if isinstance(value, str | Path):
        return str(value)
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"python:{kind.__module__}.{kind.__qualname__}"


def is_own(part: object) -> bool:
    """Return whether an object's class is the user's own, not asterism's."""
    return type(part).__module__.partition(".")[0] != "asterism"


def is_own_code(name: str) -> bool:
    """Return whether a name is that of a user's own code, a file's factory or a Python object."""
    return ".py:" in name.partition("?")[0] or name.startswith("python:")
