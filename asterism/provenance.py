"""Where a run came from: versions, machine, fingerprints of data, teacher and code."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.data import Data, KnownTeacher
from asterism.models import weights_of


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
    """Return a short hash of a model's weights by name, or of what stands for it."""
    if isinstance(model, KnownTeacher):
        return model.fingerprint()
    digest = hashlib.sha256()
    for name, value in sorted(weights_of(model).items()):
        digest.update(name.encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()[:16]
