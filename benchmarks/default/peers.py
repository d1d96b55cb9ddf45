"""What other libraries' own trainers make of the task of static text models.

    python -m benchmarks.default.peers recipes/default/text_static.yaml DATA MINILM OUT
        [--seeds 0 1 2] [--choose-only]

Model2Vec and sentence-transformers train a static model of as many columns as the grid's student,
on the same texts and the same stored outputs of the teacher, as many epochs in batches as large;
each has as many tries as a method of the grid, and cells are stored beside the grid's. Needs
pip install "model2vec[distill,train]" "sentence-transformers[train]". Both start from Model2Vec's
`distill`, their documented way.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from asterism import Method, Outputs
from benchmarks.default import text
from benchmarks.default.__main__ import Try, choose_and_test

WIDTH = 256
TRIES = [{"lr": 0.001}, {"lr": 0.003}]


class Foreign(nn.Module):
    """A model of another library, by what encodes texts."""

    def __init__(self, encode: Callable[[list[str]], Any]) -> None:
        super().__init__()
        self.encode = encode

    def forward(self, texts: Sequence[str]) -> Outputs:
        """Return embeddings."""
        return Outputs(torch.as_tensor(np.asarray(self.encode(list(texts)), dtype=np.float32)))


class Peers(text.Text):
    """The task, and the trainers of others in place of ours."""

    def __init__(self, data: Path, teacher: Path, student: str, out: Path) -> None:
        super().__init__(data, teacher, student, out)
        self.folder = str(teacher)
        self.rows_taught = np.load(self.stored)

    def train(self, methods: list[Method], settings: dict[str, Any], seed: int) -> nn.Module:
        """Return the student of a peer, `settings["by"]`."""
        by = {"distill": self.started, "Model2Vec": self.fitted, "EmbedDistill": self.embedded}
        known = {key: value for key, value in settings.items() if key != "by"}
        return by[settings["by"]](seed=seed, **known)

    def _start(self, sif: float = 1e-4) -> Any:
        from model2vec import StaticModel
        from model2vec.distill import distill

        place = self.stored.with_name(f"model2vec-{sif}")
        if not place.exists():  # it runs the teacher on each token
            made = distill(self.folder, pca_dims=WIDTH, sif_coefficient=sif, quantize_to="float32")
            made.save_pretrained(place)
        return StaticModel.from_pretrained(place)

    def started(self, *, seed: int, sif: float, **unused: Any) -> nn.Module:
        """Return Model2Vec's `distill`: no training."""
        return Foreign(self._start(sif).encode)

    def fitted(
        self, *, seed: int, epochs: int, batch_size: int, lr: float, n_layers: int, head: bool
    ) -> nn.Module:
        """Return Model2Vec's StaticModelForSimilarity, with its trained head or without."""
        from model2vec.train import StaticModelForSimilarity

        model = StaticModelForSimilarity.from_static_model(model=self._start(), n_layers=n_layers)
        model.fit(
            self.source.texts, torch.from_numpy(self.rows_taught), learning_rate=lr,
            batch_size=batch_size, max_epochs=epochs, early_stopping_patience=None,
            test_size=0.02, device="cpu", random_seed=seed,
        )  # fmt: skip
        return Foreign(model.encode if head else model.to_static_model().encode)

    def embedded(
        self, *, seed: int, epochs: int, batch_size: int, lr: float, distance: str
    ) -> nn.Module:
        """Return sentence-transformers' StaticEmbedding, trained with its EmbedDistillLoss."""
        from datasets import Dataset
        from sentence_transformers import (
            SentenceTransformer,
            SentenceTransformerTrainer,
            SentenceTransformerTrainingArguments,
            losses,
        )
        from sentence_transformers.models import StaticEmbedding

        start = self._start()
        model = SentenceTransformer(
            modules=[StaticEmbedding(start.tokenizer, embedding_weights=start.embedding)],
            device="cpu",
        )
        wide = self.rows_taught.shape[1]
        loss = losses.EmbedDistillLoss(model, distance_metric=distance, projection_dim=wide)
        with TemporaryDirectory() as folder:
            SentenceTransformerTrainer(
                model=model,
                args=SentenceTransformerTrainingArguments(
                    output_dir=folder, num_train_epochs=epochs, seed=seed, learning_rate=lr,
                    per_device_train_batch_size=batch_size, warmup_ratio=0.1, use_cpu=True,
                    save_strategy="no", report_to="none", logging_strategy="no",
                ),
                train_dataset=Dataset.from_dict(
                    {"sentence": self.source.texts, "label": list(self.rows_taught)}
                ),
                loss=loss,
            ).train()  # fmt: skip
        return Foreign(lambda texts: model.encode(texts, show_progress_bar=False))


def tries(settings: dict[str, Any]) -> dict[str, list[Try]]:
    """Return each peer's tries."""

    def of(name: str, by: str, options: list[dict[str, Any]]) -> list[Try]:
        rates = TRIES if by != "distill" else [{}]
        return [
            Try(f"{name} {a}.{t}", {}, {"by": by, **settings, **each, **rate})
            for a, each in enumerate(options)
            for t, rate in enumerate(rates)
        ]

    layers = [1, 0]  # its default, and no hidden layer
    return {
        "Model2Vec distill": of("Model2Vec distill", "distill", [{"sif": 1e-4}, {"sif": 1e-3}]),
        "Model2Vec fit": of(
            "Model2Vec fit", "Model2Vec", [{"n_layers": n, "head": False} for n in layers]
        ),
        "Model2Vec fit + head": of(
            "Model2Vec fit + head", "Model2Vec", [{"n_layers": n, "head": True} for n in layers]
        ),
        "EmbedDistillLoss": of(
            "EmbedDistillLoss", "EmbedDistill", [{"distance": d} for d in ("cosine", "mse")]
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("grid", "data", "teacher", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choose-only", action="store_true")
    asked = parser.parse_args()
    grid = yaml.safe_load(asked.grid.read_text())
    out = asked.out / asked.grid.stem
    task = Peers(asked.data, asked.teacher, grid["student"], out)
    seeds = [] if asked.choose_only else asked.seeds
    choose_and_test(task, text.figures, out, tries(grid["settings"]), seeds)


if __name__ == "__main__":
    main()
