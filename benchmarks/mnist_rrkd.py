"""RRKD's MNIST experiment: half an encoder, distilled without labels.

    python benchmarks/mnist_rrkd.py MNIST_TRAIN.npz MNIST_TEST.npz
    python benchmarks/mnist_rrkd.py MNIST_TRAIN.npz MNIST_TEST.npz --anchor-study

The bottleneck of an autoencoder (784-128-64-128-784) teaches the 32-d encoder of one of half its
size (784-64-32-64-784) by in-batch anchors, without labels. The figure is the accuracy of one
linear probe on frozen embeddings, for the teacher, the distilled student, a student that was
trained to reconstruct by itself, and an untrained one. Protocol: tanh output, images in [-1, 1],
SGD with lr 0.1 and momentum 0.9, batches of 128, 20 epochs, no decay, no augmentation; dropout 0.5
in the teacher and, unlike the authors' notebook (`--student-dropout 0.5`), none in the students.
The anchor study has a student for each of the notebook's four ways to choose anchors, beside the
teacher and the untrained encoder alone.
"""

import argparse
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from asterism import RRKD, Outputs
from asterism.data import ArraySource, open_source
from asterism.measures import linear_probe
from asterism.models.adapt import Adapted
from asterism.recipe import distill
from asterism.types import to_float

TEACHER, STUDENT = (128, 64), (64, 32)
DISTILLED, ALONE = "distilled by RRKD", "trained to reconstruct"
# The notebook's study: 128 samples at random, 13 of each class.
ANCHORS = {
    "anchors of the batch": RRKD(),
    "128 anchors at random": RRKD(anchors="random", anchor_count=128),
    "13 anchors of each class": RRKD(anchors="per-class", anchor_count=130),
    "13 of each class, the surest": RRKD(anchors="most-confident", anchor_count=130),
}


class Encoder(nn.Sequential):
    """Images in [0, 1] to the bottleneck, before its activation."""

    def __init__(self, hidden: int, width: int, *, pixels: int = 784, dropout: float = 0.0) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(pixels, hidden),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(hidden, width),
        )

    def forward(self, images: Tensor) -> Tensor:
        embedding: Tensor = super().forward(2 * images - 1)
        return embedding


class Sure(nn.Module):
    """The teacher with the classes that a linear probe tells of its rows: how sure it is."""

    def __init__(self, encoder: Encoder, images: Tensor, target: Tensor) -> None:
        super().__init__()
        rows = embedded(encoder, images)
        probe = LogisticRegression(max_iter=1000).fit(rows.numpy(), target.numpy())
        self.encoder = encoder
        self.classifier = nn.Linear(rows.shape[1], len(probe.classes_))
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(probe.coef_))
            self.classifier.bias.copy_(torch.from_numpy(probe.intercept_))

    def forward(self, images: Tensor) -> Outputs:
        """Return the encoder's rows and the probe's logits."""
        embedding = self.encoder(images)
        return Outputs(embedding, self.classifier(embedding))


def trained_to_reconstruct(encoder: Encoder, images: Tensor, *, epochs: int, seed: int) -> Encoder:
    """Train an encoder and a decoder of its shape together; return the encoder."""
    hidden, width, dropout = encoder[1].out_features, encoder[4].out_features, encoder[2].p
    decoder = nn.Sequential(
        nn.Dropout(dropout),
        nn.ReLU(),
        nn.Linear(width, hidden),
        nn.Dropout(dropout),
        nn.ReLU(),
        nn.Linear(hidden, encoder[1].in_features),
        nn.Tanh(),
    )
    autoencoder = nn.Sequential(encoder, decoder).train()
    optimizer = torch.optim.SGD(autoencoder.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(images), generator=generator).split(128):
            seen = to_float(images[rows])
            loss = F.mse_loss(autoencoder(seen), 2 * seen.flatten(1) - 1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return encoder.eval()


@torch.no_grad()
def embedded(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return the rows of all images."""
    encode = Adapted(encoder).eval()
    return torch.cat([encode(to_float(part)).embedding for part in images.split(1000)])


def probed(encoder: nn.Module, train: ArraySource, test: ArraySource) -> float:
    """Return the accuracy of the one probe, in per cent."""
    rows, queries = (embedded(encoder, source.samples) for source in (train, test))
    accuracy = linear_probe(rows, train.targets, queries, test.targets)
    return 100 * (accuracy or 0.0)


def run(
    train_file: str,
    test_file: str,
    out: Path,
    *,
    seed: int,
    epochs: int,
    student_dropout: float = 0.0,
    study: bool = False,
) -> dict[str, float]:
    """Return the probe's accuracy of each encoder for one seed."""
    train, test = open_source(train_file), open_source(test_file)
    pixels = train.samples[0].numel()

    def encoder(widths: tuple[int, int]) -> Encoder:
        torch.manual_seed(seed)
        dropout = 0.5 if widths == TEACHER else student_dropout
        return Encoder(*widths, pixels=pixels, dropout=dropout)

    options = {"epochs": epochs, "seed": seed}
    teacher = trained_to_reconstruct(encoder(TEACHER), train.samples, **options)
    encoders: dict[str, nn.Module] = {"teacher": teacher, "untrained": encoder(STUDENT)}
    for row, method in (ANCHORS if study else {DISTILLED: RRKD()}).items():
        sure = method.anchors == "most-confident"
        encoders[row] = distill(
            Sure(teacher, train.samples, train.targets) if sure else teacher,
            encoder(STUDENT),
            train_file,
            method=method,
            labels=study,  # to choose anchors by, and for nothing else
            task_weight=0.0,
            test_data=test_file,
            batch_size=128,
            lr=0.1,
            schedule="constant",
            weight_decay=0.0,
            padding=0,
            keep="last",
            report=False,
            out=out / f"seed-{seed}",
            overwrite=True,
            **options,
        ).student
    if not study:
        encoders[ALONE] = trained_to_reconstruct(encoder(STUDENT), train.samples, **options)
    return {row: probed(each, train, test) for row, each in encoders.items()}


def as_markdown(found: list[dict[str, float]]) -> str:
    """Return mean ± standard deviation over seeds, and the share of the teacher's accuracy."""
    size = [sum(p.numel() for p in Encoder(*w).parameters()) for w in (TEACHER, STUDENT)]
    lines = [
        "| encoder | parameters | probe accuracy % | of the teacher's % |",
        "|---|---|---|---|",
    ]
    for row in found[0]:
        accuracy = [one[row] for one in found]
        kept = [100 * one[row] / one["teacher"] for one in found]
        count = size[row != "teacher"]
        cells = [_spread(accuracy), "100" if row == "teacher" else _spread(kept)]
        lines.append(f"| {row} | {count:,} | {' | '.join(cells)} |")
    lines.append(f"\nThe student has {100 * size[1] / size[0]:.1f} % of the teacher's parameters.")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="RRKD's MNIST experiment.")
    parser.add_argument("train", help="an .npz file with x and y")
    parser.add_argument("test", help="likewise")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist_rrkd"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--student-dropout", type=float, default=0.0)
    parser.add_argument("--anchor-study", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = {"epochs": given.epochs, "student_dropout": given.student_dropout}
    options["study"] = given.anchor_study
    found = []
    for seed in given.seeds:
        found.append(run(given.train, given.test, given.out, seed=seed, **options))
        print(f"seed {seed}: {found[-1]}", file=sys.stderr)
    print(as_markdown(found))
