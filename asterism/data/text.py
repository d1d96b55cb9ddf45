"""Texts in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asterism.data.source import Source
from asterism.data.values import read_texts
from asterism.modality import TEXT
from asterism.types import Batch


class TextSource(Source):
    """Texts, with or without labels.

    A row without a text stays a row, so that numbers of rows mean the same everywhere; it is left
    out of its batch and named in `Batch.broken`, like a picture that cannot be decoded.
    """

    modality = TEXT
    in_memory = True

    def __init__(
        self,
        texts: Sequence[Any],
        targets: Any = None,
        *,
        names: Sequence[str] | None = None,
        ids: Sequence[Any] | None = None,
        unusable: Mapping[int, str] | None = None,
        place: str = "the data",
    ) -> None:
        """Hold the texts.

        Args:
            texts: The texts; blank ones are left out.
            targets: A label for each, shape `(n,)`: class numbers or names.
            names: Names of the classes by number.
            ids: A name for each text.
            unusable: Other rows that are left out, with the reason.
            place: Where the texts are from, for messages.

        Raises:
            ValueError: If there is no text at all, or labels do not fit.
        """
        self.texts, missing = read_texts(texts)
        self.place = place
        reasons = missing | dict(unusable or {})
        self.describe(unusable=reasons, labels=targets, names=names, ids=ids)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Return the texts of these rows."""
        index = torch.tensor(rows, dtype=torch.int64)
        return Batch(([self.texts[row] for row in rows],), index, self._targets_of(index))

    def fingerprint(self) -> str:
        """Return a short hash of texts and labels."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(contents(text))
        if self.targets is not None:
            digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()[:16]


def contents(text: str) -> bytes:
    """Return what a fingerprint is made of: the length of a text, and the text."""
    return len(text).to_bytes(8, "little") + text.encode(errors="surrogatepass")


def read_lines(path: Path) -> TextSource:
    """Return the lines of a plain text file, one text per line.

    Raises:
        ValueError: If the file is not UTF-8, or holds no text.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"cannot read {path}: it is not UTF-8 ({error.reason}): save it as UTF-8."
        ) from error
    return TextSource(lines, place=str(path))
