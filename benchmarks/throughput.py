"""Images per second of distilling: a plain loop, ours with the teacher, ours from a cache.

    python benchmarks/throughput.py TRAIN.npz TEACHER [--rows 1024] [--rounds 5] [--threads 2]

TRAIN.npz is what `benchmarks/cifar.py` decodes; TEACHER is, for example,
`benchmarks/cifar.py:resnet_w?depth=32&weights=FILE.safetensors`. The plain loop is the one that is
written first: transforms image by image with Pillow in two worker processes, float32, the teacher
in every step. All arms have the same batches, losses (RKD, KD and cross-entropy) and optimiser.

The arms take turns in one process, and a figure is the median of the ratios within a round: a busy
machine slows all arms alike. Each cell has two: by the processor's time, of all threads and worker
processes, and by the clock, which means something on a machine that is idle otherwise.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from asterism import KD, RKD, recipe
from asterism.data import ArraySource, open_source
from asterism.engine import Training, fit
from asterism.engine.optimiser import make_optimizer
from asterism.engine.processes import processes
from asterism.request import Request
from asterism.run import Run
from asterism.settings import Settings
from asterism.teachers.cached import CachedTeacher, Table
from asterism.training import open_training, with_anchors

VIEWS = 4
BATCH = 128
WARM_UP = 2  # steps
BARE = "ours, without a teacher"


class Moment(NamedTuple):
    """Two clocks: seconds of the processor, of this process and its ended children; of the wall."""

    processor: float
    wall: float


def now() -> Moment:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Moment(time.process_time() + ended.ru_utime + ended.ru_stime, time.perf_counter())


class Clock(Run):
    """A run folder that notes when each step ended: with `log_every` 1 each writes a line."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.moments: list[Moment] = []

    def append_metrics(self, line: dict[str, Any]) -> None:
        if "lr" in line:
            self.moments.append(now())

    def steps(self) -> Moment:
        """Return the median times of a step."""
        pairs = list(zip(self.moments[WARM_UP:], self.moments[WARM_UP + 1 :], strict=False))
        return Moment(*(statistics.median(b[i] - a[i] for a, b in pairs) for i in (0, 1)))


class Pictures(torch.utils.data.Dataset):
    """Image by image, as usual: four pixels of border, a random crop, a random flip, a tensor."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images.permute(0, 2, 3, 1).numpy(), targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        picture = ImageOps.expand(Image.fromarray(self.images[row]), border=4)
        left, top, mirrored = (int(torch.randint(n, ())) for n in (9, 9, 2))
        picture = picture.crop((left, top, left + 32, top + 32))
        picture = ImageOps.mirror(picture) if mirrored else picture
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        return pixels.float().div(255), self.targets[row]


def plain(training: Training, *, workers: int) -> Moment:
    """Train for an epoch, as one does; return the times of a step, loading included."""
    student, teacher = training.student.train(), training.teacher.network
    optimizer = make_optimizer([student], training.settings)
    pictures = Pictures(training.data.source.samples, training.data.source.targets)
    loader = torch.utils.data.DataLoader(
        pictures, BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    begun = now()
    for images, target in loader:
        with torch.no_grad():
            taught = teacher(images)
        output = student(images)
        loss = torch.nn.functional.cross_entropy(output.logits, target)
        for method in training.methods:
            loss = loss + sum(method(output, taught).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ended = now()
    return Moment(*((b - a) / len(loader) for a, b in zip(begun, ended, strict=True)))


def ours(training: Training) -> Moment:
    """Train for an epoch with the engine; return the times of a step, loading included."""
    training = replace(with_anchors(training), score=lambda outputs, target: {"nothing": 0.0})
    with tempfile.TemporaryDirectory() as folder, processes(training.settings):
        run = Clock(Path(folder))
        fit(training, run)
    step = run.steps()
    if not isinstance(training.teacher, CachedTeacher):
        return step
    rows, cache = len(training.data.source), training.teacher.cache
    begun = now()  # each epoch opens another view and reads it once, for its checksums
    Table(cache, "training", "real-0")(torch.arange(0, rows, cache.manifest.shard_rows))
    batches = rows / BATCH
    return Moment(*(s + (b - a) / batches for s, a, b in zip(step, begun, now(), strict=True)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("teacher")
    parser.add_argument("--student", default="resnet20")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="processes of the plain loop")
    parser.add_argument("--precision", default="32", help="32 or bf16, of all arms but the first")
    parser.add_argument("--compile", action="store_true", help="likewise")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    whole = open_source(asked.data)
    source, few = (
        ArraySource(whole.samples[:rows], whole.targets[:rows], names=whole.names)
        for rows in (asked.rows, 2)
    )
    same = {"epochs": 1, "batch_size": BATCH, "optimizer": "sgd", "lr": 0.05, "log_every": 1}
    same |= {"view_count": VIEWS, "keep": "last", "accelerator": "cpu"}
    settings = Settings(**same, precision=asked.precision, compile=asked.compile)

    def opened(teacher: str | Path | None, settings: Settings = settings) -> Training:
        # Each time anew: the engine changes a teacher's memory format, which would help the plain
        # loop.
        return open_training(
            Request(
                teacher=teacher,
                student=asked.student,
                data=source,
                validation_data=few,
                method=[RKD(distance_weight=25.0, angle_weight=50.0), KD()],
                settings=settings,
            )
        )

    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        recipe.cache(asked.teacher, source, out=cache, views=VIEWS)
        arms: dict[str, Callable[[], Moment]] = {
            "plain loop": lambda: plain(
                opened(asked.teacher, Settings(**same)), workers=asked.workers
            ),
            "ours, teacher in every step": lambda: ours(opened(asked.teacher)),
            "ours, from a cache": lambda: ours(opened(cache)),
            BARE: lambda: ours(opened(None)),
        }
        found: dict[str, list[Moment]] = {name: [] for name in arms}
        for number in range(asked.rounds + 1):
            for name, arm in arms.items():
                step = arm()
                if number:  # the first round warms up
                    found[name].append(step)
    tell(found)
    print(f"\ntorch {torch.__version__}, {asked.threads} threads, {asked.rounds} rounds")


def tell(found: dict[str, list[Moment]]) -> None:
    """Print the table."""
    print("| arm | images/s | times the plain loop | times the time without a teacher |")
    print("|---|---|---|---|")
    bare = found[BARE]
    for name, steps in found.items():
        cells: list[list[str]] = [[], [], []]
        for clock in (0, 1):
            rate = BATCH / statistics.median(step[clock] for step in steps)
            faster = (a[clock] / b[clock] for a, b in zip(found["plain loop"], steps, strict=True))
            longer = (a[clock] / b[clock] for a, b in zip(steps, bare, strict=True))
            cells[0].append(f"{rate:,.0f}")
            cells[1].append(f"{statistics.median(faster):.2f}")
            cells[2].append(f"{statistics.median(longer):.2f}")
        print(f"| {name} | " + " | ".join(" / ".join(cell) for cell in cells) + " |")


if __name__ == "__main__":
    main()
