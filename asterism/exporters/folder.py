"""The folder of an export: written beside its place, and moved there when all is well."""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from asterism.documents import read_json
from asterism.words import readable

# What an export is known by, and its card.
ACCOUNT, CARD = "export.json", "README.md"


def refuse_used(folder: Path, what: str, own: Collection[str], *, overwrite: bool) -> None:
    """Raise a ValueError if a folder holds something that may not be replaced.

    Args:
        folder: The folder, which is replaced as a whole.
        what: What is made of it, `an export` or `an index`.
        own: Names of what lies in such a folder; all else is the user's, and stays.
        overwrite: Whether an earlier one may be replaced.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file, and {what} is a folder: name another --out.")
    names = {each.name for each in folder.iterdir()}
    if foreign := sorted(names - {*own}):
        raise ValueError(
            f"{folder} holds {readable(foreign[0])}, which is no part of {what}: name another "
            "--out."
        )
    if names and not overwrite:
        raise ValueError(
            f"{folder} holds {what}: replace it with --overwrite, or name another --out."
        )


def exported_names(folder: Path) -> set[str]:
    """Return the names of what an export has in its folder, as its account has them."""
    try:
        files = read_json(folder / ACCOUNT)["files"]
        return {ACCOUNT, CARD, *(PurePosixPath(file).parts[0] for file in files)}
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return set()


@contextmanager
def written(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` when the block ends without error."""
    made = [each for each in (folder.parent, *folder.parent.parents) if not each.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        inside = temporary / folder.name
        inside.mkdir()
        yield inside
        if folder.exists():
            folder.rename(temporary / "replaced")
        for each in inside.rglob("*"):  # some libraries write for this user alone
            each.chmod(0o755 if each.is_dir() else 0o644)
        inside.chmod(0o755)
        inside.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for each in made:  # nothing is left behind where nothing was written
            with suppress(OSError):
                each.rmdir()
