"""Sentences without labels: what a small text model keeps of a sentence model.

Training texts are those of CLINC150's and STS-B's training parts. Figures: Spearman's correlation
of cosines with the scores of STS-B's pairs, recall@1 by cosine on CLINC150's queries; the score is
the mean of both, each as a share of the teacher's. `choice` cuts its queries and pairs from the
training parts.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import Method
from asterism.data import TextSource
from asterism.measures import nearest
from asterism.models import Spec, build
from asterism.models.tokens import by_length
from asterism.recipe import distill
from benchmarks.default.table import Rows, ranks

CHOICE_SHARE = 10


def open_task(data: Path, teacher: Path, student: str, out: Path) -> "Text":
    """Return the task; the teacher's outputs are stored in `out`."""
    return Text(data, teacher, student, out)


class Text:
    """The task of a grid with `task: text`."""

    def __init__(self, data: Path, teacher: Path, student: str, out: Path) -> None:
        queries, pairs = _table(data / "clinc150_train.tsv"), _table(data / "stsb_train.tsv")
        is_choice = (
            np.random.default_rng(0).permutation(len(queries)) < len(queries) // CHOICE_SHARE
        )
        cut = {row[0] for row, chosen in zip(queries, is_choice, strict=True) if chosen}
        self.queries = {
            "choice": [row[:2] for row in queries if row[0] in cut and row[1] != "oos"],
            "test": [row[:2] for row in _table(data / "clinc150_val.tsv") if row[1] != "oos"],
        }
        held = pairs[: len(pairs) // CHOICE_SHARE]
        self.pairs = {"choice": held, "test": _table(data / "stsb_dev.tsv")}
        away = cut | {text for row in held for text in row[5:7]}
        texts = [row[0] for row in queries] + [text for row in pairs for text in row[5:7]]
        self.source = TextSource([text for text in dict.fromkeys(texts) if text not in away])
        self.student = student
        self.teacher = build(f"st/{teacher}", Spec(None, None, own_classifier=True)).eval()
        _remember_tokens(self.teacher)
        self.stored = out / "run" / "teacher.npy"
        self.stored.parent.mkdir(parents=True, exist_ok=True)
        if not self.stored.exists():
            np.save(self.stored, _embed(self.teacher, self.source.texts).numpy())
        self._best: dict[str, dict[str, float]] = {}

    def _new(self) -> nn.Module:
        return build(self.student, Spec(None, None, teacher=self.teacher))

    def train(self, methods: list[Method], settings: dict[str, Any], seed: int) -> nn.Module:
        """Return a student trained on the teacher's stored outputs."""
        result = distill(
            self.stored, self._new(), self.source, method=methods, seed=seed,
            out=self.stored.parent / "student", overwrite=True, check=False, report=False,
            validation_share=0.02, **{"keep": "last", **settings},
        )  # fmt: skip
        return result.student

    def rows(self, student: nn.Module, part: str) -> Rows:
        """Return whether each query's nearest other is of its intent, and the cosines of pairs."""
        queries, pairs = self.queries[part], self.pairs[part]
        intents = np.unique([row[1] for row in queries], return_inverse=True)[1]
        first, second = (_embed(student, [row[i] for row in pairs]) for i in (5, 6))
        neighbour = nearest(_embed(student, [row[0] for row in queries]), k=1, metric="cosine")[
            :, 0
        ]
        return {
            "queries.hit": intents[neighbour.numpy()] == intents,
            "pairs.cosine": (first * second).sum(1).numpy(),
            "pairs.gold": np.array([float(row[4]) for row in pairs]),
        }

    def references(self) -> dict[str, nn.Module]:
        """Return the teacher and the student as it begins."""
        torch.manual_seed(0)
        return {"teacher": self.teacher, "untrained": self._new().eval()}


def figures(rows: Rows) -> dict[str, float]:
    """Return Spearman's correlation, recall@1 and their mean."""
    spearman = float(np.corrcoef(ranks(rows["pairs.cosine"]), ranks(rows["pairs.gold"]))[0, 1])
    recall = float(rows["queries.hit"].mean())
    return {"spearman": spearman, "recall@1": recall, "score": (spearman + recall) / 2}


def _table(file: Path) -> list[list[str]]:
    """Return the rows of a table without quotes, less its header."""
    with open(file, encoding="utf-8") as lines:
        return [line.rstrip("\n").split("\t") for line in lines][1:]


def _remember_tokens(teacher: Any) -> None:
    """Let each student start from the vectors of tokens that the first one asked for."""
    known: dict[bytes, Tensor] = {}
    fresh = teacher.of_tokens

    def of_tokens(rows: Tensor) -> Tensor:
        key = rows.cpu().numpy().tobytes()
        if key not in known:
            known[key] = fresh(rows)
        return known[key]

    teacher.of_tokens = of_tokens


@torch.no_grad()
def _embed(model: nn.Module, texts: list[str]) -> Tensor:
    return F.normalize(by_length(texts, model.eval()).embedding.float())
