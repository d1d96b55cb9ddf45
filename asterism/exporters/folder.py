"""The folder of an export: written beside its place, and moved there when all is well."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What an export is known by, and its card.
ACCOUNT, CARD = "export.json", "README.md"


def refuse_used(folder: Path, *, overwrite: bool) -> None:
    """Raise a ValueError if a folder holds something that may not be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / ACCOUNT).is_file():
        raise ValueError(f"{folder} is there and is no export: name another --out.")
    if not overwrite:
        raise ValueError(
            f"{folder} holds an export: replace it with --overwrite, or name another --out."
        )


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
