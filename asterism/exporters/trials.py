"""What an export is compared on: real rows, and what goes wrong first."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from asterism.data import Data, Loader, Order, Source
from asterism.modality import Modality
from asterism.types import Samples, Shape, as_input

# Batches of real rows: one alone, an odd number, and as many as a server may put together.
SIZES = (1, 7, 64)
LONG = 2_000


@dataclass(frozen=True)
class Trial:
    """Samples that the student and its export are both given, as one batch.

    Attributes:
        name: What they are.
        samples: The samples, as models take them.
    """

    name: str
    samples: Samples


def trials(modality: Modality, shape: Shape, real: Samples | None) -> list[Trial]:
    """Return the trials of a student.

    Args:
        modality: What it takes.
        shape: Size of a sample; None for texts.
        real: Rows of the run's data; None if they are not there, and made-up ones serve.
    """
    origin = "real" if real is not None else "made-up"
    given: Any = real if real is not None else made_up(modality, shape)
    sizes = sorted({min(size, len(given)) for size in SIZES})
    rows = [
        Trial(f"{size} {origin} {'row' if size == 1 else 'rows'}", given[:size]) for size in sizes
    ]
    return rows + [Trial(name, samples) for name, samples in modality.edges(shape)]


def made_up(modality: Modality, shape: Shape) -> Samples:
    """Return samples for a run whose data are not there."""
    if shape is None:
        return [f"the text of row {row} has {row} words" + " word" * row for row in range(64)]
    drawn = torch.rand(64, *shape, generator=torch.Generator().manual_seed(0))
    # Pixels are bytes, as those of a graph that takes bytes are.
    return drawn.mul(255).round().div(255) if modality.pixels else drawn


def real_rows(data: Data, count: int) -> Samples:
    """Return up to so many readable rows, as models take them: of evaluation, then of training."""
    source, rows, _ = data.evaluation()
    parts: list[Any] = _read(source, rows[:count])
    missing = count - sum(len(part) for part in parts)
    parts += _read(data.source, data.train[:missing]) if missing else []
    tensors = [part for part in parts if isinstance(part, Tensor)]
    return torch.cat(tensors) if tensors else [text for part in parts for text in part]


def _read(source: Source, rows: Tensor) -> list[Any]:
    batches = Loader(source, Order(rows, 64, seed=None))
    return [as_input(batch.views[0]) for batch in batches if len(batch.index)]
