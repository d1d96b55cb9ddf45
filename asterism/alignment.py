"""The map from a student's embedding into its teacher's space (`asterism align`)."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from asterism.arrays import read_array
from asterism.data import Data, Source
from asterism.measures import Affine, Compatibility, compatibility, procrustes, ridge
from asterism.measures.estimate import CONFIDENCE
from asterism.measures.gallery import SEED
from asterism.names import located
from asterism.report import write_report
from asterism.run import Run
from asterism.training import Reopened, reopen
from asterism.verdict import encoder_of, outputs_on, teaching

# Training rows that the map is fitted on; a fifth of them chooses between the kinds of map.
ROWS = 20_000
HELD_OUT = 5
# Queries that its quality is measured with.
QUERIES = 5_000
# What the names of its measures end with.
STORED = ", stored map"
MAPS: dict[str, Callable[[Tensor, Tensor], Affine]] = {"procrustes": procrustes, "ridge": ridge}

# The teacher's embeddings of some rows of a source.
Embeddings = Callable[[Source, Tensor], Tensor]


def align(
    run: str | Path,
    *,
    to: str | Path = "teacher",
    factory: str | Callable[..., nn.Module] | None = None,
) -> dict[str, Any]:
    """Fit the map that lets a run's student search an index of its teacher's embeddings.

    Two maps are tried, an orthogonal one (with scale and translation) and a ridge regression; the
    one with the higher recall of the own item on held-out training rows is fitted again on all and
    stored with the student, for `load(run, aligned=True)`. Its quality joins the run's measures
    and, where there is one, its page.

    Args:
        run: The run folder of a distillation.
        to: `teacher`, or an .npy file with the embeddings of the run's training data (one row for
            each sample of the source, in its order), or the teacher, if it has moved or is your
            own code.
        factory: For a student built by your own code, see `asterism.load`.

    Returns:
        What `aligner.json` and the key `aligner` of `result.json` hold: the kind of map, what
        chose it, its quality on rows that it was not fitted on, and its cost.

    Raises:
        FileNotFoundError: If there is no such run or file.
        ValueError: If the run has no teacher that can be opened, or the file does not fit.
    """
    begun = time.perf_counter()
    to = located(to, several=True)
    from_file = Path(to).suffix == ".npy"
    named = None if from_file or str(to) == "teacher" else str(to)
    folder = Run(run)
    opened = reopen(run, factory=factory, teacher=named)
    embeddings = _file(Path(to), opened.data) if from_file else _teacher(opened, folder)
    rows = opened.data.train
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(SEED))][:ROWS]
    student, teacher, _, _ = _pair(opened, opened.data.source, rows, embeddings)
    if len(student) < HELD_OUT:
        raise ValueError(f"align needs at least {HELD_OUT} training rows; {run} has {len(rows)}.")
    chosen, held_out = _choose(student, teacher)
    fitted = MAPS[chosen](student, teacher)
    quality, searched, split = _quality(opened, embeddings, fitted, from_file=from_file)
    card = {
        "to": str(to),
        "kind": chosen,
        "rows": len(student),
        "held_out_recall": held_out,
        "split": split,
        "searched": searched,
        "quality": quality,
        "student_dim": student.shape[1],
        "teacher_dim": teacher.shape[1],
        "parameters": fitted.weight.numel() + fitted.bias.numel(),
        "seconds": round(time.perf_counter() - begun, 1),
    }
    _write(folder, fitted, card)
    return card


def _choose(student: Tensor, teacher: Tensor) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the kind of map with the higher recall on held-out rows, and the recall of each."""
    cut = len(student) // HELD_OUT
    held_out: dict[str, dict[str, float]] = {}
    for kind, fit in MAPS.items():
        tried = fit(student[cut:], teacher[cut:])
        recall = compatibility(tried(student[:cut]), teacher[:cut], ks=(1, 10)).item_recall
        held_out[kind] = {str(k): float(x or 0.0) for k, x in recall.items()}
    return max(held_out, key=lambda kind: list(held_out[kind].values())), held_out


def _write(folder: Run, fitted: Affine, card: dict[str, Any]) -> None:
    """Store a map with the student, and its quality among the measures and on the page."""
    with folder.writing(resume=True):
        weight = fitted.weight.T.float().contiguous()
        folder.write_aligner({"weight": weight, "bias": fitted.bias.float()}, card)
        result = folder.read_result()
        kept = [m for m in result.get("measures", []) if not str(m["name"]).endswith(STORED)]
        folder.write_result({**result, "measures": kept + _records(card), "aligner": card})
        if (page := folder.path / "report.html").exists():
            write_report([folder.path], page)


def _records(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the quality as the report has measures (docs/measures.md), the first with a note."""
    names = {"item_recall": "own item", "class_recall": "same class"}
    note: str | None = (
        f"`asterism align` stored a {card['kind']} map from {card['student_dim']} to "
        f"{card['teacher_dim']} columns, {card['parameters']:,} numbers, fitted on "
        f"{card['rows']:,} training rows; {card['searched']:,} {card['split']} rows were searched."
    )
    records = []
    for key, quality in card["quality"].items():
        what, k = key.split("@")
        student = {end: 100 * quality[end] for end in ("value", "low", "high")}
        record = {"group": "compatibility", "name": names[what] + STORED, "k": int(k), "unit": "%"}
        sides = {"better": "higher", "student": student, "teacher": None, "baselines": {}}
        records.append({**record, **sides, "note": note})
        note = None
    return records


def _teacher(opened: Reopened, folder: Run) -> Embeddings:
    teacher = opened.teacher
    if teacher is None:
        raise ValueError(
            f"{folder.path} names no teacher that can be opened again: name one of your own code, "
            "--to FILE.py:FACTORY, or give its embeddings of the training data, --to FILE.npy."
        )
    encode_on = teaching(teacher)
    return lambda source, rows: outputs_on(encode_on, source, rows).outputs.embedding


def _file(file: Path, data: Data) -> Embeddings:
    if not file.is_file():
        raise FileNotFoundError(f"no embeddings at {file}: align takes `teacher` or an .npy file.")
    array = read_array(file)
    shape = array.shape if array.dtype.kind == "f" else "no floats"
    if len(shape) != 2 or shape[0] != len(data.source) or not np.isfinite(array).all():
        raise ValueError(
            f"{file} must hold one row of finite numbers for each of the {len(data.source)} "
            f"samples of the run's training data, in their order; got {shape}."
        )
    table = torch.from_numpy(array.astype(np.float32))
    return lambda source, rows: table[rows]


def _pair(
    opened: Reopened, source: Source, rows: Tensor, embeddings: Embeddings
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return both embeddings of the rows that can be read, their classes and their numbers."""
    own = outputs_on(encoder_of(opened.student.model), source, rows)
    taught = embeddings(source, own.index)
    return own.outputs.embedding.double(), taught.double(), own.target, own.index


def _quality(
    opened: Reopened, embeddings: Embeddings, fitted: Affine, *, from_file: bool
) -> tuple[dict[str, Any], int, str]:
    """Search the teacher's embeddings of the evaluation rows; of validation rows for a file."""
    source, rows, split = opened.data.evaluation()
    if from_file:
        if opened.data.validation_source is not None:
            return {}, 0, "none: the file has no rows of the evaluation data"
        source = opened.data.source
        rows = opened.data.validation
        split = "validation"
    student, teacher, target, _ = _pair(opened, source, rows, embeddings)
    some = torch.randperm(len(student), generator=torch.Generator().manual_seed(SEED))[:QUERIES]
    measured = compatibility(fitted(student), teacher, target, ks=(1, 10), rows=some.sort().values)
    return _shown(measured), len(teacher), split


def _shown(measured: Compatibility) -> dict[str, Any]:
    groups = {"item_recall": measured.item_recall, "class_recall": measured.class_recall or {}}
    return {
        f"{name}@{k}": {"value": float(x), "low": low, "high": high, "confidence": CONFIDENCE}
        for name, recall in groups.items()
        for k, x in recall.items()
        if x is not None
        for low, high in [x.interval()]
    }
