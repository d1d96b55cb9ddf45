"""The Omniglot data of docs/results.md: whole alphabets to train on, and others to test.

    python benchmarks/omniglot.py DATA.npz TRAIN.npz TEST.npz [--size 32]

DATA has `x` (n, height, width), ink as 1; `y`, the character of each; `names`, theirs; `alphabet`,
and `alphabet_names`. Every second alphabet by name is for testing.
"""

import argparse

import numpy as np
from PIL import Image


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("source", "train", "test"):
        parser.add_argument(name)
    parser.add_argument("--size", type=int, default=32)
    arguments = parser.parse_args()
    convert(arguments.source, arguments.train, arguments.test, arguments.size)
