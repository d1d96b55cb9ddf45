"""Tests for asterism/distributed.py: several processes give the gradient of one."""

import datetime
import multiprocessing
import tempfile
import traceback

import pytest
import torch
import torch.distributed as dist
from torch import nn

import asterism
from asterism import Outputs
from asterism.data import Data
from asterism.data.source import Source
from asterism.distributed import (
    any_rank,
    average_buffers,
    average_gradients,
    from_all,
    from_first,
    gather_rows,
    mean_over_ranks,
    rank,
    ranks,
    shard_sizes,
)
from asterism.engine import Anchors, Training
from asterism.engine.encoded import seed_step
from asterism.engine.encoder import Encoder
from asterism.engine.objective import Objective
from asterism.engine.task import Task
from asterism.methods import __all__ as METHODS
from asterism.modality import ARRAY
from asterism.request import Request
from asterism.settings import Settings
from asterism.teachers import LiveTeacher
from asterism.types import Batch

ROWS, CLASSES = 11, 5
# Uneven, one rank with a single row and one without any.
SHARDS = {1: [11], 2: [7, 4], 3: [5, 1, 5], 4: [4, 0, 5, 2]}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


class Net(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, dim), nn.Tanh())
        self.classify = nn.Linear(dim, CLASSES)
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        embedding = self.embed(x.to(self.classify.weight.dtype))
        return Outputs(embedding, self.classify(embedding))


class Spread(Task):
    """A loss of relations with labels, and something that it learns."""

    of_scores = False

    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(CLASSES, 8))

    def forward(self, outputs, target):
        rows = outputs.embedding
        same = target[:, None] == target
        pairs = ((rows[:, None] - rows).square().sum(2) * same).sum() / len(rows) ** 2
        return pairs + (rows - self.centres[target]).square().mean()


def make(name):
    method = getattr(asterism, name.partition(" beside")[0])
    if name == "RRKD fixed":
        method = asterism.RRKD(anchors="random", anchor_count=4)
    elif name == "RRD":
        method = asterism.RRD(bank_size=7, dim=3)
    else:
        method = method()
    method.setup(student_dim=8, teacher_dim=10, rows=ROWS)
    return method


def step(name, *, local=False, batch_size=3):
    """Return all gradients of one step, and the method's state and the terms' norms after it."""
    torch.manual_seed(1)
    student, teacher = Net(8), Net(10)
    method = asterism.RRKD(anchors="random") if name == "RRKD, fixed anchors" else make(name)
    inputs = torch.randn(2, ROWS, 6)
    anchor_inputs = torch.randn(4, 6)
    target = torch.arange(ROWS) % CLASSES
    sizes = SHARDS[ranks()]
    begin = sum(sizes[: rank()])
    own = slice(begin, begin + sizes[rank()])
    count = 2 if method.views == 2 else 1
    batch = Batch(tuple(inputs[:count, own]), torch.arange(ROWS)[own], target[own])
    with torch.no_grad():
        anchors = (anchor_inputs, teacher(anchor_inputs)) if "anchors" in method.needs else None
    taught = LiveTeacher(teacher, ARRAY, (6,))
    settings = Settings(batch_size=batch_size, channels_last=False)
    training = Training(
        request=Request(student=student, settings=settings),
        data=Data(Source(), torch.arange(ROWS), torch.arange(ROWS)),
        student=student,
        teacher=taught,
        methods=(method,),
        views=None,
        use_labels=True,
        anchors=None if anchors is None else Anchors(*anchors),
    )
    encoder = Encoder(training, student, torch.device("cpu"))
    loss = Spread() if "beside" in name else None
    objective = Objective([method], task_weight=1.0, train_views=1, local=local, loss=loss)
    passed = encoder.encode(batch, 0, (0, 3))
    encoded = passed.encoded
    seed_step(0, 3)
    terms = objective.terms(passed.student, passed.teacher, passed.batch, sizes)
    norms = encoded.norms(list(terms.values()))
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    encoded.backward()
    parameters = [*student.named_parameters(), *objective.named_parameters()]
    average_gradients([p for _, p in parameters])
    found = {name: p.grad for name, p in parameters if p.grad is not None}
    state = {k: v.clone() for k, v in method.state_dict().items()}
    return found, {**state, "norms of the terms": torch.tensor(norms)}


def differences(expected, found, tolerance):
    scale = max(float(x.abs().max()) for x in expected.values())
    missing = expected.keys() ^ found.keys()
    wrong = [
        f"{k} by {float((x - found[k]).abs().max() / scale):.1e}"
        for k, x in expected.items()
        if k in found and not (x - found[k]).abs().max() <= tolerance * scale
    ]
    return [*missing, *wrong]


def gradients_are_those_of_one_process(expected, tolerance):
    problems = []
    for name, (gradients, state) in expected.items():
        found, state_found = step(name)
        for what in differences(gradients, found, tolerance):
            problems.append(f"{name}: gradient of {what}")
        for key, value in state.items():
            if value.is_floating_point() and not torch.allclose(value, state_found[key], atol=1e-6):
                problems.append(f"{name}: {key}")
    local, _ = step("RKD", local=True)
    whole = expected["RKD"][0]
    one, two = (torch.cat([x.flatten() for x in g.values()]) for g in (whole, local))
    if torch.cosine_similarity(one, two, dim=0) > 0.99:
        problems.append("the local scope is not visibly different")
    return problems


def the_rest_agrees():
    me, sizes = rank(), shard_sizes(rank(), torch.device("cpu"))
    assert sizes == list(range(ranks()))
    for dtype in (torch.bool, torch.int64, torch.bfloat16, torch.float16, torch.complex64):
        rows = torch.full((me, 2, 3), me).to(dtype)
        expected = torch.cat([torch.full((r, 2, 3), r).to(dtype) for r in range(ranks())])
        gathered = gather_rows(rows)
        assert gathered.dtype == dtype
        assert torch.equal(gathered, expected)
    assert torch.equal(
        gather_rows(torch.full((me,), me)), torch.tensor(sum(([r] * r for r in sizes), []))
    )
    rows = torch.full((2, 3), float(me), dtype=torch.bfloat16, requires_grad=True)
    (gather_rows(rows) * (me + 1)).sum().backward()
    assert rows.grad.dtype == torch.bfloat16
    assert (rows.grad == sum(range(1, ranks() + 1))).all()
    assert any_rank(me == 1, torch.device("cpu"))
    assert not any_rank(False, torch.device("cpu"))
    assert from_first(me) == 0
    assert from_all(me) == sizes
    mean = (ranks() - 1) / 2
    assert mean_over_ranks(torch.tensor([float(me)])) == mean
    norm = nn.BatchNorm1d(1)
    norm.running_mean.fill_(me)
    average_buffers(norm)
    assert norm.running_mean == mean


def work(me, folder, report):
    """One of four processes, of which 2, 3 and 4 train together, one after the other."""
    torch.set_num_threads(1)
    try:
        for dtype, tolerance in TOLERANCE.items():
            torch.set_default_dtype(dtype)
            expected = {
                name: step(name, batch_size=64)
                for name in [*METHODS, "RRKD, fixed anchors", "RKD beside a loss of relations"]
            }
            for world in (2, 3, 4):
                if me >= world:
                    continue
                dist.init_process_group(
                    "gloo",
                    init_method=f"file://{folder}/{dtype}{world}",
                    rank=me,
                    world_size=world,
                    timeout=datetime.timedelta(seconds=120),
                )
                problems = gradients_are_those_of_one_process(expected, tolerance)
                the_rest_agrees()
                dist.destroy_process_group()
                report.put([f"{world} ranks, {dtype}: {x}" for x in problems])
    except BaseException:
        report.put([traceback.format_exc()])


@pytest.mark.skipif(not dist.is_available(), reason="this torch has no distributed package")
def test_several_processes_give_the_gradient_of_one_for_every_method():
    """In float64 to 1e-12 and in float32 to 1e-6, heads and banks included."""
    context = multiprocessing.get_context("spawn")
    report = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [context.Process(target=work, args=(me, folder, report)) for me in range(4)]
        for process in processes:
            process.start()
        problems = []
        for _ in range(2 * (2 + 3 + 4)):
            problems += report.get(timeout=200)
            if any("Traceback" in x for x in problems):
                break  # the other processes would wait for the one that broke
        for process in processes:
            process.join(timeout=0 if problems else 60)
            process.kill()
    assert not problems, "\n".join(problems)


def test_a_single_process_is_left_alone():
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_rows(rows) is rows
    assert shard_sizes(3, rows.device) == [3]
    assert (rank(), ranks(), from_first("a"), from_all("a")) == (0, 1, "a", ["a"])
    layer = nn.Linear(1, 1)
    average_gradients(layer.parameters())
    assert layer.weight.grad is None
