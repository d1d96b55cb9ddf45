"""`push()`: an export to a model hub, and nothing else that lies beside it."""

import mmap
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePosixPath

import huggingface_hub

from asterism.documents import read_file, read_json
from asterism.exporters.account import digest_of
from asterism.exporters.folder import ACCOUNT, CARD
from asterism.exporters.front import front_of, with_front, without_front
from asterism.names import located, nothing_at
from asterism.run import EXPORTS
from asterism.words import listing, readable


@dataclass(frozen=True)
class Pushed:
    """What went to a hub, or would go.

    Attributes:
        name: The repository, ORG/NAME.
        files: Names and sizes in bytes.
        left_out: What lies in the folder and is no part of the export.
        url: Where it is now; None if nothing was sent.
        license: What the card says; None if it says none.
    """

    name: str
    files: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]
    url: str | None
    license: str | None


def push(
    export: str | Path,
    name: str,
    *,
    private: bool = False,
    license: str | None = None,
    dry_run: bool | None = None,
) -> Pushed:
    """Send an export to a repository of Hugging Face's hub.

    Only the files that `asterism export` wrote are sent, unchanged, with the card, which may have
    been edited. Data and teacher are no part of an export, and a file that names a folder of this
    machine is refused.

    Args:
        export: The folder of an export, or a run folder that holds a single one.
        name: The repository, ORG/NAME; it is made if it is not there.
        private: Whether nobody else may see it.
        license: Written into the card that is sent: apache-2.0, mit, cc-by-nc-4.0, …
        dry_run: Send nothing, and return what would be sent; by default where there is no token
            (HF_TOKEN, or `hf auth login`).

    Raises:
        FileNotFoundError: If there is no export.
        ValueError: If a file is not the one that was exported, names this machine's folders, or
            the hub refuses.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ValueError(f"a repository is named ORG/NAME; got {readable(name)}.")
    folder = _export_at(Path(located(export)))
    written = _written(folder)
    card = _card(folder, license)
    _refuse_places(folder, [*written, ACCOUNT], card)
    sizes = {each: (folder / each).stat().st_size for each in (*written, ACCOUNT)}
    there = (file for file in folder.rglob("*") if not file.is_dir())
    beside = {file.relative_to(folder).as_posix() for file in there} - {*sizes, CARD}
    token = huggingface_hub.get_token()
    send = token is not None if dry_run is None else not dry_run
    if send and token is None:
        raise ValueError("pushing needs a token: set HF_TOKEN, or `hf auth login`.")
    return Pushed(
        name=name,
        files=((CARD, len(card.encode())), *sizes.items()),
        left_out=tuple(sorted(beside)),
        url=_sent(folder, name, list(sizes), card, private=private) if send else None,
        license=front_of(card).get("license"),
    )


def _export_at(place: Path) -> Path:
    """Return the folder of an export: itself, or the only one of a run."""
    if (place / ACCOUNT).is_file():
        return place
    if not place.exists():
        raise FileNotFoundError(f"{nothing_at(place)}: name an export, or a run that has one.")
    found = sorted(file.parent for file in (place / EXPORTS).glob(f"*/{ACCOUNT}"))
    found = found or sorted(file.parent for file in place.glob(f"*/{ACCOUNT}"))
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{place} holds several exports: name {listing(list(map(str, found)))}.")
    raise FileNotFoundError(f"{place} holds no export: `asterism export {place} --to …` makes one.")


def _written(folder: Path) -> list[str]:
    """Return the names of the files that the export wrote, which are there as they were."""
    try:
        files = read_json(folder / ACCOUNT)["files"]
        names = {str(each): str(digest) for each, digest in files.items()}
    except (AttributeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{folder / ACCOUNT} does not say which files are the export's: export again."
        ) from error
    for each, digest in names.items():
        file, parts = folder / each, PurePosixPath(each).parts
        inside = not PurePosixPath(each).is_absolute() and ".." not in parts
        linked = any((folder / Path(*parts[: i + 1])).is_symlink() for i in range(len(parts)))
        if not (inside and not linked and file.is_file() and digest_of(file) == digest):
            raise ValueError(
                f"{readable(file, 200)} is not the file that was exported: export again, and push "
                "what was compared with the student."
            )
    return list(names)


def _card(folder: Path, license: str | None) -> str:
    """Return the card, with a licence if one is named."""
    card = read_file(folder / CARD).decode("utf-8")
    if license is None:
        return card
    front = {"license": license} | {k: v for k, v in front_of(card).items() if k != "license"}
    return with_front(front, without_front(card))


def _refuse_places(folder: Path, files: Iterable[str], card: str) -> None:
    """Raise a ValueError if something that would be sent names a folder of this machine."""
    places = {Path.home(), Path.cwd(), folder.resolve().parent}
    secrets = [f"{place}{os.sep}".encode() for place in places if len(place.parts) > 1]
    for secret in secrets:
        found = CARD if secret in card.encode() else None
        for each in () if found else files:
            with open(folder / each, "rb") as file:
                if not os.fstat(file.fileno()).st_size:
                    continue
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    found = each if content.find(secret) >= 0 else found
        if found:
            raise ValueError(
                f"{folder / found} names a folder of this machine, {secret.decode()}…, which is "
                "nobody else's business: take it out."
            )


def _sent(folder: Path, name: str, files: Sequence[str], card: str, *, private: bool) -> str:
    """Make the repository if it is not there, send the files in one commit; return its address."""
    add = huggingface_hub.CommitOperationAdd
    operations = [add(CARD, card.encode()), *(add(each, folder / each) for each in files)]
    api = huggingface_hub.HfApi(library_name="asterism", library_version=version("asterism"))
    try:
        address = api.create_repo(name, private=private, exist_ok=True)
        if private and not api.repo_info(name).private:  # it was there before
            raise ValueError(f"{name} is there and public: make it private first, or name another.")
        api.create_commit(
            name, operations, commit_message=f"Exported by asterism {version('asterism')}"
        )
    except ValueError:
        raise
    except Exception as error:  # of the library, and of the one that it speaks HTTP with
        reason = readable(" ".join(str(error).split()), 300).rstrip(".")
        raise ValueError(f"{name} was not pushed: {reason}.") from error
    return str(address)
