"""Tests for asterism/engine/distillation.py: the loss in a training loop of one's own."""

import datetime
import multiprocessing
import tempfile
import traceback

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from asterism import CRD, KD, RKD, RRD, RRKD, VRM, Distillation, Outputs

ROWS, CLASSES, SHARDS = 12, 5, {2: [7, 5], 3: [4, 4, 4]}


class Net(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, dim), nn.Dropout(0.5), nn.Tanh())
        self.classify = nn.Linear(dim, CLASSES)

    def forward(self, x):
        embedding = self.embed(x)
        return Outputs(embedding, self.classify(embedding))


def distillation(methods=None, **options):
    torch.manual_seed(1)
    methods = [RKD(), KD(), RRD(bank_size=8, dim=3)] if methods is None else methods
    student, teacher = Net(8), Net(10)
    student.embed[1].p = 0.0  # the ranks would draw differently
    return Distillation(student, teacher, methods, example=torch.randn(2, 6), **options)


def samples():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, ROWS, 6, generator=generator), torch.arange(ROWS) % CLASSES


def test_terms_are_those_of_task_and_methods():
    step = distillation(RKD(distance_weight=2.0), task_weight=3.0)
    (x, _), target = samples()
    terms = step(x, target=target)
    outputs, taught = step.student(x), step._teacher[0](x)
    expected = RKD(distance_weight=2.0)(outputs, taught)
    assert terms.keys() == {"task", *expected}
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    task = 3 * nn.functional.cross_entropy(outputs.logits, target)
    torch.testing.assert_close(terms["task"], task)
    known = step(x, target=target, teacher=taught)
    torch.testing.assert_close(known, terms)


def test_the_teacher_is_frozen_and_no_part_of_the_module():
    step = distillation().train()
    teacher = step._teacher[0]
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    known = {id(p) for p in step.parameters()}
    assert not known & {id(p) for p in teacher.parameters()}
    assert {name.split(".")[0] for name in step.state_dict()} == {"student", "objective"}
    weights = {x.data_ptr() for x in teacher.state_dict().values()}
    assert not weights & {x.data_ptr() for x in step.state_dict().values()}
    step.double()
    assert next(teacher.parameters()).dtype == torch.float64
    (x, _), _ = samples()
    assert all(value.dtype == torch.float64 for value in step(x.double()).values())


def test_methods_of_two_views_get_both():
    step = distillation(VRM())
    (one, two), target = samples()
    assert {"task", "inter_sample", "inter_class"} <= step(one, two, target=target).keys()


def test_what_is_missing_is_said():
    with pytest.raises(ValueError, match="RRKD compares with fixed anchor samples"):
        distillation(RRKD(anchors="random"))
    alone = Distillation(Net(8), None, RKD(), example=torch.randn(2, 6))
    (x, _), _ = samples()
    with pytest.raises(ValueError, match=r"there is no teacher: give its outputs"):
        alone(x)
    assert alone(x, teacher=Outputs(torch.randn(ROWS, 4)))


def test_outputs_of_both_networks_are_enough():
    step = distillation([RKD(), VRM()])
    (one, two), target = samples()
    both = torch.cat([one, two])
    outputs, taught = step.student(both), step._teacher[0](both)
    alone = Distillation(None, None, [RKD(), VRM()], example=(outputs, taught), task_weight=0.0)
    terms = step(one, two, target=target)
    del terms["task"]
    torch.testing.assert_close(alone(student=outputs, teacher=taught, target=target), terms)
    assert not list(alone.parameters())
    with pytest.raises(ValueError, match=r"there is no student: give its outputs"):
        alone(one, two, teacher=taught)
    with pytest.raises(ValueError, match=r"the teacher has no samples: give its outputs"):
        step(student=outputs)
    with pytest.raises(ValueError, match=r"without a student, example is \(Outputs, Outputs\)"):
        Distillation(None, None, RKD(), example=one)


def test_numbers_of_samples_are_never_guessed():
    step = distillation(CRD(dim=3, own_class_negatives=True), rows=2 * ROWS)
    (x, _), _ = samples()
    with pytest.raises(ValueError, match=r"CRD remembers each sample by its number"):
        step(x)
    assert step(x, index=torch.arange(ROWS) + ROWS)


def gradients(step, model, rows):
    """Return the gradients of a step of someone's own loop, and the heads' and bank's state."""
    (x, _), target = samples()
    x, target = x.double()[rows], target[rows]
    terms = model(x, target=target, index=torch.arange(ROWS)[rows])
    torch.stack(list(terms.values())).sum().backward()
    # RRD's head of the teacher has none.
    found = {name: p.grad for name, p in step.named_parameters() if p.grad is not None}
    return found, {k: v for k, v in step.state_dict().items() if "objective" in k}


def work(me, world, folder, report):
    torch.set_num_threads(1)
    try:
        alone = distillation().double()
        expected, state = gradients(alone, alone, slice(None))
        dist.init_process_group(
            "gloo",
            init_method=f"file://{folder}/{world}",
            rank=me,
            world_size=world,
            timeout=datetime.timedelta(seconds=120),
        )
        step = distillation().double()
        sizes = SHARDS[world]
        begin = sum(sizes[:me])
        model = DistributedDataParallel(step, find_unused_parameters=True)
        found, state_found = gradients(step, model, slice(begin, begin + sizes[me]))
        scale = max(float(x.abs().max()) for x in expected.values())
        assert found.keys() == expected.keys()
        worst = max(float((x - found[k]).abs().max()) for k, x in expected.items()) / scale
        same = all(torch.allclose(v, state_found[k]) for k, v in state.items())
        report.put((worst, same))
        dist.destroy_process_group()
    except BaseException:
        report.put((traceback.format_exc(), False))


@pytest.mark.parametrize("world", [2, 3])
def test_plain_ddp_gives_the_gradient_of_a_single_process(world):
    """With task, heads and a bank, and uneven shards: to 1e-12."""
    context = multiprocessing.get_context("spawn")
    report = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        children = [
            context.Process(target=work, args=(me, world, folder, report)) for me in range(world)
        ]
        for child in children:
            child.start()
        found = [report.get(timeout=120) for _ in children]
        for child in children:
            child.join()
    for worst, same in found:
        assert not isinstance(worst, str), worst
        assert worst < 1e-12
        assert same
