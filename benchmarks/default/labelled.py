"""CIFAR-100 with labels: accuracy, and what the embedding is worth for search.

The student sees 15,000 training images of all classes; `choice` are 2,000 other training images,
`test` the test images. The score is accuracy; recall@1 of the embedding by cosine and the overlap
of ten neighbours with the teacher's stand beside it. DATA is as for `pictures`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.data import ArraySource
from benchmarks.default import pictures
from benchmarks.default.table import Rows

SEEN, CHOICE = 15_000, 17_000


def open_task(data: Path, teacher: Path, student: str, out: Path) -> "Labelled":
    """Return the task; the teacher's outputs are stored in `out`."""
    return Labelled(data, teacher, student, out)


class Labelled(pictures.Pictures):
    """The task of a grid with `task: labelled`."""

    classes = 100

    def split(
        self, images: Tensor, targets: Tensor, tested: Tensor, tested_targets: Tensor, names: Any
    ) -> tuple[ArraySource, dict[str, tuple[Tensor, Tensor]]]:
        """Return the training rows, and images with targets to choose and to test by."""
        source = ArraySource(images[:SEEN], targets[:SEEN], names=[str(name) for name in names])
        return source, {
            "choice": (images[SEEN:CHOICE], targets[SEEN:CHOICE]),
            "test": (tested, tested_targets),
        }

    @torch.no_grad()
    def rows(self, student: nn.Module, part: str) -> Rows:
        """Return what `pictures` does, and whether each image's class is found."""
        images, targets = self.parts[part]
        parts = [student.eval()(part.float() / 255).logits for part in images.split(500)]
        right = torch.cat(parts).argmax(1) == targets
        return {**super().rows(student, part), "images.right": right.numpy()}


def figures(rows: Rows) -> dict[str, float]:
    """Return accuracy, recall@1 and the overlap; the score is accuracy."""
    accuracy = float(rows["images.right"].mean())
    return {"accuracy": accuracy, **pictures.figures(rows), "score": accuracy}
