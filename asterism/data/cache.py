"""The teacher's outputs on the training views, kept on disk and computed once."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism.types import Outputs, Samples


class TeacherCache:
    """A table of outputs by view number and sample, filled as they are asked for.

    Views are pure functions of (view seed, sample, view number), so what a teacher returns on
    them is one too: the second run over the same views, with any student, method or seed, never
    runs the teacher. The folder holds one table per key; the key hashes all that the outputs
    depend on, so a cache is never wrong, only new.

    Attributes:
        computed: Rows that the teacher had to compute in this process.
        found: Rows that were there.
    """

    def __init__(self, folder: Path, key: dict[str, Any], *, rows: int, like: Outputs) -> None:
        """Open the table, or make it.

        Args:
            folder: Where tables are kept.
            key: All that the outputs depend on (teacher, data, views), as plain values.
            rows: Number of samples of the source.
            like: Outputs of the teacher on any samples, for their widths.
        """
        text = json.dumps(key, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "key.json").write_text(text + "\n")
        self.rows, self.dim = rows, like.embedding.shape[1]
        self.classes = 0 if like.logits is None else like.logits.shape[1]
        self.view = -1
        self.computed = self.found = 0

    def outputs(
        self, view: int, index: Tensor, compute: Callable[[Samples], Outputs], samples: Samples
    ) -> Outputs:
        """Return the teacher's outputs on one view of some samples, computing what is missing.

        Args:
            view: Number of the view.
            index: Rows of the samples, shape `(n,)`.
            compute: The teacher.
            samples: The views themselves.
        """
        rows = index.cpu().numpy()
        if view != self.view:
            self._open(view)
        missing = np.flatnonzero(self.filled[rows] == 0)
        if len(missing):
            if isinstance(samples, Tensor):
                made = compute(samples[torch.from_numpy(missing).to(samples.device)])
            else:
                made = compute([samples[i] for i in missing])
            parts = [made.embedding] if made.logits is None else [made.embedding, made.logits]
            self.table[rows[missing]] = torch.cat(parts, 1).float().cpu().numpy()
            # Marked only after the row is there: an interruption costs work, never correctness.
            self.filled[rows[missing]] = 1
        self.computed += len(missing)
        self.found += len(rows) - len(missing)
        known = torch.from_numpy(self.table[rows]).to(index.device)
        return Outputs(known[:, : self.dim], known[:, self.dim :] if self.classes else None)

    def _open(self, view: int) -> None:
        """Open the files of one view number; those of the last one are closed."""
        # One pair per view number: runs of different length share them. Sparse until filled.
        shape = (self.rows, self.dim + self.classes)
        self.table = _mapped(self.folder / f"view-{view}.f32", np.float32, shape)
        self.filled = _mapped(self.folder / f"view-{view}.filled", np.uint8, shape[:1])
        self.view = view


def _mapped(path: Path, dtype: type, shape: tuple[int, ...]) -> "np.memmap[Any, Any]":
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with open(path, "ab") as file:
        if file.tell() < size:
            file.truncate(size)
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)
