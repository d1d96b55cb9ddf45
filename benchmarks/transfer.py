"""Frozen networks on data that they were not trained on, for docs/results.md.

    python benchmarks/transfer.py pictures DATA.npz OUT.npz [--size 32]
    python benchmarks/transfer.py probe TRAIN.npz TEST.npz MODEL… --classes 10

`pictures` decodes a file of JPEGs (`jpeg`, all bytes in a row; `offsets`; `y`; `names`). `probe`
gives the accuracy of a linear probe and of the nearest neighbours for each MODEL, as asterism takes
them, for networks of so many classes: `asterism probe` does it for the student of a run.
"""

import argparse
import io
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asterism.measures import knn_accuracy, linear_probe
from asterism.models import Spec, build
from asterism.types import to_float


def convert(source: str, target: str, size: int) -> None:
    """Write the pictures as squares in colour."""
    with np.load(source, allow_pickle=False) as stored:
        content, ends = stored["jpeg"].tobytes(), stored["offsets"]
        files = [content[a:b] for a, b in pairwise(ends)]
        pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
        images = np.stack([np.asarray(each.resize((size, size))) for each in pictures])
        np.savez(target, x=images, y=stored["y"], names=stored["names"])


def samples(file: str, rows: int | None) -> tuple[Tensor, Tensor]:
    """Return the first images, channels first, and their classes."""
    with np.load(file, allow_pickle=False) as stored:
        images, target = stored["x"][:rows], stored["y"][:rows]
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(target).long()


@torch.no_grad()
def measure(model: str, parts: list[tuple[Tensor, Tensor]], classes: int) -> str:
    """Return a line of a table."""
    network = build(model, Spec(classes, tuple(parts[0][0].shape[1:]))).eval()
    rows: list[Tensor] = []
    for images, target in parts:
        found = [network(to_float(some)).embedding for some in images.split(250)]
        rows += [torch.cat(found), target]
    probed, nearest = linear_probe(*rows) or 0, knn_accuracy(*rows) or 0
    return f"| {model} | {rows[0].shape[1]} | {100 * probed:.1f} | {100 * nearest:.1f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("pictures")
    making.add_argument("source")
    making.add_argument("target")
    making.add_argument("--size", type=int, default=32)
    probing = verbs.add_parser("probe")
    for name in ("train", "test"):
        probing.add_argument(name)
    probing.add_argument("models", nargs="+")
    probing.add_argument("--classes", type=int, required=True)
    probing.add_argument("--rows", type=int, help="How many of each part, the first.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.verb == "pictures":
        convert(given.source, given.target, given.size)
    else:
        print("| model | width | linear probe % | k-NN % |\n|---|---|---|---|")
        parts = [samples(file, given.rows) for file in (given.train, given.test)]
        for model in given.models:
            print(measure(model, parts, given.classes), flush=True)
