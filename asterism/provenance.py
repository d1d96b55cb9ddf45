"""Where a run came from: versions, machine, fingerprints of data, teacher and code."""

import hashlib
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.augment import Views
from asterism.data import Data, StoredTeacher
from asterism.data.cache import TeacherCache
from asterism.engine import Settings
from asterism.models import weights_of
from asterism.models.adapt import Adapted
from asterism.types import Outputs


def provenance(data: Data, teacher: nn.Module | None) -> dict[str, Any]:
    """Return what a reader needs to trust or repeat the run, as plain values."""
    return {
        "asterism": version("asterism"),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "code": _code(),
        "data": data.source.fingerprint(),
        "validation_data": data.validation_source.fingerprint() if data.validation_source else None,
        "test_data": data.test.fingerprint() if data.test else None,
        "teacher": weights_fingerprint(teacher) if teacher is not None else None,
    }


def _processor() -> str:
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _code() -> str:
    folder = Path(__file__).parent
    files = sorted(folder.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def weights_fingerprint(model: nn.Module) -> str:
    """Return a short hash of a model's weights by name, or of a stored teacher's outputs."""
    if isinstance(model, StoredTeacher):
        return model.fingerprint()
    digest = hashlib.sha256()
    for name, value in sorted(weights_of(model).items()):
        digest.update(name.encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def teacher_cache(
    folder: str | Path | None,
    teacher: nn.Module | None,
    taught: Outputs | None,
    data: Data,
    settings: Settings,
) -> Callable[[Views], list[TeacherCache]] | None:
    """Return what opens the table of this teacher, these data and the views; None for no folder.

    Raises:
        ValueError: If the data augment themselves, so that no view can be repeated.
    """
    if isinstance(teacher, StoredTeacher):
        return lambda views: [teacher.on(data.source)]  # type: ignore[list-item]
    if folder is None or teacher is None or taught is None:
        return None
    if data.source.augmented:
        raise ValueError(
            "a teacher cache needs views that can be repeated, and this dataset augments its "
            "images by itself: give it without transforms, as uint8."
        )
    key: dict[str, Any] = {
        "teacher": weights_fingerprint(teacher),
        "architecture": str(teacher),
        "embedding": [m.embedding for m in teacher.modules() if isinstance(m, Adapted)],
        "widths": [0 if x is None else x.shape[1] for x in taught],
        "image_shape": data.source.image_shape and list(data.source.image_shape),
        "data": data.source.fingerprint(),
        "precision": settings.precision,
    }

    def tables(views: Views) -> list[TeacherCache]:
        if data.source.kind == "text":  # one clean view, whatever the epoch
            rows = len(data.source)
            return [TeacherCache(Path(folder), key, rows=rows, like=taught)]
        # A table for each view of a sample, so that runs with and without virtual views share.
        crop = {"seed": views.seed, "padding": views.padding, "flip": views.flip}
        kinds = ["real", *(f"virtual {i}" for i in range(views.virtual))]
        seen = [{**key, "views": {**crop, "kind": kind}} for kind in kinds]
        return [TeacherCache(Path(folder), k, rows=len(data.source), like=taught) for k in seen]

    return tables
