"""A sample of the evaluation data for `evaluation.npz` (docs/measures.md has the schema)."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.assess.seeing import Seen
from asterism.augment import to_float
from asterism.data import Source
from asterism.evaluate import neighbourhoods, principal_components, procrustes
from asterism.evaluate.estimate import SEED
from asterism.evaluate.neighbours import nearest
from asterism.evaluate.pairs import distances, pairs_of

Arrays = dict[str, npt.NDArray[Any]]
ROWS = 2_000
NEIGHBOURS = 20
PAIRS = 5_000
THUMBNAIL = 64
# Longest name or text kept: an array of texts takes the length of the longest for each.
CHARACTERS = 1_000


def sample(source: Source, student: Seen, teacher: Seen | None) -> Arrays:
    """Return the arrays of `evaluation.npz`.

    Args:
        source: Where the evaluation rows are.
        student: What the student makes of them.
        teacher: What the teacher makes of them, or None.
    """
    n = len(student.index)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    rows = order[:ROWS].sort().values
    index = student.index[rows]
    ours = student.outputs.embedding[rows]
    arrays: Arrays = {"row": index.numpy(), **_shown(source, index)}
    if student.target is not None:
        arrays["target"] = student.target[rows].numpy()
        arrays["class_names"] = np.array(source.names)
    arrays["student_embedding"] = _compact(ours)
    flat = _map(ours)
    pairs = pairs_of(len(rows), PAIRS)
    if teacher is None:
        near = nearest(ours, k=NEIGHBOURS)
        return {
            **arrays,
            "student_neighbours": near.int().numpy(),
            "student_map": flat.float().numpy(),
            "pair_distance_student": _relative(distances(ours, pairs)),
        }
    theirs = teacher.outputs.embedding[rows]
    found = neighbourhoods(ours, theirs, k=NEIGHBOURS)
    depth = found.student.shape[1]
    none = torch.empty(len(rows), 0)  # of a single row, which has no neighbours
    shared = [none, *(found.overlap(k)[:, None] for k in range(1, depth + 1))]
    target = _map(theirs)
    return {
        **arrays,
        "teacher_embedding": _compact(theirs),
        "student_neighbours": found.student.int().numpy(),
        "teacher_neighbours": found.teacher.int().numpy(),
        "overlap": torch.cat(shared, 1).half().numpy(),
        # Turned, not sheared: side by side the maps should differ only where the embeddings do.
        "student_map": procrustes(flat, target)(flat).float().numpy(),
        "teacher_map": target.float().numpy(),
        "pair_distance_student": _relative(distances(ours, pairs)),
        "pair_distance_teacher": _relative(distances(theirs, pairs)),
    }


def changed_most(
    arrays: Mapping[str, npt.NDArray[Any]], *, number: int = 10
) -> list[dict[str, Any]]:
    """Return the samples that share fewest of their ten nearest neighbours with the teacher."""
    if "overlap" not in arrays or arrays["overlap"].shape[1] < 10:
        return []
    shared = arrays["overlap"][:, 9]
    worst = np.argsort(shared, kind="stable")[:number]
    return [
        {
            "row": int(arrays["row"][i]),
            "name": str(arrays["name"][i]),
            "overlap": round(float(shared[i]), 4),
        }
        for i in worst
    ]


def _compact(rows: Tensor) -> npt.NDArray[Any]:
    """Return rows of mean square 1 in half precision: no embedding overflows it."""
    size = rows.double().square().mean().sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    return (rows.double() / size).half().numpy()


def _map(rows: Tensor) -> Tensor:
    """Return the two directions of largest variance, `(n, 2)`."""
    plane = principal_components(rows, 2)(rows.double())
    return F.pad(plane, (0, 2 - plane.shape[1]))


def _relative(values: Tensor) -> npt.NDArray[Any]:
    mean = values.mean().clamp_min(torch.finfo(torch.float64).tiny)
    return (values / mean).float().numpy()


def _shown(source: Source, index: Tensor) -> Arrays:
    """Return what a reader recognises the samples by: names, and thumbnails or texts."""
    files: list[Path] | None = getattr(source, "files", None)
    names = _cut(str(i) if files is None else files[i].name for i in index.tolist())
    views = [source.__getitems__(some.tolist()).views[0] for some in torch.split(index, 256)]
    if source.kind == "text":
        return {"name": names, "texts": _cut(text for view in views for text in view)}
    parts = [_small(view) for view in views if isinstance(view, Tensor)]
    return {"name": names, "thumbnails": np.concatenate(parts)}


def _cut(texts: Iterable[str]) -> npt.NDArray[Any]:
    return np.array(
        [x if len(x) <= CHARACTERS else x[: CHARACTERS - 1] + "…" for x in texts], dtype=np.str_
    )


def _small(images: Tensor) -> npt.NDArray[Any]:
    """Return images `(n, c, h, w)` as uint8 `(n, h, w, 3)`, the longest side at most 64."""
    scale = THUMBNAIL / max(images.shape[2:])
    images = to_float(images)
    if scale < 1:
        size = [max(1, round(side * scale)) for side in images.shape[2:]]
        images = F.interpolate(images, size, mode="bilinear", antialias=True)
    images = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return images.clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).numpy()
