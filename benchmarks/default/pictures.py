"""Pictures without labels: what a small network keeps of a published one, on classes unseen by it.

The student sees training images of CIFAR-100's classes 0 to 59; `choice` are training images of
classes 60 to 79, `test` are test images of classes 80 to 99. The score is recall@1 by cosine; the
overlap of ten neighbours with the teacher's stands beside it. DATA is the folder with
`cifar100_train.npz` and `cifar100_test_dev.npz` as arrays (`benchmarks/cifar.py` makes them).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import Method
from asterism.data import ArraySource
from asterism.measures import nearest
from asterism.models import Spec, build
from asterism.recipe import distill
from benchmarks.default.table import Rows

FIRST = 20_000  # training images that are looked at; they are shuffled
SEEN, CHOICE = 60, 80  # the classes below are seen; from here on they are for the test
VIEWS = 4


def open_task(data: Path, teacher: Path, student: str, out: Path) -> "Pictures":
    """Return the task; the teacher's outputs are stored in `out`."""
    return Pictures(data, teacher, student, out)


class Pictures:
    """The task of a grid with `task: pictures`."""

    classes: int | None = None

    def __init__(self, data: Path, teacher: Path, student: str, out: Path) -> None:
        images, targets, names = _arrays(data / "cifar100_train.npz")
        images, targets = images[:FIRST], targets[:FIRST]
        tested, tested_targets, _ = _arrays(data / "cifar100_test_dev.npz")
        self.source, self.parts = self.split(images, targets, tested, tested_targets, names)
        name = f"benchmarks/cifar.py:resnet_w?depth=32&weights={teacher.resolve()}"
        self.teacher = build(name, Spec(100, (3, 32, 32))).eval()
        self.student, self.folder = student, out / "run"
        self.known = {part: embed(self.teacher, images) for part, (images, _) in self.parts.items()}

    def split(
        self, images: Tensor, targets: Tensor, tested: Tensor, tested_targets: Tensor, names: Any
    ) -> tuple[ArraySource, dict[str, tuple[Tensor, Tensor]]]:
        """Return the training rows, and images with targets to choose and to test by."""
        held, last = (targets >= SEEN) & (targets < CHOICE), tested_targets >= CHOICE
        source = ArraySource(images[targets < SEEN])
        return source, {
            "choice": (images[held][:2000], targets[held][:2000]),
            "test": (tested[last], tested_targets[last]),
        }

    def _new(self) -> nn.Module:
        return build(self.student, Spec(self.classes, (3, 32, 32)))

    def train(self, methods: list[Method], settings: dict[str, Any], seed: int) -> nn.Module:
        """Return a student trained from a cache of four views."""
        result = distill(
            self.teacher,
            self._new(),
            self.source,
            method=methods,
            labels=self.classes is not None,
            seed=seed,
            teacher_cache=self.folder / "cache",
            view_count=VIEWS,
            out=self.folder / "student",
            overwrite=True,
            check=False,
            report=False,
            **{"validation_share": 0.02, "keep": "last", **settings},
        )
        return result.student

    def rows(self, student: nn.Module, part: str) -> Rows:
        """Return whether each image's nearest other is of its class, and its neighbours kept."""
        images, targets = self.parts[part]
        ours = nearest(embed(student, images), k=10, metric="cosine")
        theirs = nearest(self.known[part], k=10, metric="cosine")
        shared = (ours[:, :, None] == theirs[:, None]).any(2).double().mean(1)
        hit = targets[ours[:, 0]] == targets
        return {"images.hit": hit.numpy(), "images.overlap": shared.numpy()}

    def references(self) -> dict[str, nn.Module]:
        """Return the teacher and the student as it begins."""
        torch.manual_seed(0)
        return {"teacher": self.teacher, "untrained": self._new().eval()}


def figures(rows: Rows) -> dict[str, float]:
    """Return recall@1 and the overlap; the score is recall@1."""
    recall, overlap = (float(rows[f"images.{name}"].mean()) for name in ("hit", "overlap"))
    return {"recall@1": recall, "overlap@10": overlap, "score": recall}


def _arrays(file: Path) -> tuple[Tensor, Tensor, Any]:
    with np.load(file, allow_pickle=False) as stored:
        images = torch.from_numpy(stored["x"]).permute(0, 3, 1, 2).contiguous()
        return images, torch.from_numpy(stored["y"]).long(), stored["names"]


@torch.no_grad()
def embed(model: nn.Module, images: Tensor) -> Tensor:
    """Return embeddings of unit length, `(n, d)`, of uint8 images."""
    rows = [model.eval()(part.float() / 255).embedding.float() for part in images.split(500)]
    return F.normalize(torch.cat(rows))
