"""Time and memory of the relations beside a plain transcription of their formulas.

    python benchmarks/relations.py [--only angle …] [--long] [--rounds 5] [--threads 1]

prints the tables of docs/results.md. A row is one shape. Time is that of one forward and backward
pass: both forms run in turn in one process, and the ratio is the median of the rounds' ratios. With
one thread it is processor time, which other work on the machine hardly changes. Memory is the
growth of the process's peak resident size over what it held before the pass, inputs included, in a
fresh process for each form (Linux; on a GPU the allocator's own peak). A plain form that would need
more than `--cap` gigabytes, from the sizes of its largest tensors, is not run. `--peer
module:function` compares the angle term with a function of student and teacher of your own instead.
"""

import argparse
import importlib
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import asterism
from asterism.models import Spec, build

Loss = Callable[..., Tensor]


def plain_angle(student: Tensor, teacher: Tensor) -> Tensor:
    def cosines(rows: Tensor) -> Tensor:
        units = F.normalize(rows[None] - rows[:, None], dim=2)
        return torch.bmm(units, units.transpose(1, 2))

    return F.smooth_l1_loss(cosines(student), cosines(teacher))


def plain_distance(student: Tensor, teacher: Tensor) -> Tensor:
    def scaled(rows: Tensor) -> Tensor:
        norm = rows.square().sum(1)
        square = (norm[:, None] + norm - 2 * rows @ rows.T).clamp(min=1e-12)
        length = square.sqrt() * (1 - torch.eye(len(rows), device=rows.device))
        return length / length[length > 0].mean()

    return F.smooth_l1_loss(scaled(student), scaled(teacher))


def edges(start: Tensor, end: Tensor) -> Tensor:
    return F.normalize(start[:, None] - end, dim=2)


def plain_sample_edges(s: Tensor, sv: Tensor, t: Tensor, tv: Tensor) -> Tensor:
    return F.huber_loss(edges(s, sv), edges(t, tv))


def plain_class_edges(s: Tensor, sv: Tensor, t: Tensor, tv: Tensor) -> Tensor:
    classes_s, classes_t = torch.cat([s, sv]).T, torch.cat([t, tv]).T
    gap = edges(classes_s, classes_s) - edges(classes_t, classes_t)
    return gap.square().sum() / (len(gap) * (len(gap) - 1))


def plain_profiles(student: Tensor, teacher: Tensor, bank: Tensor) -> Tensor:
    bank = bank.clone()
    target = (F.normalize(teacher) @ bank.T / 0.02).softmax(1)
    return -(target * (F.normalize(student) @ bank.T / 0.1).log_softmax(1)).sum(1).mean()


@dataclass(frozen=True)
class Subject:
    """A loss in two forms.

    Attributes:
        title: Of its table.
        ours: Our form.
        plain: The transcription of the formula.
        inputs: Makes the inputs of both from two sizes; the first `learnt` of them learn.
        learnt: See above.
        needs: Bytes that the plain form needs for the two sizes, about.
        sizes: Names of the two sizes.
        shapes: Sizes of the rows.
        long: Sizes of the rows that take minutes.
    """

    title: str
    ours: Loss
    plain: Loss
    inputs: Callable[[int, int], list[Tensor]]
    learnt: int
    needs: Callable[[int, int], float]
    sizes: tuple[str, str]
    shapes: tuple[tuple[int, int], ...]
    long: tuple[tuple[int, int], ...] = ()


def embeddings(n: int, d: int) -> list[Tensor]:
    return [torch.randn(n, d), torch.randn(n, d)]


def views(n: int, c: int) -> list[Tensor]:
    return [torch.randn(n, c) for _ in range(4)]


def with_bank(n: int, k: int) -> list[Tensor]:
    return [torch.randn(n, 128), torch.randn(n, 128), F.normalize(torch.randn(k, 128))]


SUBJECTS = {
    "angle": Subject(
        "RKD, angles: `rkd_angle_loss`",
        asterism.rkd_angle_loss, plain_angle, embeddings, 1,
        lambda n, d: 4 * (5 * n**2 * d + 2 * n**3), ("n", "d"),
        ((16, 64), (64, 64), (64, 512), (128, 64), (256, 128), (256, 512), (512, 512), (1024, 512)),
        ((2048, 1024), (4096, 512)),
    ),
    "distance": Subject(
        "RKD, distances: `rkd_distance_loss`",
        asterism.rkd_distance_loss, plain_distance, embeddings, 1,
        lambda n, d: 40 * n**2, ("n", "d"),
        ((64, 128), (256, 512), (1024, 512)), ((4096, 512), (4096, 1024)),
    ),
    "sample": Subject(
        'VRM between samples: `vrm_inter_sample_loss(form="huber")`',
        partial(asterism.vrm_inter_sample_loss, form="huber"), plain_sample_edges, views, 2,
        lambda n, c: 4 * 6 * n**2 * c, ("n", "c"),
        ((64, 100), (128, 100), (512, 1000)), ((256, 21_000), (4096, 1000)),
    ),
    "class": Subject(
        'VRM between classes: `vrm_inter_class_loss(form="squared")`',
        partial(asterism.vrm_inter_class_loss, form="squared"), plain_class_edges, views, 2,
        lambda n, c: 4 * 6 * c**2 * 2 * n, ("n", "c"),
        ((64, 100), (256, 100), (64, 1000)), ((256, 1000), (256, 21_000)),
    ),
    "profile": Subject(
        "RRD, width 128: `rrd_loss`",
        asterism.rrd_loss, plain_profiles, with_bank, 1,
        lambda n, k: 4 * (6 * n * k + 128 * k), ("n", "bank"),
        ((64, 16_384), (256, 16_384), (256, 262_144)), ((1024, 262_144),),
    ),
}  # fmt: skip


def prepared(name: str, shape: tuple[int, int], device: str) -> list[Tensor]:
    torch.manual_seed(0)
    inputs = [x.to(device) for x in SUBJECTS[name].inputs(*shape)]
    for x in inputs[: SUBJECTS[name].learnt]:
        x.requires_grad_()
    return inputs


def now(device: str | torch.device) -> float:
    if torch.device(device).type != "cpu":
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def once(loss: Loss, inputs: list[Tensor], passes: int = 1) -> float:
    """Return the seconds of a forward and backward pass, the mean of some."""
    learnt = [x for x in inputs if x.requires_grad]
    begun = now(inputs[0].device)
    for _ in range(passes):
        torch.autograd.grad(loss(*inputs), learnt)
    return (now(inputs[0].device) - begun) / passes


def seconds(name: str, shape: tuple[int, int], forms: list[Loss], options: argparse.Namespace):
    """Return the seconds of each form in each round; the forms take turns."""
    torch.set_num_threads(options.threads)
    inputs = prepared(name, shape, options.device)
    warm = once(forms[0], inputs)
    for form in forms[1:]:
        torch.testing.assert_close(form(*inputs), forms[0](*inputs), rtol=1e-3, atol=1e-5)
    if warm > 20 and len(forms) == 1:
        return [[warm]]  # minutes: once is enough
    # To read the clock costs something too: of short passes many are timed together. A hundred
    # rounds of milliseconds are as quick as five of seconds.
    each = once(forms[-1], inputs)
    passes = max(1, int(0.01 / each))
    rounds = max(options.rounds, min(300, int(3 / (passes * each))))
    table = [[once(form, inputs, passes) for form in forms] for _ in range(rounds)]
    return [list(column) for column in zip(*table, strict=True)]


def extra_bytes(name: str, shape: tuple[int, int], form: Loss, options: argparse.Namespace) -> int:
    """Return by how much memory grows during a pass. Must run in a fresh process."""
    torch.set_num_threads(options.threads)
    once(form, prepared(name, (8, 8), options.device))  # what any pass loads
    inputs = prepared(name, shape, options.device)
    if options.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once(form, inputs)
        return torch.cuda.max_memory_allocated() - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = resident("VmRSS")
    once(form, inputs)
    return resident("VmHWM") - before


def resident(field: str) -> int:
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status[field].split()[0])


def in_fresh_process(work, *arguments):
    """Peaks of one measurement must not hide those of the next."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(work, *arguments).result()


def table(name: str, options: argparse.Namespace) -> None:
    subject, other = SUBJECTS[name], "plain form"
    plain = subject.plain
    if options.peer and name == "angle":
        module, function = options.peer.split(":")
        plain, other = getattr(importlib.import_module(module), function), options.peer
    print(f"\n{subject.title}\n")
    one, two = subject.sizes
    print(f"| {one} | {two} | ours | {other} | times faster | ours | {other} | times less |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in subject.long if options.long else subject.shapes:
        need = subject.needs(*shape)
        fits = need <= options.cap * 1e9
        forms = [subject.ours, plain] if fits else [subject.ours]
        times = in_fresh_process(seconds, name, shape, forms, options)
        sizes = [in_fresh_process(extra_bytes, name, shape, form, options) for form in forms]
        ours, size = duration(statistics.median(times[0])), volume(sizes[0])
        row = [ours, "–", "–", size, f"not run: about {volume(need)}", "–"]
        if fits:
            faster = statistics.median(p / o for o, p in zip(*times, strict=True))
            less = sizes[1] / max(sizes[0], 2**20)  # pages come in steps; below 1 MB is noise
            theirs = duration(statistics.median(times[1])), volume(sizes[1])
            row = [ours, theirs[0], f"{faster:.1f}", size, theirs[1], f"{less:.1f}"]
        print(f"| {shape[0]:,} | {shape[1]:,} | {' | '.join(row)} |", flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def volume(size: float) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{max(1, size / 2**20):.0f} MB"


def precision() -> None:
    """Print the error of the angle gradient in float32, relative to float64."""
    print("\nRKD, angles: relative error of the float32 gradient, n = 128, d = 64\n")
    print("| data | ours | plain form |\n|---|---|---|")
    torch.manual_seed(0)
    centres, noise, teacher = torch.randn(8, 64), torch.randn(128, 64), torch.randn(128, 64)
    centres = centres.repeat_interleave(16, dim=0)
    data = {"Gaussian": noise, "Gaussian, offset 100": noise + 100}
    for spread in (1e-2, 1e-3, 1e-4):
        data[f"8 clusters, spread {spread:g}"] = centres + spread * noise
    for name, student in data.items():
        exact = gradient(plain_angle, student.double(), teacher.double())
        errors = [
            (gradient(form, student, teacher) - exact).norm() / exact.norm()
            for form in (asterism.rkd_angle_loss, plain_angle)
        ]
        print(f"| {name} | {errors[0]:.0e} | {errors[1]:.0e} |", flush=True)


def gradient(loss: Loss, student: Tensor, teacher: Tensor) -> Tensor:
    student = student.clone().requires_grad_()
    return torch.autograd.grad(loss(student, teacher), student)[0].double()


def share_of_a_step(options: argparse.Namespace) -> None:
    """Print what RKD with both terms costs beside a training step of a resnet20."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    student = build("resnet20", Spec(classes=10, shape=(3, 32, 32))).to(options.device)
    images, target = torch.rand(128, 3, 32, 32), torch.randint(10, (128,))
    teacher = asterism.Outputs(torch.randn(128, 64).to(options.device))
    images, target = images.to(options.device), target.to(options.device)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)

    def step() -> Tensor:
        outputs = student(images)
        loss = F.cross_entropy(outputs.logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return outputs.embedding.detach().requires_grad_()

    shares, method = [], asterism.RKD()
    for _ in range(options.rounds + 1):
        begun = now(options.device)
        embedding = step()
        between = now(options.device)
        sum(method(asterism.Outputs(embedding), teacher).values()).backward()
        shares.append((now(options.device) - between) / (between - begun))
    share = statistics.median(shares[1:])
    print(
        f"\nRKD (both terms) beside a float32 resnet20 step of 128 images: {share:.1%}", flush=True
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time and memory of the relations.")
    parts = (*SUBJECTS, "precision", "step")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to run")
    parser.add_argument("--long", action="store_true", help="only the rows that take minutes")
    parser.add_argument("--rounds", type=int, default=5, help="at least so many per row")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cap", type=float, default=8.0, help="gigabytes for a plain form")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer", help="module:function to compare the angle term with")
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.threads} threads, {options.device}, float32")
    for part in options.only:
        if part == "precision":
            precision()
        elif part == "step":
            share_of_a_step(options)
        else:
            table(part, options)
