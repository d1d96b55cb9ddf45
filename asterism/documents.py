"""Files of people's: read within bounds, YAML and JSON as plain values alone; replaced whole.

What runs, repeats itself without end or would fill the memory is refused in a sentence, so that
whoever reads a document can walk over it without a thought.
"""

import json
import os
import re
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

# More than any settings have, and than any result: hours of reading, and memory, are saved.
MOST_YAML = 2**20
MOST_JSON = 2**26
MOST_BYTES = 2**28
MOST_VALUES = 20_000
DEEPEST = 64
# The largest whole number that can be a seed or a count anywhere.
LARGEST = 2**64


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a regular file of at most so many bytes; a pipe would wait for ever.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no file, or too long; the message says why, and not which.
    """
    # Without waiting: opening a pipe that nobody writes into would never come back.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        _refuse_irregular(os.fstat(handle).st_mode)
    except ValueError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it has more than {most / 2**20:.0f} MB, more than such a file has")
    return content


def refuse_irregular(path: Path) -> None:
    """Raise a ValueError if something is there that is no file: a pipe would be waited for.

    For files whose own libraries open them; what else is read goes through `read_file`.
    """
    if path.exists():
        _refuse_irregular(path.stat().st_mode)


def _refuse_irregular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise ValueError(f"it is {what}, and a file is needed")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds; raises as `read_file`."""
    return _mapping(parse_json(read_file(path, MOST_JSON)))


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; raises as `read_file`."""
    return parse_yaml(read_file(path, MOST_YAML))


def parse_yaml(content: bytes) -> dict[str, Any]:
    """Return the mapping that YAML says; raises as `parse_json`."""
    try:
        # utf-8-sig: some editors begin a file with a mark.
        value = _Loader(content.decode("utf-8-sig")).get_single_data()
    # Tags on what they do not fit raise many kinds of errors.
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error
    _refuse_unplain(value)
    return _mapping(value)


def parse_json(content: bytes | str) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: If it is damaged, or exceeds what such a document may have.
    """
    try:
        value = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {DEEPEST} levels") from error
    _refuse_unplain(value)
    return value


@contextmanager
def replacing(path: Path, *, within: Path | None = None) -> Iterator[Path]:
    """Give a temporary path beside one, which takes its place when all has been written.

    A link is replaced, and what it leads to is left as it is. `within` is another folder of the
    same file system for the temporary file.
    """
    handle, temporary = tempfile.mkstemp(dir=within or path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def as_yaml(value: dict[str, Any]) -> str:
    """Return a mapping of plain values as YAML that `read_yaml` reads back as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("it holds no names with values")
    return value


def _refuse_unplain(value: Any) -> None:
    """Raise a ValueError for what no document of ours holds."""
    waiting = [(value, 1)]
    while waiting:
        each, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        if isinstance(each, dict | list):
            inner = each.values() if isinstance(each, dict) else each
            waiting += [(x, depth + 1) for x in inner]
        elif isinstance(each, int) and abs(each) >= LARGEST:
            raise ValueError("a number in it is too large")
        elif each is not None and not isinstance(each, bool | int | float | str):
            raise ValueError(f"it holds a {type(each).__name__}, which is no plain value")


# Numbers as JSON and Python write them (1e-3 is one); a date is a text.
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_OTHERS = {f"tag:yaml.org,2002:{kind}" for kind in ("float", "timestamp", "value")}
_RESOLVERS = {
    first: [(tag, form) for tag, form in forms if tag not in _OTHERS]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "-+0123456789.":
    _whole = re.compile(rf"(?:{_FLOAT.pattern})\Z")
    _RESOLVERS[_first] = [("tag:yaml.org,2002:float", _whole), *_RESOLVERS.get(_first, [])]


class _Loader(yaml.SafeLoader):
    """Reads plain values; refuses a name that stands twice, of which YAML keeps the last."""

    yaml_implicit_resolvers = _RESOLVERS

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.depth = 0
        # Of each node, by its identity: values with all that aliases repeat, and levels.
        self.extent: dict[int, tuple[int, int]] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        repeated = self.check_event(yaml.AliasEvent)
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested deeper than {DEEPEST} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if node is None:
            return node
        if repeated and id(node) not in self.extent:
            raise yaml.YAMLError("an alias in it stands for what it is a part of")
        if not repeated:
            inner = [self.extent[id(each)] for each in _inside(node)]
            values = 1 + sum(values for values, _ in inner)
            levels = 1 + max((levels for _, levels in inner), default=0)
            self.extent[id(node)] = values, levels
        values, levels = self.extent[id(node)]
        if values > MOST_VALUES or levels > DEEPEST:
            raise yaml.YAMLError(
                f"with what its aliases repeat it has more than {MOST_VALUES:,} values or "
                f"{DEEPEST} levels"
            )
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if not all(isinstance(name, str) for name in names):
            raise yaml.YAMLError("a name in it is a list or a mapping")
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"{twice[0]!r} stands twice in the mapping from line {line} on")
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge":
                key.tag = "tag:yaml.org,2002:str"  # a name is a text, whatever it looks like
        return super().construct_mapping(node, deep)


def _inside(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader would take for something else, and never repeats by an alias."""

    yaml_implicit_resolvers = _RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:
        return True
