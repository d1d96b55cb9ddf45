"""A relation batch larger than the device's: two passes, the gradient of one."""

import json
import subprocess
import sys

import pytest
import torch
from engine_runs import SPEC, training, without_speed
from safetensors.torch import load_file
from torch import nn

from asterism import KD, RKD, RRD, RRKD, VRM, Method, Outputs
from asterism.engine.encoded import Encoded
from asterism.models import build


class Plain(nn.Module):
    """Without batch statistics; remembers how many samples it saw with and without a graph."""

    def __init__(self, norm=False, dropout=0.0):
        super().__init__()
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Dropout(dropout))
        self.norm = nn.BatchNorm1d(24) if norm else nn.Identity()
        self.head = nn.Linear(24, 10)
        self.seen = set()

    def forward(self, x):
        if self.training:
            self.seen.add((len(x), torch.is_grad_enabled()))
        embedding = self.norm(self.embed(x))
        return Outputs(embedding, self.head(embedding))


def student(**options):
    torch.manual_seed(3)
    return Plain(**options)


def methods():
    made = [RKD(), KD(), VRM(), RRD(bank_size=300, dim=8), RRKD()]
    torch.manual_seed(4)
    for method in made:
        method.setup(student_dim=24, teacher_dim=128)
    return made


def go(folder, model, **options):
    options = {"epochs": 2, "teacher": build("convnet", SPEC), "methods": methods()} | options
    return training(folder, student=model, channels_last=False, **options)


@pytest.mark.parametrize("loss", ["cross-entropy", "multi-similarity"])
def test_chunks_give_the_training_of_one_pass(loss, tmp_path):
    """Two views, task and five methods, one of them with a head and a bank."""
    torch.manual_seed(0)
    teacher = build("convnet", SPEC)
    before, one, many = student().state_dict(), student(), student()
    how = {"teacher": teacher, "limit_steps": 1, "loss": loss}
    go(tmp_path / "one", one, batch_size=512, **how)
    go(tmp_path / "many", many, batch_size=100, relation_batch=512, **how)
    assert (1024, True) in one.seen  # two views of each sample
    assert max(n for n, graph in many.seen if graph) == 200
    moves = [
        torch.cat([(x - before[k]).flatten() for k, x in model.state_dict().items()])
        for model in (one, many)
    ]
    assert (moves[0] - moves[1]).norm() <= 1e-5 * moves[0].norm()
    lines = [without_speed(tmp_path / name) for name in ("one", "many")]
    for line, other in zip(*lines, strict=True):
        assert line == pytest.approx(other, rel=1e-5)


def test_chunks_replay_dropout_and_move_running_statistics_once(tmp_path):
    model = student(norm=True, dropout=0.5)
    fitted = go(tmp_path / "a", model, epochs=1, batch_size=100, relation_batch=500)
    chunks = 2 * 5  # 1,169 rows make two relation batches of five chunks
    assert fitted.student.norm.num_batches_tracked == chunks


def test_a_chunk_computed_again_drops_the_same_units():
    model = student(dropout=0.5).train()
    rows = torch.randn(6, 64)
    made = []

    def part(at):
        made.append(model(rows[at]))
        return made[-1]

    parts = [lambda at=at: part(at) for at in (slice(0, 3), slice(3, 6))]
    encoded = Encoded(model, parts, key=(0, 1))
    torch.stack([x.embedding.square().sum() for x in encoded.outputs]).sum().backward()
    encoded.backward()
    for first, again in zip(made[:2], made[2:], strict=True):
        assert torch.equal(first.embedding, again.embedding)
    assert not torch.equal(made[0].embedding == 0, made[1].embedding == 0)


def test_chunks_learn_in_mixed_precision(tmp_path):
    options = {"precision": "bf16", "batch_size": 50, "relation_batch": 100, "clip": 1.0}
    model = student()
    assert (
        go(tmp_path / "a", model, teacher=None, methods=[], epochs=5, lr=0.1, **options).score > 0.7
    )


class Sometimes(Method):
    """A term that is not finite in some steps; it has a bank that must not remember them."""

    paper = "none"

    def __init__(self, bad):
        super().__init__()
        self.bad, self.calls = bad, 0
        self.register_buffer("bank", torch.zeros(1))

    def forward(self, student, teacher, batch=None):
        self.calls += 1
        factor = float("nan") if self.calls in self.bad else 1.0
        self.bank += factor
        return {"odd": (student.embedding * factor).square().mean()}


def test_steps_that_are_not_finite_are_left_out_up_to_a_limit(tmp_path, capsys):
    teacher = build("mlp", SPEC)
    method = Sometimes({2, 5})
    model = student(norm=True)
    training(
        tmp_path / "a", teacher=teacher, methods=[method], student=model, epochs=1, skip_nonfinite=2
    )
    said = capsys.readouterr().err
    assert "step 1: not finite: odd, gradient; left out (1 of 2). Samples" in said
    assert "(2 of 2)" in said
    assert method.bank == 16  # of 18 steps
    assert all(x.isfinite().all() for x in model.state_dict().values())
    with pytest.raises(ValueError, match=r"not finite: odd.*--skip-nonfinite 12"):
        training(tmp_path / "b", teacher=teacher, methods=[Sometimes({1, 2, 3})], skip_nonfinite=2)


def test_a_gradient_that_is_not_finite_stops_in_words(tmp_path):
    class Steep(Method):
        paper = "none"

        def forward(self, student, teacher, batch=None):
            return {"steep": (student.embedding * 0).sum().sqrt()}

    with pytest.raises(ValueError, match=r"step 0: not finite: gradient\. Look at"):
        training(tmp_path / "a", teacher=build("mlp", SPEC), methods=[Steep()])


def test_two_processes_train_as_one(taught, tmp_path):
    """The same order, twenty steps, no batch norm: the same student to rounding."""
    factory = tmp_path / "own.py"
    factory.write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))\n"
    )
    command = [sys.executable, "-m", "asterism", "distill", "--data", "digits"]
    command += f"--teacher {taught} --student {factory}:make --limit-steps 20".split()
    command += "--accelerator cpu --epochs 3 --log-every 5 --keep last".split()
    for out, options in (("one", "--batch-size 128"), ("two", "--batch-size 64 --devices 2")):
        done = subprocess.run(
            [*command, *options.split(), "--out", str(tmp_path / out)],
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / out / "student.safetensors") for out in ("one", "two"))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=1e-6)
    lines = [without_speed(tmp_path / out) for out in ("one", "two")]
    for line, other in zip(*lines, strict=True):
        assert line == pytest.approx(other, rel=1e-4)
    results = [json.loads((tmp_path / out / "result.json").read_text()) for out in ("one", "two")]
    assert results[0]["rows"] == results[1]["rows"] == 500
