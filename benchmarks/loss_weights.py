"""Given weights, badly scaled weights and `--loss-weights auto`, on few digits.

    python benchmarks/loss_weights.py [--seeds 3] [--methods KD RKD …] [--shares 0.3 1 3]

A `convnet` teacher learns from 1,167 of scikit-learn's digits; an `mlp` student of 16 and 8 units
learns from 260 of them, so that the teacher knows more than the labels. Each cell is the accuracy
on the 500 test digits after 60 epochs, the last state, mean ± standard deviation over seeds.
`--shares` compares lengths of the methods' gradients, relative to the task's, instead.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from asterism import DIST, KD, RKD, RRD, VRM, Method
from asterism.engine import balance, fit
from asterism.engine.processes import processes
from asterism.request import Request
from asterism.run import Run
from asterism.settings import Settings
from asterism.training import open_training, with_anchors
from asterism.verdict import encoder_of, outputs_on
from asterism.verdict.selection import accuracy

METHODS = {
    "KD": KD(),
    "RKD": RKD(distance_weight=25.0, angle_weight=50.0),
    "RRD": RRD(bank_size=256, dim=16),
    "VRM": VRM(),
    "DIST": DIST(),
}
STUDENT = "mlp?hidden=16&dim=8"


def scaled(method: Method, factor: float) -> Method:
    """Return a fresh method, its weights times a factor."""
    config = method.config()
    weights = {k: factor * v for k, v in config.items() if k.endswith("weight")}
    return type(method)(**{**config, **weights})


def train(
    model: str,
    *,
    validation_share: float = 0.8,
    teacher: nn.Module | None = None,
    method: Method | None = None,
    seed: int = 0,
    epochs: int = 60,
    weights: str = "given",
) -> tuple[nn.Module, float | None]:
    """Return a trained model and its accuracy on the test digits; None if it broke down."""
    settings = Settings(
        epochs=epochs, batch_size=64, lr=0.05, seed=seed, keep="last", loss_weights=weights
    )
    request = Request(
        teacher=teacher,
        student=model,
        data="digits",
        method=method,
        validation_share=validation_share,
        settings=settings,
    )
    training = replace(with_anchors(open_training(request)), score=accuracy)
    with tempfile.TemporaryDirectory() as folder, processes(settings):
        try:
            fitted = fit(training, Run(folder))
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            return training.student, None
    test = training.data.test
    assert test is not None
    found = outputs_on(encoder_of(fitted.student), test, torch.arange(len(test)))
    return fitted.student, 100 * accuracy(found.outputs, found.target)["accuracy"]


def cell(found: Sequence[float | None]) -> str:
    known = [x for x in found if x is not None]
    broke = f" ({len(found) - len(known)} broke)" if len(known) < len(found) else ""
    if not known:
        return "broke"
    spread = f" ± {statistics.stdev(known):.1f}" if len(known) > 1 else ""
    return f"{statistics.mean(known):.1f}{spread}{broke}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--shares", type=float, nargs="+", default=[])
    options = parser.parse_args()
    seeds, factors = range(options.seeds), (1.0, 0.01, 100.0)
    teacher, known = train("convnet", validation_share=0.1, epochs=30)
    alone = [train(STUDENT, seed=seed)[1] for seed in seeds]
    print(f"Teacher {known:.1f} %; student from labels alone {cell(alone)} %.\n")
    ways = [(w, f) for w in ("given", "auto") for f in factors]
    heads = [f"{w}, weights ×{f:g}" if f != 1 else w for w, f in ways]
    if options.shares:
        ways, heads = [("auto", f) for f in options.shares], [f"{f:g}" for f in options.shares]
    print(f"| method | {' | '.join(heads)} |\n|{'---|' * (1 + len(ways))}")
    for name in options.methods:
        cells = []
        for weights, factor in ways:
            if options.shares:
                balance.SHARE, factor = factor, 1.0
            found = [
                train(
                    STUDENT,
                    teacher=teacher,
                    method=scaled(METHODS[name], factor),
                    seed=seed,
                    weights=weights,
                )[1]
                for seed in seeds
            ]
            cells.append(cell(found))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
