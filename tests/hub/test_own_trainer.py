"""Tests for docs/own-trainer.md: each example alone, on two ranks, and stopped and gone on with."""

import multiprocessing
import os
import re
import socket
from multiprocessing import forkserver
from pathlib import Path

import pytest
import torch

HUB, ROOT = Path(__file__).parent, Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-trainer.md").read_text()
EXAMPLES = re.findall(r"^```python (\w+)\.py", PAGE, re.MULTILINE)


def work(*given):
    import trainers  # only where the libraries are already

    trainers.work(*given)


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainers"])
    with pytest.MonkeyPatch.context() as patch:  # the server's own path: it has no other
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HUB), str(ROOT)]))
        forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()


def ran(processes, name, ranks, folder, epochs):
    """Return the student that an example ends with, the same on all ranks."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        processes.Process(target=work, args=(name, rank, ranks, port, folder, epochs))
        for rank in range(ranks)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(100)
    late = [child for child in children if child.is_alive()]
    for child in late:
        child.kill()
    for told in folder.glob("*.txt"):
        pytest.fail(told.read_text())
    assert not late, f"{name} on {ranks} ranks did not end"
    first, *others = [torch.load(folder / f"rank{rank}.pt") for rank in range(ranks)]
    assert all(torch.equal(x, other[k]) for other in others for k, x in first.items())
    return first


@pytest.mark.parametrize("name", EXAMPLES)
def test_two_ranks_end_as_one_and_a_restart_with_the_same_bits(name, processes, tmp_path):
    begun = ran(processes, name, 1, tmp_path / "stopped", 1)
    alone = ran(processes, name, 1, tmp_path / "alone", 2)
    together = ran(processes, name, 2, tmp_path / "together", 2)
    resumed = ran(processes, name, 1, tmp_path / "stopped", 2)
    scale = max(float(x.abs().max()) for x in alone.values())
    assert all(x.dtype == torch.float64 for x in alone.values() if x.is_floating_point())
    for key, value in alone.items():
        assert float((value - together[key]).abs().max()) <= 1e-12 * scale, key
        assert torch.equal(value, resumed[key]), key
    moved = max(float((x - begun[k]).abs().max()) for k, x in alone.items())
    assert moved > 1e-6 * scale  # it has trained in between
