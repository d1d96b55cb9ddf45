"""Time and memory of all measures on many wide embeddings.

    python benchmarks/measures.py [--rows 50000] [--width 512] [--classes 100]

The teacher's embeddings are clusters whose directions fall off in strength, as trained networks'
do; the student's are a noisy linear image of them, half as wide and padded to the width by a second
one. Four baselines are measured beside the student, as at the end of `asterism distill`.
"""

import argparse
import resource
import time

import torch
from torch import Tensor

from asterism.measures import Cost
from asterism.types import Outputs
from asterism.verdict.baselines import reductions
from asterism.verdict.judgement import judge
from asterism.verdict.outputs import LEARNING_ROWS, Observed


def clusters(rows: int, width: int, classes: int, generator: torch.Generator) -> Outputs:
    strength = torch.arange(1, width + 1).float().rsqrt()
    centres = strength * torch.randn(classes, width, generator=generator)
    target = torch.arange(rows) % classes
    embedding = centres[target] + strength * torch.randn(rows, width, generator=generator)
    return Outputs(embedding, 2 * embedding @ centres.T / strength.sum())


def student_of(teacher: Outputs, noise: float, generator: torch.Generator) -> Outputs:
    width = teacher.embedding.shape[1]
    image = torch.randn(width, width, generator=generator) / width**0.5
    blurred = noise * torch.randn(teacher.embedding.shape, generator=generator)
    logits = teacher.logits
    assert logits is not None
    noisy = logits + noise * logits.std() * torch.randn(logits.shape, generator=generator)
    return Outputs((teacher.embedding + blurred) @ image, noisy)


def observed(outputs: Outputs, target: Tensor, rows: int) -> Observed:
    logits = outputs.logits
    assert logits is not None
    known, learnt = (
        Outputs(outputs.embedding[part], logits[part]) for part in (slice(rows), slice(rows, None))
    )
    return Observed(known, target[:rows], torch.arange(rows), learnt, target[rows:])


def main(rows: int, width: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    everything = rows + LEARNING_ROWS
    target = torch.arange(everything) % classes
    taught = clusters(everything, width, classes, generator)
    teacher = observed(taught, target, rows)
    student = observed(student_of(taught, 0.2, generator), target, rows)
    others = {
        "untrained": observed(student_of(taught, 2.0, generator), target, rows),
        "without teacher": observed(student_of(taught, 0.4, generator), target, rows),
        **reductions(teacher, width),
    }
    cost = Cost(1, 4, width, {1: 1.0, 64: 8.0}, 2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    begun, used = time.perf_counter(), time.process_time()
    found = judge(
        student,
        teacher,
        others,
        names=[str(c) for c in range(classes)],
        costs={"student": cost, "teacher": cost},
    )
    wall, processor = time.perf_counter() - begun, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(found["headline"])
    print(f"{len(found['measures'])} measures, sampling {found['sampling']}")
    print(
        f"{rows} x {width}, student, teacher and {len(others)} baselines: {wall:.0f} s "
        f"({processor:.0f} s of processor time, {torch.get_num_threads()} threads), "
        f"{peak:.2f} GiB at most, {before:.2f} GiB of it before measuring"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time and memory of all measures.")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=100)
    main(**vars(parser.parse_args()))
