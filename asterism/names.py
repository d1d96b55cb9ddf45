"""Names: with arguments, `NAME?key=value&key=value`, of places, of objects, and those meant."""

import difflib
import importlib.util
import os
import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any, overload
from urllib.parse import quote, unquote

# An absolute path within a name, and its last part.
_ABSOLUTE = re.compile(r"(?<![\w.~%])(?:~|[A-Za-z]:)?[/\\](?:[^/\\?&=:]+[/\\])*([^/\\?&=]+)")

# Standard archives (`asterism.data.archives`), named as `cub:PATH`.
ARCHIVES = frozenset(
    "cifar10 cifar100 mnist svhn stl10 cub cars sop in-shop omniglot tiny-imagenet mini-imagenet "
    "imagenet pets flowers".split()
)


# Stores by the protocol of their names, with what opens them and the extra that brings it.
STORES = {
    "s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs"), "gcs": ("gcsfs", "gs"), "az": ("adlfs", "az"),
    "abfs": ("adlfs", "az"), "abfss": ("adlfs", "az"), "hf": ("huggingface_hub", "hf"),
    "http": ("aiohttp", "http"), "https": ("aiohttp", "http"), "memory": ("fsspec", "http"),
}  # fmt: skip

# What stands between the names of several teachers in one text.
SEVERAL = " + "


def each_name(name: Any) -> list[Any]:
    """Return the names in a list, or in a text that joins them by ` + `; one name is a list of one.

    Examples:
        >>> each_name("runs/a + resnet20?weights=b"), each_name("runs/a")
        (['runs/a', 'resnet20?weights=b'], ['runs/a'])
    """
    if isinstance(name, list | tuple):
        return list(name)
    if not isinstance(name, str) or SEVERAL not in name or os.path.lexists(name):
        return [name]
    return name.split(SEVERAL)


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


# What a name begins with that means a place elsewhere.
_PROTOCOL = re.compile(
    r"(?:[\w.-]+@)?([A-Za-z][A-Za-z0-9+.-]+):(?=/)"
    r"|(s3|gs|gcs|az|abfss?|hdfs|https?|ftp|sftp|ssh|hf|file):"
)
# Arguments of models that are names of files.
_FILES = ("weights", "tokenizer")


@overload
def located(name: str, *, several: bool = ..., stores: bool = ...) -> str: ...
@overload
def located(name: Path, *, several: bool = ..., stores: bool = ...) -> Path: ...
@overload
def located(name: str | Path, *, several: bool = ..., stores: bool = ...) -> str | Path: ...
def located(name: str | Path, *, several: bool = False, stores: bool = False) -> str | Path:
    """Return a name of a user's with `~` written out: the one door for paths.

    Models, data and folders are named alike, and what they are is found out later; a name that can
    be none where it stands is refused here.

    Args:
        name: The name.
        several: Whether it may be of several, as that of teachers (`each_name`).
        stores: Whether a place on a store (`STORES`) may stand here.

    Raises:
        ValueError: If it names another machine, a variable of a shell or a home that there is not.

    Examples:
        >>> located("runs/first"), located("resnet20?width=8"), located("hf/org/name")
        ('runs/first', 'resnet20?width=8', 'hf/org/name')
    """
    if several and len(names := each_name(name)) > 1:
        return SEVERAL.join(located(each, stores=stores) for each in names)
    base, question, query = str(name).partition("?")
    parts = query.split("&") if question else []
    for i, (key, sign, value) in enumerate(part.partition("=") for part in parts):
        if key in _FILES or value.startswith("~/"):
            parts[i] = key + sign + _at_home(value)
    kind, place = split_archive(base)
    whole = kind + _at_home(place, stores=stores and not kind) + question + "&".join(parts)
    return Path(whole) if isinstance(name, Path) else whole


def is_store(name: str) -> bool:
    """Return whether a name is that of a place on a store.

    Examples:
        >>> is_store("s3://bucket/x.csv"), is_store("s3:/bucket"), is_store("ftp://host/x")
        (True, False, False)
    """
    protocol, sign, _ = name.partition("://")
    return bool(sign) and protocol in STORES


def split_archive(base: str) -> tuple[str, str]:
    """Return what stands before the place of a standard archive, and the place.

    Examples:
        >>> split_archive("cub:data/birds"), split_archive("data/birds")
        (('cub:', 'data/birds'), ('', 'data/birds'))
    """
    kind, colon, place = base.partition(":")
    return (f"{kind}:", place) if colon and kind in ARCHIVES else ("", base)


def _at_home(text: str, *, stores: bool = False) -> str:
    """Return a path with the home folder written out, if it is one where it may be."""
    if "\0" in text:
        raise ValueError(f"{text!r} holds a character that no path has.")
    if (match := _PROTOCOL.match(text)) and (match[1] or not os.path.lexists(text)):
        _refuse_elsewhere(text, match[1] or match[2], stores)
    if re.search(r"\$\{?[A-Za-z_]", text) and not os.path.lexists(text):
        raise ValueError(
            f"{text} holds a variable, which only a shell writes out: write the path itself."
        )
    if not text.startswith("~") or os.path.lexists(text):
        return text
    placed = os.path.expanduser(text)
    if placed.startswith("~"):
        raise ValueError(
            f"{text} begins with a home folder that there is not: write the path itself, or "
            f"./{text} for a name that begins with ~."
        )
    return placed


def _refuse_elsewhere(text: str, protocol: str, stores: bool) -> None:
    """Raise a ValueError for a place elsewhere, unless it is on a store that can be opened."""
    known = protocol.lower() in STORES
    if stores and known and not is_store(text):
        raise ValueError(
            f"{text} is a place on {protocol}:, and no whole one: write "
            f"{protocol.lower()}://PLACE, as a text."
        )
    if stores and known:
        library, extra = STORES[protocol.lower()]
        if importlib.util.find_spec(library) is None:
            raise ValueError(
                f"{text} is a place on {protocol}:, which needs {library}: "
                f"pip install 'asterism[{extra}]'."
            )
        return
    here = "only folders and files of this machine are read and written here"
    if stores:
        places = ", ".join(f"{each}:" for each in STORES)
        here = f"only this machine and {places} are read and written"
    way_out = {
        "hf": "write hf/NAME for what Hugging Face has",
        "file": "write the path itself",
    }.get(protocol.lower(), "copy it to this machine, or mount it, and name the path here")
    raise ValueError(f"{text} is a place on {protocol}:, and {here}: {way_out}.")


def resolved(name: str, *, several: bool = False) -> str:
    """Return a name that means the same from any folder: its paths, as far as they are there.

    `digits` means the built-in data, whatever else is called so.

    Args:
        name: The name.
        several: Whether it may be of several, as that of teachers (`each_name`).
    """
    if several and len(names := each_name(name)) > 1:
        return SEVERAL.join(resolved(each) for each in names)
    base, given = split_name(name)
    kind, place = split_archive(base)
    if base != "digits" and os.path.exists(place):
        base = kind + os.path.abspath(place)
    for key in _FILES:
        if os.path.exists(given.get(key, "")):
            given[key] = os.path.abspath(given[key])
    return joined_name(base, given)


def part_of(part: str, count: int) -> range:
    """Return which of so many things in a row the part `i/n` is: n parts are all of them.

    Raises:
        ValueError: If the text names no part.

    Examples:
        >>> part_of("1/1", 7), part_of("2/3", 7)
        (range(0, 7), range(2, 4))
    """
    number, slash, of = part.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 0 < int(number) <= int(of)):
        raise ValueError(f"--part is i/n with i from 1 to n, as 2/4; got {part}.")
    return range((int(number) - 1) * count // int(of), int(number) * count // int(of))


def file_name(text: str) -> str:
    """Return a name as that of a file or a folder: letters, digits and dashes.

    Examples:
        >>> file_name("RKD + KD, 2×"), file_name("../x[/b]")
        ('rkd-kd-2', 'x-b')
    """
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def as_text(value: Any) -> str:
    """Return a name as it is, and a Python object by the qualified name of what it is."""
    if isinstance(value, str | Path):
        return str(value)
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"python:{kind.__module__}.{kind.__qualname__}"


def all_as_text(names: Any) -> str:
    """Return one name, or several as `each_name` takes them apart, in one text."""
    return SEVERAL.join(as_text(each) for each in each_name(names))


def portable(name: str) -> str:
    """Return a name without this machine's folders: of an absolute path its last part.

    Examples:
        >>> portable("/home/me/net.py:make?weights=/data/a.safetensors"), portable("hf//m/bert")
        ('net.py:make?weights=a.safetensors', 'hf/bert')
    """
    return _ABSOLUTE.sub(r"\1", name)


def is_own(part: object) -> bool:
    """Return whether an object's class is the user's own, not asterism's."""
    return type(part).__module__.partition(".")[0] != "asterism"


def is_own_code(name: str) -> bool:
    """Return whether a name is that of a user's own code, a file's factory or a Python object."""
    own = (
        ".py:" in each.partition("?")[0] or each.startswith("python:") for each in each_name(name)
    )
    return any(own)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, whatever its case; None if none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    typed = name.lower()

    def likeness(candidate: str) -> tuple[float, int]:
        # Of equally near ones that which begins alike: resnet2O is resnet20, not resnet32.
        ratio = difflib.SequenceMatcher(None, candidate, typed).ratio()
        pairs = enumerate(zip(candidate, typed, strict=False))
        return ratio, next((i for i, (a, b) in pairs if a != b), len(candidate))

    near = difflib.get_close_matches(typed, by_lower, 5)
    return by_lower[max(near, key=likeness)] if near else None


def meant(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean …?)` with the nearest of the known names, or nothing if none is near.

    Examples:
        >>> meant("resnet2O", ["resnet20", "mlp"]), meant("x", ["resnet20"])
        (' (did you mean resnet20?)', '')
    """
    near = nearest(name, known)
    return f" (did you mean {near}?)" if near else ""


def choices(name: str, known: Iterable[str]) -> str:
    """Return the names to choose from, and the one that was probably meant."""
    known = list(known)
    return f"choose from {', '.join(known)}{meant(name, known)}."


def refuse_arguments(base: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ValueError for the first argument of `NAME?key=value` that the name does not take.

    Args:
        base: The name.
        given: The arguments that it was given.
        known: Those that it takes.
    """
    known = list(known)
    for key in given:
        if key not in known:
            raise ValueError(
                f"{base} takes no argument {key!r}{meant(key, known)}: it takes "
                f"{', '.join(known) or 'none'}."
            )


def is_path(text: str) -> bool:
    """Return whether a text can only be meant as a path: of a file, a folder or a `file.py:f`.

    Examples:
        >>> [is_path(x) for x in ("runs/a", "~/a", "a.npz", "m.py:f", "resnet20", "wrn-16-2")]
        [True, True, True, True, False, False]
    """
    file = text.partition("?")[0].partition(":")[0]
    return file.startswith(("~", ".")) or "/" in file or os.sep in file or bool(Path(file).suffix)


def nothing_at(path: str | Path) -> str:
    """Return in words that there is nothing at a path, and what beside it was probably meant."""
    path = Path(path)
    if path.parent != path and not path.parent.exists():
        return nothing_at(path.parent)
    try:
        with os.scandir(path.parent) as entries:
            beside = [entry.name for entry in islice(entries, 1_000)]
    except OSError:
        beside = []
    near = nearest(path.name, beside)
    hint = f" (did you mean {path.with_name(near)}?)" if near else ""
    return f"there is nothing at {path}{hint}"
