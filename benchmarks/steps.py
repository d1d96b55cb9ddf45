"""What each method adds to a training step of resnet20, the teacher's outputs at hand.

    python benchmarks/steps.py [--rounds 9] [--batch-size 128] [--threads 1]

Steps of all methods take turns in one process, so that a busy machine slows all of them alike; the
figures are medians of the ratios to plain training (cross-entropy alone) in the same round. The
images are random, the teacher's outputs too: neither changes what a step costs.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import asterism
from asterism import Method, Outputs
from asterism.data import ArraySource, Data
from asterism.engine import Training
from asterism.engine.encoder import Encoder
from asterism.engine.objective import objective_of
from asterism.engine.optimiser import make_optimizer
from asterism.methods import __all__ as METHODS
from asterism.models import Spec, build
from asterism.request import Request
from asterism.settings import Settings
from asterism.teachers import LiveTeacher

CLASSES, TEACHER_DIM = 10, 64


class Known(nn.Module):
    """A teacher whose outputs cost nothing."""

    def forward(self, images: torch.Tensor) -> Outputs:
        generator = torch.Generator().manual_seed(len(images))
        rows = torch.randn(len(images), TEACHER_DIM + CLASSES, generator=generator)
        return Outputs(rows[:, :TEACHER_DIM], rows[:, TEACHER_DIM:])


def stepper(method: Method | None, data: Data, *, both: bool = False) -> Callable[[], None]:
    """Return what takes one step of training."""
    torch.manual_seed(0)
    student = build("resnet20", Spec(CLASSES, (3, 32, 32), (0.5,) * 3, (0.25,) * 3)).train()
    methods = [] if method is None else [method]
    for one in methods:
        one.setup(student_dim=64, teacher_dim=TEACHER_DIM, rows=50_000)
    source = data.source
    settings = Settings(batch_size=len(source), train_views="real,virtual" if both else None)
    views = 2 if both else max([1, *(one.views for one in methods)])
    teacher = LiveTeacher(Known(), source.modality, source.shape) if methods else None
    training = Training(
        request=Request(settings=settings),
        data=data,
        student=student,
        teacher=teacher,
        methods=tuple(methods),
        views=source.views(settings, virtual=views - 1),
        use_labels=True,
        taught=teacher and teacher.on(source),
    )
    encoder = Encoder(training, student, torch.device("cpu"))
    objective = objective_of(training)
    optimizer = make_optimizer([student, objective], settings)
    batch = source.__getitems__(data.train.tolist())
    number = 0

    def step() -> None:
        nonlocal number
        number += 1
        passed = encoder.encode(batch, number, (0, number))
        terms = objective.terms(passed.student, passed.teacher, passed.batch, [len(source)])
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        passed.encoded.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    n = asked.batch_size
    images = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8)
    source = ArraySource(images, torch.randint(CLASSES, (n,)))
    data = Data(source, torch.arange(n), torch.arange(n))
    steps = {"cross-entropy": stepper(None, data)}
    steps |= {name: stepper(getattr(asterism, name)(), data) for name in METHODS}
    steps["KD, both views"] = stepper(asterism.KD(), data, both=True)
    ratios: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(asked.rounds):
        seconds = {}
        for name, step in steps.items():
            begun = time.process_time()
            step()
            seconds[name] = time.process_time() - begun
        for name, spent in seconds.items():
            ratios[name].append(spent / seconds["cross-entropy"])
    print(f"resnet20, batch {n}, {asked.threads} threads, torch {torch.__version__}\n")
    print("| method | time of a step |\n|---|---|")
    for name, found in ratios.items():
        print(f"| {name} | {statistics.median(found):.2f}× |")


if __name__ == "__main__":
    main()
