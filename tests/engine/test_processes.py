"""Tests for asterism/engine/processes.py: several devices of one machine, and who started them."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from engine_runs import without_speed
from safetensors.torch import load_file

import asterism
from asterism.engine.processes import _read_slurm, processes, starts_processes
from asterism.settings import Settings, launched

COMMAND = [sys.executable, "-m", "asterism", "train", "--model", "mlp", "--data", "digits"]
OPTIONS = "--devices 2 --batch-size 16 --epochs 20 --log-every 3 --checkpoint-steps 5".split()


def start(out, *options):
    command = [*COMMAND, "--out", str(out), *OPTIONS, *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for_lines(process, out, count):
    metrics = out / "metrics.jsonl"
    while process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= count:
            return
        time.sleep(0.002)


def children_of(process, of="spawn_main"):
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(process.pid)],
        capture_output=True,
        text=True,
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if of in line]


@pytest.mark.slow
def test_asked_to_end_all_save_and_killed_all_end(tmp_path):
    """And each time it goes on, to the bits of a training that nobody stopped."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = start(whole)
    _, said = uninterrupted.communicate(timeout=240)
    assert uninterrupted.returncode == 0, said
    process = start(parts)
    wait_for_lines(process, parts, 6)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert said.count("asked to end (SIGTERM) at step") == 1
    process = start(parts, "--resume")
    wait_for_lines(process, parts, len(without_speed(parts)) + 3)
    os.kill(children_of(process)[-1], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "a process of the training was killed by signal 9. Go on with --resume." in said
    assert "Traceback" not in said
    process = start(parts, "--resume")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    one, two = (load_file(out / "student.safetensors") for out in (whole, parts))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert without_speed(whole) == without_speed(parts)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_torchrun_starts_killed_workers_again_to_the_same_bits(tmp_path):
    """A worker is killed twice, before there is a checkpoint and after; nobody types anything."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = start(whole, "--epochs=2", "--no-check")
    _, said = uninterrupted.communicate(timeout=600)
    assert uninterrupted.returncode == 0, said
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 2".split()
    command = [sys.executable, *torchrun, *COMMAND[1:], "--out", str(parts), *OPTIONS]
    command += ["--epochs=2", "--no-check", "--resume"]
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    with open(tmp_path / "said.txt", "w") as said:
        process = subprocess.Popen(command, stderr=said, stdout=said, env=environment)
    for lines in (1, 10):
        wait_for_lines(process, parts, lines)
        worker = children_of(process, "asterism")[-1]
        os.kill(worker, signal.SIGKILL)
        while worker in children_of(process, "asterism"):
            time.sleep(0.1)
    assert process.wait(timeout=600) == 0, (tmp_path / "said.txt").read_text()
    assert (tmp_path / "said.txt").read_text().count("exitcode: -9") >= 2
    one, two = (load_file(out / "student.safetensors") for out in (whole, parts))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert without_speed(whole) == without_speed(parts)


def test_a_restart_that_would_wait_for_ever_is_refused(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    with pytest.raises(ValueError, match="set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        with processes(Settings(devices=2)):
            pass


def test_a_mistake_is_one_sentence_of_the_first_that_meets_it(tmp_path):
    process = start(tmp_path / "a", "--samples-per-class", "1000")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2
    said = "\n".join(
        line for line in said.splitlines() if not line.startswith(("data:", "method:"))
    )
    assert said.startswith("asterism: samples_per_class 1000 is more than the 32 samples of a step")
    assert "Traceback" not in said


def test_objects_that_cannot_be_sent_are_refused(tmp_path):
    with pytest.raises(ValueError, match="give them by name, not as objects"):
        asterism.train(lambda: None, "digits", out=tmp_path / "a", devices=2)


def test_several_machines_need_a_launcher(tmp_path):
    with pytest.raises(ValueError, match="2 machines need a launcher on each"):
        asterism.train("mlp", "digits", out=tmp_path / "a", nodes=2)


def test_slurms_variables_are_read_where_it_has_started_as_many(monkeypatch):
    settings = Settings(devices=2, nodes=2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    slurm = {"PROCID": "3", "LOCALID": "1", "NTASKS": "4", "JOB_ID": "12345"}
    for name, value in {**slurm, "LAUNCH_NODE_IPADDR": "10.0.0.7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert not starts_processes(settings)
    assert starts_processes(Settings(devices=2))  # an interactive shell has Slurm's variables too
    _read_slurm(settings)
    assert launched() == 4
    assert (os.environ["RANK"], os.environ["LOCAL_RANK"]) == ("3", "1")
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("10.0.0.7", "27345")
