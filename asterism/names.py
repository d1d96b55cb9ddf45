"""Names with arguments: `NAME?key=value&key=value`."""

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
    found = {}
    for argument in filter(None, query.split("&")):
        key, _, value = argument.partition("=")
        if not key or not value:
            raise ValueError(
                f"the argument {argument!r} of {text} has no value: write {base}?key=value, "
                "several arguments joined by &, or leave it out."
            )
        found[unquote(key)] = unquote(value)
    return base, found


def joined_name(base: str, arguments: dict[str, str]) -> str:
    """Return the name that `split_name` takes apart into these."""
    query = "&".join(f"{quote(key)}={quote(value)}" for key, value in arguments.items())
    return f"{base}?{query}" if query else base
