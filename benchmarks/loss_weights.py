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

import torch
from torch import nn

from asterism import DIST, KD, RKD, RRD, VRM, Method
from asterism.verdict import outputs_of, selection
from asterism.data import Data, open_data
from asterism.engine import Settings, balance, fit, seed_everything, training_views
from asterism.measures import classification
from asterism.models import Spec, build
from asterism.run import Run

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
    data: Data,
    *,
    teacher: nn.Module | None = None,
    method: Method | None = None,
    seed: int = 0,
    epochs: int = 60,
    weights: str = "given",
) -> tuple[nn.Module, float | None]:
    """Return a trained model and its accuracy on the test digits; None if it broke down."""
    seed_everything(seed, verbose=False)
    trained = build(model, Spec(data.classes, data.source.image_shape, *data.statistics()))
    widths = [outputs_of(m, data.source, torch.arange(2))[0] for m in (trained, teacher) if m]
    if method is not None:
        dims = [x.embedding.shape[1] for x in widths]
        method.setup(student_dim=dims[0], teacher_dim=dims[1], rows=len(data.source))
    methods = [] if method is None else [method]
    settings = Settings(
        epochs=epochs, batch_size=64, lr=0.05, seed=seed, keep="last", loss_weights=weights
    )
    with tempfile.TemporaryDirectory() as folder:
        try:
            fitted = fit(
                trained,
                teacher,
                methods,
                data,
                Run(folder),
                settings=settings,
                views=training_views(data.source, methods, settings),
                score=selection(teacher, data, use_labels=True),
                use_labels=True,
            )  # fmt: skip
        except ValueError as error:
            if "not finite" not in str(error):
                raise
            return trained, None
    assert data.test is not None
    outputs, target = outputs_of(fitted.student, data.test, torch.arange(len(data.test)))
    assert outputs.logits is not None
    assert target is not None
    return fitted.student, 100 * float(classification(outputs.logits, target).top1 or 0)


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
    teacher, accuracy = train("convnet", open_data("digits"), epochs=30)
    few = open_data("digits", validation_share=0.8)
    alone = [train(STUDENT, few, seed=seed)[1] for seed in seeds]
    print(f"Teacher {accuracy:.1f} %; student from labels alone {cell(alone)} %.\n")
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
                    few,
                    teacher=teacher.eval(),
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
