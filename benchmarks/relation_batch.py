"""What a relation batch larger than the device's costs: time, memory, and how exact it is.

    python benchmarks/relation_batch.py [--samples 1024] [--chunk 64]

One step of RKD (distances and angles) on 32×32 images of random patches, with a residual network
without batch norm: in one pass, and in chunks whose graphs are built one at a time. Each form runs
in a process of its own; memory is the growth of its peak resident size during its steps, time is
processor time.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
import torch.fx.experimental.symbolic_shapes  # a first gradient would import it, in a step
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import RKD, Outputs
from asterism.data import ArraySource, Data
from asterism.engine import Training
from asterism.engine.encoder import Encoder
from asterism.engine.objective import objective_of
from asterism.request import Request
from asterism.settings import Settings
from asterism.types import Batch


class Student(nn.Module):
    """Six residual blocks of 32 channels with group norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 1, 1)
        self.convs = nn.ModuleList(nn.Conv2d(32, 32, 3, 1, 1) for _ in range(6))
        self.norms = nn.ModuleList(nn.GroupNorm(8, 32) for _ in range(6))

    def forward(self, images: Tensor) -> Outputs:
        x = F.max_pool2d(self.stem(images), 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + F.relu(norm(conv(x)))
        return Outputs(x.mean((2, 3)))


def measure(samples: int, chunk: int, steps: int) -> dict[str, Any]:
    """Return median processor seconds and megabytes of a step, and its gradient."""
    torch.manual_seed(0)
    student, teacher = Student(), nn.Sequential(nn.Flatten(), nn.Linear(3072, 64))
    images = F.interpolate(torch.rand(samples, 3, 4, 4), 32)  # coarse, as pictures are
    with torch.no_grad():
        taught = Outputs(teacher(images))
    rows = torch.arange(samples)
    training = Training(
        request=Request(settings=Settings(batch_size=chunk, channels_last=False)),
        data=Data(ArraySource(images), rows, rows),
        student=student,
        teacher=None,  # what it returns is at hand
        methods=(RKD(),),
        views=None,
        use_labels=False,
    )
    encoder, objective = Encoder(training, student, images.device), objective_of(training)
    batch = Batch((images,), rows)
    before, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for step in range(steps):
        student.zero_grad()
        begun = time.process_time()
        passed = encoder.encode(batch, 0, (0, step))
        terms = objective.terms(passed.student, [taught], passed.batch, [samples])
        torch.stack(list(terms.values())).sum().backward()
        passed.encoded.backward()
        times.append(time.process_time() - begun)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    gradient = torch.cat([p.grad.flatten() for p in student.parameters()])
    return {
        "seconds": statistics.median(times),
        "megabytes": grown / 1024,
        "gradient": gradient.tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of a large relation batch.")
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--chunk", type=int, default=64)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument(
        "--form", choices=["one pass", "chunks"], help="for the processes it starts"
    )
    given = parser.parse_args()
    if given.form:
        chunk = given.chunk if given.form == "chunks" else given.samples
        print(json.dumps(measure(given.samples, chunk, given.steps)))
        return
    found = {}
    for form in ("one pass", "chunks"):
        command = [sys.executable, *sys.argv, "--form", form]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[form] = json.loads(done.stdout)
    whole, parts = found["one pass"], found["chunks"]
    one, two = torch.tensor(whole["gradient"]), torch.tensor(parts["gradient"])
    print(
        f"{given.samples} samples, torch {torch.__version__}, {torch.get_num_threads()} threads\n"
    )
    print("| form | seconds | extra memory |\n|---|---|---|")
    print(f"| one pass | {whole['seconds']:.2f} | {whole['megabytes']:.0f} MB |")
    print(f"| chunks of {given.chunk} | {parts['seconds']:.2f} | {parts['megabytes']:.0f} MB |")
    print(
        f"\nTime {parts['seconds'] / whole['seconds']:.2f}×, memory "
        f"{100 * parts['megabytes'] / whole['megabytes']:.0f} %, gradients differ by "
        f"{(one - two).norm() / one.norm():.1e} (relative)."
    )


if __name__ == "__main__":
    main()
