"""Texts in memory."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from asterism.data.source import Source, check_targets
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
        texts: Sequence[str],
        targets: Any = None,
        *,
        names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        unusable: Mapping[int, str] | None = None,
        place: str = "the data",
    ) -> None:
        """Hold the texts.

        Args:
            texts: The texts.
            targets: Class numbers, shape `(n,)`.
            names: Names of the classes.
            ids: A name for each text.
            unusable: Rows that are left out, with the reason; empty texts are found here.
            place: Where the texts are from, for messages.

        Raises:
            ValueError: If there is no text at all, or labels do not fit.
        """
        self.texts = list(texts)
        self.ids = ids
        self.place = place
        empty = {i: "no text" for i, text in enumerate(self.texts) if not text.strip()}
        self.unusable = empty | dict(unusable or {})
        if len(self.unusable) == len(self.texts):
            raise ValueError(f"{place} holds no text.")
        if targets is not None:
            self.targets, self.names = check_targets(targets, len(self.texts), names)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.texts)

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Return the texts of these rows; the unusable ones are left out and named."""
        index = torch.tensor([row for row in rows if row not in self.unusable], dtype=torch.int64)
        broken = tuple(
            f"{self.place}, row {row + 1} ({self.unusable[row]})"
            for row in rows
            if row in self.unusable
        )
        texts = [self.texts[row] for row in index.tolist()]
        return Batch((texts,), index, self._targets_of(index), broken=broken)

    def fingerprint(self) -> str:
        """Return a short hash of texts and labels."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(len(text).to_bytes(8, "little") + text.encode(errors="surrogatepass"))
        if self.targets is not None:
            digest.update(self.targets.numpy().tobytes())
        return digest.hexdigest()[:16]


def read_lines(path: Path) -> TextSource:
    """Return the lines of a plain text file, one text per line.

    Raises:
        ValueError: If the file is not UTF-8, or holds no text.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\n") for line in file]
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot read {path}: it is not UTF-8 ({error.reason}).") from error
    return TextSource(lines, place=str(path))
