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
import copy
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from asterism import KD, RKD
from asterism.teachers import embed
from asterism.data import ArraySource, CachedTeacher, Data, open_cache, open_data
from asterism.teachers.cached import Table
from asterism.engine import Settings, fit, seed_everything, training_views
from asterism.engine.optimiser import make_optimizer
from asterism.training.models import open_teacher, try_out
from asterism.methods.base import Method
from asterism.models import Spec, build
from asterism.run import Run

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


def methods_of(student: nn.Module, teacher: nn.Module | None, data: Data) -> list[Method]:
    """Return the methods of every arm, set up; none without a teacher."""
    if teacher is None:
        return []
    methods: list[Method] = [RKD(distance_weight=25.0, angle_weight=50.0), KD()]
    widths = [try_out(model, data, "model").embedding.shape[1] for model in (student, teacher)]
    for method in methods:
        method.setup(student_dim=widths[0], teacher_dim=widths[1], rows=len(data.source))
    return methods


def plain(
    student: nn.Module, teacher: nn.Module, data: Data, settings: Settings, *, workers: int
) -> Moment:
    """Train for an epoch, as one does; return the times of a step, loading included."""
    methods = methods_of(student, teacher, data)
    student.train()
    optimizer = make_optimizer([student], settings)
    pictures = Pictures(data.source.images, data.source.targets)
    loader = torch.utils.data.DataLoader(
        pictures, BATCH, shuffle=True, num_workers=workers, drop_last=True
    )
    begun = now()
    for images, target in loader:
        with torch.no_grad():
            taught = teacher(images)
        output = student(images)
        loss = torch.nn.functional.cross_entropy(output.logits, target)
        for method in methods:
            loss = loss + sum(method(output, taught).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ended = now()
    return Moment(*((b - a) / len(loader) for a, b in zip(begun, ended, strict=True)))


def ours(student: nn.Module, teacher: nn.Module | None, data: Data, settings: Settings) -> Moment:
    """Train for an epoch with the engine; return the times of a step, loading included."""
    methods = methods_of(student, teacher, data)
    known = teacher if isinstance(teacher, CachedTeacher) else None
    with tempfile.TemporaryDirectory() as folder:
        run = Clock(Path(folder))
        fit(
            student,
            teacher,
            methods,
            data,
            run,
            settings=settings,
            score=lambda outputs, target: {"nothing": 0.0},
            use_labels=True,
            views=training_views(data.source, methods, settings),
            known=known and known.on(data.source),
        )
    step = run.steps()
    if known is None:
        return step
    begun = now()  # each epoch opens another view and reads it once, for its checksums
    table = Table(known.cache, "training", "real-0")
    table(torch.arange(0, len(data.source), known.cache.manifest.shard_rows))
    batches = len(data.source) / BATCH
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
    whole = open_data(asked.data).source
    source = ArraySource(whole.images[: asked.rows], whole.targets[: asked.rows], names=whole.names)
    data = Data(source, torch.arange(len(source)), torch.arange(2))
    teacher = open_teacher(asked.teacher, data).requires_grad_(False)
    same = {"epochs": 1, "batch_size": BATCH, "optimizer": "sgd", "lr": 0.05, "log_every": 1}
    same |= {"view_count": VIEWS, "keep": "last", "accelerator": "cpu"}
    settings = Settings(**same, precision=asked.precision, compile=asked.compile)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        embed(asked.teacher, source, out=cache, views=VIEWS)
        known = CachedTeacher(open_cache(cache))
        spec = Spec(data.classes, source.image_shape, *data.statistics())
        arms: dict[str, Callable[[nn.Module], Moment]] = {
            "plain loop": partial(
                plain, teacher=teacher, data=data, settings=Settings(**same), workers=asked.workers
            ),
            # A copy: the engine changes its memory format, which would help the plain loop.
            "ours, teacher in every step": partial(ours, teacher=copy.deepcopy(teacher)),
            "ours, from a cache": partial(ours, teacher=known),
            BARE: partial(ours, teacher=None),
        }
        for name in list(arms)[1:]:
            arms[name] = partial(arms[name], data=data, settings=settings)
        found: dict[str, list[Moment]] = {name: [] for name in arms}
        for number in range(asked.rounds + 1):
            for name, arm in arms.items():
                seed_everything(0, verbose=False)
                step = arm(build(asked.student, spec))
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
