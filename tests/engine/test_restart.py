"""A training that is killed, and goes on, ends with the bits of one that was not."""

import json
import random
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch
from engine_runs import SPEC, interrupted, training, weights, without_speed
from safetensors.torch import load_file
from torch import nn

from asterism import RRD, VRM
from asterism.engine.checkpoints import latest_state, states
from asterism.models import build

COMMAND = [sys.executable, "-m", "asterism", "distill", "--data", "digits", "--student", "mlp"]
# Every kind of state: banks and heads, a ramp, momentum, an average, two views, a schedule.
STATE = """--method+ RRD --method.bank_size 300 --method.dim 16
    --method+ VRM --method.ramp_steps 30 --ema 0.9 --clip 5""".split()
OPTIONS = "--epochs 3 --batch-size 32 --checkpoint-steps 4 --log-every 3 --keep last".split()


@pytest.fixture(scope="module")
def teacher(taught):
    return taught


def start(teacher, out, *options):
    command = [*COMMAND, "--teacher", teacher, "--out", str(out), *OPTIONS, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process):
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said


def interrupt(process, out, number, *, after):
    """Send a signal after so many lines of metrics; return the exit code and what was said."""
    metrics = out / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= after:
            time.sleep(random.Random(after).random() / 10)
            process.send_signal(number)
            break
        time.sleep(0.005)
    said = process.communicate(timeout=120)
    return process.returncode, said[1]


def same(one, two):
    weights = [load_file(out / "student.safetensors") for out in (one, two)]
    assert all(torch.equal(x, weights[1][k]) for k, x in weights[0].items())
    assert without_speed(one) == without_speed(two)
    results = [json.loads((out / "result.json").read_text()) for out in (one, two)]
    assert results[0]["student"]["classification"] == results[1]["student"]["classification"]


def test_killed_and_asked_to_end_it_goes_on_to_the_same_bits(teacher, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(start(teacher, whole, *STATE))
    code, _ = interrupt(start(teacher, parts, *STATE), parts, signal.SIGKILL, after=9)
    assert code == -signal.SIGKILL
    begun = without_speed(parts)
    again = start(teacher, parts, *STATE, "--resume")
    code, said = interrupt(again, parts, signal.SIGTERM, after=len(begun) + 5)
    assert code == 128 + signal.SIGTERM
    assert "asked to end (SIGTERM) at step" in said
    assert "go on with" in said
    assert "--resume" in said
    finish(start(teacher, parts, *STATE, "--resume"))
    same(whole, parts)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("methods", [[], STATE], ids=["the default", "RRD and VRM"])
def test_twenty_kills(teacher, tmp_path, methods):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    finish(start(teacher, whole, *methods))
    lines = len(without_speed(whole))
    draw = random.Random(0)
    for kill in range(20):
        after = 1 + kill * (lines - 2) // 20 + draw.randint(0, 1)
        options = ["--resume"] if kill else []
        begun = start(teacher, parts, *methods, *options)
        code, said = interrupt(begun, parts, signal.SIGKILL, after=after)
        assert code in (0, -signal.SIGKILL), said
    finish(start(teacher, parts, *methods, "--resume"))
    same(whole, parts)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_training_ends_where_the_uninterrupted_one_does(tmp_path, workers):
    """With dropout, momentum, an average and a schedule, which all have state."""
    student = nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 16), nn.Linear(16, 10))

    def go(folder, **options):
        torch.manual_seed(5)
        for layer in student:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        options |= {"ema": 0.9, "epochs": 4, "workers": workers}
        return training(folder, student=build(student, SPEC), **options)

    whole = {k: v.clone() for k, v in weights(go(tmp_path / "whole")).items()}

    with interrupted(epoch=2):
        go(tmp_path / "parts")
    resumed = go(tmp_path / "parts", resume=True)
    assert all(torch.equal(x, whole[k]) for k, x in weights(resumed).items())
    assert without_speed(tmp_path / "parts") == without_speed(tmp_path / "whole")


def test_a_method_with_state_resumes_where_it_stopped(tmp_path):
    """RRD's bank, pointer and heads; VRM's ramp."""
    teacher = build("convnet", SPEC)

    def go(folder, **options):
        torch.manual_seed(0)
        methods = [RRD(bank_size=200, dim=16), VRM(ramp_steps=30)]
        for method in methods:
            method.setup(student_dim=64, teacher_dim=128)
        return training(folder, teacher=teacher, methods=methods, **options), methods

    whole, methods = go(tmp_path / "whole", epochs=4)

    with interrupted(epoch=2):
        go(tmp_path / "parts", epochs=4)
    resumed, again = go(tmp_path / "parts", epochs=4, resume=True)
    assert all(torch.equal(x, weights(whole)[k]) for k, x in weights(resumed).items())
    for one, two in zip(methods, again, strict=True):
        assert one.state_dict().keys() == two.state_dict().keys() != set()
        assert all(torch.equal(x, two.state_dict()[k]) for k, x in one.state_dict().items())


def stopped_within_an_epoch(folder, **options):
    with interrupted(epoch=2):
        training(folder, epochs=4, checkpoint_steps=4, log_every=6, **options)
    return states(folder / "checkpoints")


def test_checkpoints_within_epochs_are_few(tmp_path):
    found = stopped_within_an_epoch(tmp_path / "a", checkpoints_kept=3)
    assert [p.name for p in found] == [f"step-{n:08}.ckpt" for n in (40, 36, 34)]


@pytest.mark.parametrize("damage", ["truncated", "empty", "other"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage):
    whole = training(tmp_path / "whole", epochs=4, checkpoint_steps=4, log_every=6)
    last, before = stopped_within_an_epoch(tmp_path / "a")
    content = last.read_bytes()
    if damage == "other":
        torch.save({"a": 1}, last)
    else:
        last.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    resumed = training(tmp_path / "a", resume=True, epochs=4, checkpoint_steps=4, log_every=6)
    said = capsys.readouterr().err
    assert f"{last} is damaged" in said
    assert f"Going on from {before.name}" in said
    assert all(torch.equal(x, weights(whole)[k]) for k, x in weights(resumed).items())
    assert without_speed(tmp_path / "a") == without_speed(tmp_path / "whole")


def test_only_damaged_checkpoints_are_refused(tmp_path):
    for file in stopped_within_an_epoch(tmp_path / "a"):
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"is damaged: .* Start again with --overwrite"):
        latest_state(tmp_path / "a" / "checkpoints", None)


def test_a_full_disk_loses_nothing(tmp_path):
    """A limit on the size of files stands for it: the same call fails in the same place."""
    found = stopped_within_an_epoch(tmp_path / "a")
    before = {p.name: p.read_bytes() for p in found}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"cannot write a checkpoint into .* MB free.*--resume"):
            training(tmp_path / "a", resume=True, epochs=4, checkpoint_steps=4, log_every=6)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {p.name: p.read_bytes() for p in found} == before
    assert not list((tmp_path / "a" / "checkpoints").glob(".*"))
    resumed = training(tmp_path / "a", resume=True, epochs=4, checkpoint_steps=4, log_every=6)
    whole = training(tmp_path / "whole", epochs=4, checkpoint_steps=4, log_every=6)
    assert all(torch.equal(x, weights(whole)[k]) for k, x in weights(resumed).items())
