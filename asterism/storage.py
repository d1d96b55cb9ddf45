"""Places: files and folders of this machine, or of a store that fsspec opens.

The only module that knows fsspec. A file appears under its name when it is whole, or not at all:
here it is written beside and renamed, on a store it is put, which is atomic by itself. What is read
from a store is fetched first; nothing of it stays on this machine.
"""

import importlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from asterism.documents import MOST_BYTES, read_file, replacing
from asterism.names import is_store
from asterism.words import readable

# Stores that give single files, and take none.
READ_ONLY = ("http", "https")
# Folders within a folder of ours: links in a stranger's may lead round and round.
DEEPEST = 3


@dataclass(frozen=True)
class Remote:
    """A file or folder of a store: of `pathlib.Path` what names another one.

    Attributes:
        url: Where it is, as `s3://bucket/folder`.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Remote":
        return Remote(f"{self.url.rstrip('/')}/{name}")

    @property
    def protocol(self) -> str:
        """Return what kind of store it is on."""
        return self.url.partition(":")[0]

    @property
    def name(self) -> str:
        """Return the last part."""
        return PurePosixPath(self.url).name

    @property
    def stem(self) -> str:
        """Return the last part without its ending."""
        return PurePosixPath(self.url).stem

    @property
    def suffix(self) -> str:
        """Return the ending of the last part, with its dot."""
        return PurePosixPath(self.url).suffix

    def with_name(self, name: str) -> "Remote":
        """Return what is so called in the same folder."""
        return Remote(f"{self.url.rstrip('/').rpartition('/')[0]}/{name}")

    @contextmanager
    def reached(self) -> Iterator[tuple[Any, str]]:
        """Give the store and the path on it; what goes wrong there is said in words.

        Raises:
            FileNotFoundError: If there is nothing.
            OSError: If the store does not answer, or refuses.
        """
        try:
            store, path = importlib.import_module("fsspec.core").url_to_fs(self.url)
            # Others write there, too: what was listed before is not believed.
            store.invalidate_cache()
            yield store, path
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is nothing at {self.url}.") from error
        except Exception as error:  # of many kinds, those of each store's own library
            why = readable(str(error) or type(error).__name__, 200)
            raise OSError(f"{self.url} cannot be had: {why}.") from error


Place = Path | Remote


def place(name: str | Path) -> Place:
    """Return the place that a name means."""
    return Remote(str(name)) if is_store(str(name)) else Path(name)


def is_file(file: Place) -> bool:
    """Return whether there is a file."""
    if isinstance(file, Path):
        return file.is_file()
    try:
        with file.reached() as (store, path):
            return bool(store.info(path)["type"] == "file")
    except FileNotFoundError:
        return False


def is_there(file: Place) -> bool:
    """Return whether there is anything: a file, or what is in the way of one."""
    return file.exists() if isinstance(file, Path) else is_file(file)


def listed(folder: Place) -> dict[str, int]:
    """Return the sizes of the files below a folder, by their path in it; by one listing.

    Raises:
        OSError: If the store does not answer, or lists nothing by its nature.
    """
    if isinstance(folder, Path):
        return dict(_below(folder, DEEPEST))
    if folder.protocol in READ_ONLY:
        raise ValueError(f"{folder} is on a store that gives single files, and lists none.")
    try:
        with folder.reached() as (store, path):
            found = store.find(path, detail=True).items()
    except FileNotFoundError:
        return {}
    base = path.strip("/")
    return {name.strip("/")[len(base) + 1 :]: int(about["size"]) for name, about in found}


def _below(folder: Path, levels: int, name: str = "") -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if levels:
                        yield from _below(Path(entry.path), levels - 1, f"{name}{entry.name}/")
                else:
                    with suppress(FileNotFoundError):  # another process has just renamed it
                        yield name + entry.name, entry.stat().st_size
    except FileNotFoundError:
        return


def read(file: Place, most: int = MOST_BYTES) -> bytes:
    """Return the contents of a file of at most so many bytes; raises as `read_file`."""
    if isinstance(file, Path):
        return read_file(file, most)
    with file.reached() as (store, path):
        size = store.size(path)
        content = None if size and size > most else bytes(store.cat_file(path))
    if content is None or len(content) > most:
        raise ValueError(f"it has more than {most / 2**20:.0f} MB, more than such a file has")
    return content


@contextmanager
def opened(file: Place) -> Iterator[Path]:
    """Give a file as one of this machine: itself, or a copy that is removed afterwards.

    What is memory-mapped of a copy lives as long as it is used.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If the store does not answer.
    """
    if isinstance(file, Path):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="asterism-", ignore_cleanup_errors=True) as folder:
        copy = Path(folder) / file.name
        with file.reached() as (store, path):
            store.get_file(path, str(copy))
        try:
            yield copy
        except ValueError as error:  # what is wrong with it is said of what the user named
            raise ValueError(str(error).replace(str(copy), file.url)) from error


def stream(file: Place) -> Any:
    """Return what pyarrow reads parts of a file by: its path, or a stream on the store."""
    if isinstance(file, Path):
        return str(file)
    with file.reached() as (store, path):
        return store.open(path, "rb")


def made(folder: Place) -> Place:
    """Make a folder if it is not there; on a store folders are parts of names."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    else:
        _refuse_read_only(folder)
    return folder


def write(file: Place, content: bytes) -> None:
    """Write a file, so that under its name there is never a part of it.

    Raises:
        OSError: If the disk is full, or the store refuses.
        ValueError: If the store takes no files.
    """
    if isinstance(file, Remote):
        _refuse_read_only(file)
        with file.reached() as (store, path):
            store.pipe_file(path, content)
        return
    unfinished = file.with_name(f".{file.name}")
    unfinished.unlink(missing_ok=True)  # of a killed process, or a stranger's link
    with open(unfinished, "wb") as to:
        to.write(content)
        to.flush()
        os.fsync(to.fileno())
    os.replace(unfinished, file)


@contextmanager
def writing(file: Place, *, within: Place | None = None) -> Iterator[Path]:
    """Give a path of this machine whose file takes its place when all has been written.

    Args:
        file: The place.
        within: As for `replacing`, where the place is on this machine.
    """
    if isinstance(file, Path):
        with replacing(file, within=within if isinstance(within, Path) else None) as unfinished:
            yield unfinished
        return
    _refuse_read_only(file)
    with tempfile.TemporaryDirectory(prefix="asterism-") as folder:
        yield Path(folder) / file.name
        with file.reached() as (store, path):
            store.put_file(str(Path(folder) / file.name), path)


def remove(folder: Place) -> None:
    """Remove a folder and all that is in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder)
        return
    with folder.reached() as (store, path):
        store.rm(path, recursive=True)


def locked(file: Place) -> AbstractContextManager[object]:
    """Return the lock of a file of this machine; stores have none, and nothing that needs one."""
    return FileLock(file) if isinstance(file, Path) else nullcontext()


def free_bytes(folder: Place) -> int | None:
    """Return what is free on the disk of a folder, which is there; None for a store."""
    return shutil.disk_usage(folder).free if isinstance(folder, Path) else None


def _refuse_read_only(place: Remote) -> None:
    if place.protocol in READ_ONLY:
        raise ValueError(f"{place} is only read: {place.protocol} takes no files. Name another.")
