"""A sample of the evaluation data for `evaluation.npz` (docs/measures.md has the schema)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from asterism.data import Source
from asterism.measures import nearest, neighbourhoods, principal_components, procrustes
from asterism.measures.gallery import SEED
from asterism.measures.pairs import distances, pairs_of
from asterism.modality.modality import cut
from asterism.verdict.outputs import Observed

Arrays = dict[str, npt.NDArray[Any]]
ROWS = 2_000
# Most classes of which all correlations are kept: their number grows with the square.
CLASSES = 256
NEIGHBOURS = 20
PAIRS = 5_000


def sampled_rows(
    source: Source, student: Observed, teacher: Observed | None, *, classes: int | None = None
) -> Arrays:
    """Return the arrays of `evaluation.npz`.

    Args:
        source: Where the evaluation rows are.
        student: What the student makes of them.
        teacher: What the teacher makes of them, or None.
        classes: Number of the training data's classes, where they have any.
    """
    n = len(student.index)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(SEED))
    rows = order[:ROWS].sort().values
    index = student.index[rows]
    own = student.outputs.embedding[rows]
    arrays: Arrays = {"row": index.numpy(), **_shown(source, index)}
    if student.target is not None:
        arrays["target"] = student.target[rows].numpy()
        arrays["class_names"] = np.array(source.names)
        classes = classes or len(source.names or ())
        logits, target = student.outputs.logits, student.target[rows]
        if logits is not None and logits.shape[1] == classes:
            right = logits[rows].argmax(1) == target
            arrays["correct"] = torch.where(target < classes, right, -1).char().numpy()
    arrays["student_embedding"] = _compact(own)
    flat = _map(own)
    pairs = pairs_of(len(rows), PAIRS)
    if teacher is None:
        near = nearest(own, k=NEIGHBOURS)
        return {
            **arrays,
            "student_neighbours": near.int().numpy(),
            "student_map": flat.float().numpy(),
            "pair_distance_student": _relative(distances(own, pairs)),
        }
    arrays |= _class_correlations(student.outputs.logits, teacher.outputs.logits)
    taught = teacher.outputs.embedding[rows]
    neighbours = neighbourhoods(own, taught, k=NEIGHBOURS)
    depth = neighbours.student.shape[1]
    none = torch.empty(len(rows), 0)  # of a single row, which has no neighbours
    shared = [none, *(neighbours.overlap(k)[:, None] for k in range(1, depth + 1))]
    target = _map(taught)
    return {
        **arrays,
        "teacher_embedding": _compact(taught),
        "student_neighbours": neighbours.student.int().numpy(),
        "teacher_neighbours": neighbours.teacher.int().numpy(),
        "overlap": torch.cat(shared, 1).half().numpy(),
        # Turned, not sheared: side by side the maps should differ only where the embeddings do.
        "student_map": procrustes(flat, target)(flat).float().numpy(),
        "teacher_map": target.float().numpy(),
        "pair_distance_student": _relative(distances(own, pairs)),
        "pair_distance_teacher": _relative(distances(taught, pairs)),
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


def _class_correlations(student: Tensor | None, teacher: Tensor | None) -> Arrays:
    """Return how the scores of each two classes go together over all evaluation rows."""
    if student is None or teacher is None or student.shape != teacher.shape:
        return {}
    if len(student) < 2 or not 2 <= student.shape[1] <= CLASSES:
        return {}
    both = {"student": student, "teacher": teacher}
    found = {who: torch.corrcoef(logits.double().T) for who, logits in both.items()}
    return {f"{who}_class_correlation": one.half().numpy() for who, one in found.items()}


def _map(rows: Tensor) -> Tensor:
    """Return the two directions of largest variance, `(n, 2)`."""
    plane = principal_components(rows, 2)(rows.double())
    return F.pad(plane, (0, 2 - plane.shape[1]))


def _relative(values: Tensor) -> npt.NDArray[Any]:
    mean = values.mean().clamp_min(torch.finfo(torch.float64).tiny)
    return (values / mean).float().numpy()


def _shown(source: Source, index: Tensor) -> Arrays:
    """Return what a reader recognises the samples by: names, and pictures or texts."""
    names = cut([source.name_of(i) for i in index.tolist()])
    views = [source.__getitems__(some.tolist()).views[0] for some in torch.split(index, 256)]
    return {"name": names, **source.modality.pictures(views)}
