"""The Omniglot data of docs/results.md: whole alphabets to train on, and others to test.

    python benchmarks/omniglot.py data DATA.npz TRAIN.npz TEST.npz [--size 32]
    python benchmarks/omniglot.py recall RUN…   # recall@1/2/4/8, MAP@R and few-shot accuracy

DATA has `x` (n, height, width), ink as 1; `y`, the character of each; `names`, theirs; `alphabet`,
and `alphabet_names`. Every second alphabet by name is for testing.
"""

import argparse

import numpy as np
import torch
import yaml
from PIL import Image

from asterism import load
from asterism.measures import Episodes, few_shot, retrieval

KS = (1, 2, 4, 8)
EPISODES = Episodes(shots=(1, 5), way=5, queries=15, count=600)


def convert(source: str, train: str, test: str, size: int) -> None:
    """Write the two parts: white paper, black ink, averaged down to squares of `size` pixels."""
    with np.load(source, allow_pickle=False) as stored:
        ink, character, alphabet = stored["x"], stored["y"], stored["alphabet"]
        names, alphabets = stored["names"], stored["alphabet_names"]
    pictures = [
        np.asarray(Image.fromarray(255 * (1 - each)).resize((size, size), Image.Resampling.BOX))
        for each in ink
    ]
    images = np.stack(pictures)
    held_out = np.argsort(alphabets)[1::2]
    for path, rows in (
        (train, ~np.isin(alphabet, held_out)),
        (test, np.isin(alphabet, held_out)),
    ):
        present, number = np.unique(character[rows], return_inverse=True)
        np.savez(path, x=images[rows], y=number, names=names[present])


@torch.no_grad()
def measure(run: str) -> str:
    """Return a line of a run's figures on its test data, by the metric it is measured by."""
    with open(f"{run}/config.yaml") as file:
        config = yaml.safe_load(file)
    with np.load(config["test_data"], allow_pickle=False) as stored:
        images, target = torch.from_numpy(stored["x"])[:, None], torch.from_numpy(stored["y"])
    student = load(run)
    rows = torch.cat([student(part / 255).embedding for part in images.split(256)])
    metric = config.get("metric") or "euclidean"
    found = retrieval(rows, target, ks=KS, metric=metric)
    compared = torch.nn.functional.normalize(rows) if metric == "cosine" else rows
    shots = [f"{each.shot}-shot {each.words()}" for each in few_shot(compared, target, EPISODES)]
    recalls = " ".join(f"{100 * float(found.recall[k] or 0):.1f}" for k in KS)
    precision = 100 * float(found.map_at_r or 0)
    return f"{run}: recall@1/2/4/8 {recalls}, MAP@R {precision:.1f}; {'; '.join(shots)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    making = verbs.add_parser("data")
    for name in ("source", "train", "test"):
        making.add_argument(name)
    making.add_argument("--size", type=int, default=32)
    verbs.add_parser("recall").add_argument("runs", nargs="+")
    arguments = parser.parse_args()
    if arguments.verb == "data":
        convert(arguments.source, arguments.train, arguments.test, arguments.size)
    else:
        for run in arguments.runs:
            print(measure(run), flush=True)
