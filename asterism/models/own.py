"""The user's own code: factories imported, objects named, their errors in one sentence."""

import importlib.util
import sys
import sysconfig
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asterism.models.adapt import OutputError
from asterism.names import is_own

# Frames in here are not the user's: asterism, the standard library, installed packages.
_OTHERS = tuple({str(Path(__file__).parents[1]), *sysconfig.get_paths().values(), "<"})


def import_factory(name: str) -> Callable[..., Any]:
    """Import `path/to/file.py:factory`. This runs the file: it is the user's own code.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If running the file fails, or it defines no such factory.
    """
    file, _, attribute = name.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}.")
    # Known to Python under a name of its own: dataclasses look their module up, and a file may be
    # called like a library.
    own = f"{path.stem}_{zlib.crc32(bytes(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(own, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"cannot import {path}.")
    module = sys.modules[own] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[own]
        raise ValueError(f"cannot import {path}: {in_words(error)}.") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ValueError(f"{path} has no factory {attribute!r}.")
    return factory  # type: ignore[no-any-return]


@contextmanager
def in_own_code(part: object) -> Iterator[None]:
    """Make one sentence of an error in an object of the user's own; of ours it shows whole."""
    try:
        yield
    except ValueError:  # a sentence already
        raise
    except Exception as error:
        if not is_own(part):
            raise
        raise ValueError(f"{type(part).__name__} failed: {in_words(error)}.") from error


def in_words(error: Exception) -> str:
    """Return an error as its kind and message, with the last line of the user's that led to it."""
    if isinstance(error, OutputError):  # a sentence already
        return str(error).rstrip(".")
    message = f"{type(error).__name__}: {' '.join(str(error).split()).rstrip('.')}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if not frame.filename.startswith(_OTHERS)]
    return f"{message} ({lines[-1].filename}, line {lines[-1].lineno})" if lines else message
