"""Tests for asterism/measures/cost.py."""

import importlib
import json
import time
from dataclasses import asdict

import pytest
import torch
from torch import nn

from asterism import Outputs
from asterism.measures import cost

cost_module = importlib.import_module("asterism.measures.cost")


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 5)
        self.norm = nn.BatchNorm1d(5)
        self.seen = []

    def forward(self, rows):
        self.seen.append((len(rows), self.training, torch.is_grad_enabled()))
        return Outputs(self.norm(self.body(rows)))


def test_counts_parameters_and_bytes():
    measured = cost(Student(), torch.zeros(1, 6), batch_sizes=[1], repeats=1)
    assert measured.parameters == 6 * 5 + 5 + 5 + 5
    assert measured.bytes == 4 * (measured.parameters + 5 + 5) + 8  # an int64 counts the batches
    assert measured.embedding_dim == 5

    half = cost(Student().bfloat16(), torch.zeros(1, 6).bfloat16(), batch_sizes=[1], repeats=1)
    assert half.parameters == measured.parameters
    assert half.bytes == 2 * (measured.parameters + 5 + 5) + 8


def test_counts_shared_tensors_once():
    student = Student()
    student.again = student.body
    plain = cost(Student(), torch.zeros(1, 6), batch_sizes=[1], repeats=1)
    shared = cost(student, torch.zeros(1, 6), batch_sizes=[1], repeats=1)
    assert (shared.parameters, shared.bytes) == (plain.parameters, plain.bytes)


def test_runs_full_batches_in_eval_mode_and_leaves_the_model_as_it_was():
    student = Student().train()
    student.norm.eval()
    measured = cost(student, torch.zeros(3, 6), batch_sizes=[1, 7], repeats=4)
    assert set(measured.latency_ms) == {1, 7}
    sizes, training, graph = zip(*student.seen, strict=True)
    assert sizes.count(1) >= 4
    assert sizes.count(7) >= 4
    assert not any(training)
    assert not any(graph)
    assert student.training
    assert not student.norm.training


def test_times_say_how_far_they_spread_and_on_what():
    measured = cost(Student(), torch.zeros(1, 6), batch_sizes=[1, 3], repeats=7)
    assert (measured.passes, set(measured.quartiles_ms)) == (7, {1, 3})
    for n, (low, high) in measured.quartiles_ms.items():
        assert 0 < low <= measured.latency_ms[n] <= high
    assert measured.machine.endswith(f" CPU, {torch.get_num_threads()} threads")


def test_takes_texts():
    class Reader(nn.Module):
        def forward(self, texts):
            return Outputs(torch.tensor([[float(len(text)), 1.0] for text in texts]))

    measured = cost(Reader(), ["a star", "a sky"], batch_sizes=[1, 5], repeats=1)
    assert (measured.parameters, measured.bytes, measured.embedding_dim) == (0, 0, 2)


def test_latency_is_the_median_in_milliseconds():
    class Sleeper(nn.Module):
        calls = 0

        def forward(self, rows):
            self.calls += 1
            time.sleep(0.2 if self.calls in (1, 2, 6) else 0.005)  # slow at first, and once later
            return Outputs(rows)

    measured = cost(Sleeper(), torch.zeros(1, 2), batch_sizes=[1], repeats=5)
    assert 5 <= measured.latency_ms[1] < 100


@pytest.mark.parametrize(("seconds", "passes"), [(0.0, 2), (0.05, 3), (60.0, 7)])
def test_a_slow_model_is_timed_by_fewer_passes(monkeypatch, seconds, passes):
    """On a clock of its own, at 20 ms a pass: not every large network can be run 22 times 64."""
    now = iter(range(10_000))
    monkeypatch.setattr(cost_module.time, "perf_counter", lambda: next(now) / 100)
    monkeypatch.setattr(cost_module, "LONGEST", seconds)
    student = Student()
    measured = cost(student, torch.zeros(1, 6), batch_sizes=[3], repeats=5)
    assert [size for size, *_ in student.seen].count(3) == passes
    assert measured.latency_ms[3] == pytest.approx(10)


def test_is_ready_for_json():
    restored = json.loads(json.dumps(asdict(cost(Student(), torch.zeros(1, 6), repeats=1))))
    assert set(restored["latency_ms"]) == {"1", "64"}


def test_says_what_it_needs():
    for arguments in ({"example": torch.zeros(0, 6)}, {"batch_sizes": [0]}, {"repeats": 0}):
        arguments = {"example": torch.zeros(1, 6), **arguments}
        with pytest.raises(ValueError, match="cost needs an example, batch sizes and repeats"):
            cost(Student(), **arguments)


def test_counts_operations_of_one_sample_and_the_size_of_an_index():
    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 3, padding=1)
            self.head = nn.Linear(5, 7)

        def forward(self, images):
            return Outputs(self.head(self.conv(images).mean((2, 3))))

    measured = cost(Convolution(), torch.zeros(4, 3, 6, 6), batch_sizes=[1, 2], repeats=1)
    assert measured.flops == 2 * (6 * 6 * 5 * 3 * 3 * 3) + 2 * 5 * 7
    assert measured.index_bytes == 28_000_000
    rates = {1: 1000 / measured.latency_ms[1], 2: 2000 / measured.latency_ms[2]}
    assert measured.throughput == pytest.approx(rates)
