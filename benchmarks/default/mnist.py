"""MNIST without labels: half of an autoencoder's encoder (RRKD's experiment).

The bottleneck of an autoencoder (784-128-64-128-784), trained here, teaches an encoder of half its
size. The student sees 20,000 training images; `choice` are 5,000 other training images. The score
is the accuracy of a linear probe of the frozen embedding, learnt from 5,000 training images;
recall@1 by cosine stands beside it. DATA is the folder with `mnist_train.npz` and
`mnist_test_dev.npz`; TEACHER is not read.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from asterism import Method
from asterism.data import ArraySource
from asterism.measures import nearest
from asterism.recipe import distill
from benchmarks.default.table import Rows
from benchmarks.mnist_rrkd import STUDENT, TEACHER, Encoder, trained_to_reconstruct

SEEN, CHOICE, LEARNT = 20_000, 25_000, 5_000


def open_task(data: Path, teacher: Path, student: str, out: Path) -> "Mnist":
    """Return the task; the teacher's outputs are stored in `out`."""
    return Mnist(data, out)


class Mnist:
    """The task of a grid with `task: mnist`."""

    def __init__(self, data: Path, out: Path) -> None:
        images, targets = _arrays(data / "mnist_train.npz")
        self.source = ArraySource(images[:SEEN], flip=False)
        self.learnt = images[:LEARNT], targets[:LEARNT]
        self.parts = {
            "choice": (images[SEEN:CHOICE], targets[SEEN:CHOICE]),
            "test": _arrays(data / "mnist_test_dev.npz"),
        }
        self.folder = out / "run"
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        self.teacher = Encoder(*TEACHER, dropout=0.5)
        weights, rows = self.folder / "teacher.pt", self.folder / "teacher.npy"
        if not rows.exists():
            trained_to_reconstruct(self.teacher, images, epochs=20, seed=0)
            torch.save(self.teacher.state_dict(), weights)
            np.save(rows, embed(self.teacher, images[:SEEN]).numpy())
        self.teacher.load_state_dict(torch.load(weights, weights_only=True))

    def train(self, methods: list[Method], settings: dict[str, Any], seed: int) -> nn.Module:
        """Return a student trained on the teacher's stored outputs."""
        result = distill(
            self.folder / "teacher.npy", Encoder(*STUDENT), self.source, method=methods, seed=seed,
            out=self.folder / "student", overwrite=True, check=False, report=False,
            validation_share=0.02, **{"keep": "last", **settings},
        )  # fmt: skip
        return result.student

    def rows(self, student: nn.Module, part: str) -> Rows:
        """Return whether each image's class is found by the probe, and by the nearest other."""
        images, targets = self.parts[part]
        learnt, tested = embed(student, self.learnt[0]), embed(student, images)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        found = probe.fit(learnt.numpy(), self.learnt[1].numpy()).predict(tested.numpy())
        neighbour = nearest(F.normalize(tested), k=1, metric="cosine")[:, 0]
        return {
            "images.right": found == targets.numpy(),
            "images.hit": (targets[neighbour] == targets).numpy(),
        }

    def references(self) -> dict[str, nn.Module]:
        """Return the teacher and the student as it begins."""
        torch.manual_seed(0)
        return {"teacher": self.teacher, "untrained": Encoder(*STUDENT)}


def figures(rows: Rows) -> dict[str, float]:
    """Return the probe's accuracy and recall@1; the score is the accuracy."""
    accuracy = float(rows["images.right"].mean())
    return {"probe": accuracy, "recall@1": float(rows["images.hit"].mean()), "score": accuracy}


def _arrays(file: Path) -> tuple[Tensor, Tensor]:
    with np.load(file, allow_pickle=False) as stored:
        return torch.from_numpy(stored["x"])[:, None], torch.from_numpy(stored["y"]).long()


@torch.no_grad()
def embed(model: nn.Module, images: Tensor) -> Tensor:
    """Return embeddings, `(n, d)`, of uint8 images."""
    found = model.eval()(images.float() / 255)
    return getattr(found, "embedding", found)
