"""On a GPU the same as on the CPU: losses, measures, memory, precision, compile, restart.

`scripts/gpu` runs these on a machine that has one; elsewhere they run on the CPU alone, where they
show that they can run.
"""

import os

import pytest
import torch
from engine_runs import SPEC, interrupted, training, weights

import asterism
from asterism import KD, RKD, Batch, Distillation, Outputs, measures
from asterism.methods import __all__ as METHODS
from asterism.models import build

pytestmark = pytest.mark.device
GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
# float32 differs by the order of sums; matrix products in TF32 are switched off below.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
CLASSES, ROWS = 7, 24


@pytest.fixture(autouse=True)
def plain_float32():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    with torch.backends.cudnn.flags(allow_tf32=False):
        yield
    torch.set_float32_matmul_precision(before)


def drawn(method, width, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    rows = ROWS * method.views
    sizes = (width, CLASSES)
    return Outputs(*(torch.randn(rows, n, generator=generator).to(dtype) for n in sizes))


def values_of(name, device, dtype):
    """Return a method's terms and the gradients of the student's outputs, on the CPU."""
    torch.manual_seed(0)
    method = getattr(asterism, name)()
    method.setup(student_dim=12, teacher_dim=20, rows=50)
    method.to(device=device, dtype=dtype)
    student, teacher = (
        Outputs(*(x.to(device) for x in drawn(method, width, seed, dtype)))
        for width, seed in ((12, 1), (20, 2))
    )
    for rows in student:
        rows.requires_grad_()
    anchors = None
    if "anchors" in method.needs:
        anchors = Outputs(student.embedding.detach()[:6]), Outputs(teacher.embedding[:6])
    target = torch.arange(ROWS, device=device) % CLASSES
    terms = method(student, teacher, Batch((), torch.arange(ROWS, device=device), target, anchors))
    sum(terms.values()).backward()
    found = {f"gradient {i}": x.grad for i, x in enumerate(student) if x.grad is not None}
    return {name: value.detach().cpu() for name, value in {**terms, **found}.items()}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_every_loss_is_that_of_the_cpu(name, dtype):
    expected = values_of(name, torch.device("cpu"), dtype)
    found = values_of(name, DEVICE, dtype)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        scale = value.abs().max().clamp_min(1e-6)
        assert (found[key] - value).abs().max() <= TOLERANCE[dtype] * scale, key


def test_every_measure_is_that_of_the_cpu():
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(300, 16, generator=generator)
    student = teacher[:, :8] + 0.3 * torch.randn(300, 8, generator=generator)
    target = torch.arange(300) % 5
    found = []
    for device in (torch.device("cpu"), DEVICE):
        one, two, labels = student.to(device), teacher.to(device), target.to(device)
        kept = measures.fidelity(Outputs(one), Outputs(two))
        near = measures.retrieval(one, labels)
        health = measures.health(one)
        values = [kept.neighbour_overlap[10], kept.distance_correlation, kept.cka]
        values += [near.recall[1], near.map_at_r, health.effective_rank]
        found.append([float(value) for value in values])
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.skipif(not GPU, reason="the allocator of a GPU tells its peak")
def test_streamed_relations_keep_to_their_memory():
    """Angles of 1,024 samples: a few blocks of 256 MB, where the plain form takes 20 GB."""
    student = torch.randn(1024, 512, device=DEVICE, requires_grad=True)
    teacher = torch.randn(1024, 512, device=DEVICE)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    asterism.rkd_angle_loss(student, teacher).backward()
    assert torch.cuda.max_memory_allocated() - before < 1.5 * 2**30


@pytest.mark.parametrize("precision", ["32", "bf16", "16"] if GPU else ["32", "bf16"])
def test_a_training_learns_in_every_precision(precision, tmp_path):
    teacher = build("convnet", SPEC)
    fitted = training(
        tmp_path / "a", teacher=teacher, methods=[RKD(), KD()], epochs=4, precision=precision
    )
    assert fitted.score > 0.7


def test_a_compiled_student_learns(tmp_path):
    if not GPU:
        pytest.skip("compiling takes a minute on a CPU")
    fitted = training(tmp_path / "a", student="convnet", epochs=4, compile=True)
    assert fitted.score > 0.7


def test_a_resumed_training_goes_on(tmp_path):
    """To the same bits on a CPU; on a GPU to what the order of its sums allows."""
    whole = training(tmp_path / "whole", epochs=4)
    with interrupted(epoch=2):
        training(tmp_path / "parts", epochs=4)
    resumed = training(tmp_path / "parts", epochs=4, resume=True)
    assert resumed.steps == whole.steps
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=1e-3, atol=1e-3)


def test_one_process_of_a_group_trains_as_none(tmp_path, monkeypatch):
    """With nccl on a GPU, gloo on a CPU."""
    alone = training(tmp_path / "alone", epochs=1)
    variables = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**variables, "MASTER_PORT": str(20000 + os.getpid() % 10000)}.items():
        monkeypatch.setenv(name, value)
    grouped = training(tmp_path / "grouped", epochs=1)
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(grouped)[name], value, rtol=1e-3, atol=1e-3)


def test_the_loss_alone_moves_with_its_teacher():
    student, teacher = torch.nn.Linear(8, 4), torch.nn.Linear(8, 16)
    step = Distillation(student, teacher, RKD(), example=torch.rand(2, 8)).to(DEVICE)
    terms = step(torch.rand(32, 8, device=DEVICE))
    assert {value.device.type for value in terms.values()} == {DEVICE.type}
