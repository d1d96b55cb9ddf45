"""Running the cells of a grid, alone or together with other processes."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from asterism.bench.grid import Cell, Grid, typed
from asterism.bench.tables import probe_of
from asterism.documents import as_yaml


def run_grid(grid: Grid, *, say: Callable[[str], None], keep_output: bool = True) -> list[str]:
    """Run all cells that nobody has finished or is running; return what broke, in words.

    What a broken cell said is kept in a file beside its folder, unless the folders go away too.
    Each cell is a process of its own, so that one that dies takes nothing with it. Several of
    these calls, in several processes, share the work: a run folder has one owner at a time.
    """
    broken: dict[Path, str] = {}
    while True:
        waiting = [c for c in grid.cells if not c.finished() and c.run.path not in broken]
        for cell in waiting:
            if cell.teacher is not None and cell.teacher.run.path in broken:
                broken[cell.run.path] = f"{cell.run.path}: its teacher, {cell.teacher}, broke"
        taught = [c for c in waiting if c.teacher is None or c.teacher.finished()]
        free = [c for c in taught if c.run.path not in broken and not c.run.in_use()]
        if not waiting:
            break
        if not free:
            if any(c.run.path not in broken for c in waiting):
                time.sleep(5)  # others are at work on the rest; if one dies, it is taken over
            continue
        cell = free[0]
        say(str(cell))
        if words := _carried_out(grid, cell, keep_output=keep_output):
            broken[cell.run.path] = f"{cell.run.path}: {words}"
            say(f"  broken: {words}")
        elif cell.finished():
            broken |= _probed(grid, cell, say)
    for cell in filter(Cell.finished, grid.cells):  # whose probes are new, or were interrupted
        broken |= _probed(grid, cell, say)
    return list(broken.values())


def _carried_out(grid: Grid, cell: Cell, *, keep_output: bool) -> str | None:
    """Train one cell, in a process of its own; return what broke, in words."""
    grid.out.mkdir(parents=True, exist_ok=True)
    # Named by the process: another one may be about to try the same cell.
    config = grid.out / f".{Path(cell.settings['out']).name}.{os.getpid()}.yaml"
    command = [sys.executable, "-m", "asterism", cell.verb, "--config", str(config), "--resume"]
    command += ["--no-report"] if cell.verb == "distill" else []
    try:
        config.write_text(as_yaml(cell.settings))
        done = _ended(command)
    finally:
        config.unlink(missing_ok=True)
    log = cell.run.path.with_suffix(".log")
    if not done.returncode:
        log.unlink(missing_ok=True)
        return None
    if "is in use by a run" in done.stderr:
        return None
    words = _words(done)
    if keep_output:
        log.write_text(done.stderr)
        words += f" (whole output: {log})"
    return words


def _probed(grid: Grid, cell: Cell, say: Callable[[str], None]) -> dict[Path, str]:
    """Probe a finished cell's student on the grid's other data; return what broke, in words."""
    broken: dict[Path, str] = {}
    for name, options in grid.probes.items():
        file = cell.probed(name)
        if probe_of(cell, name, options) is not None:
            continue
        say(f"{cell}, probed on {name}")
        command = [sys.executable, "-m", "asterism", "probe", str(cell.run.path), "--student-only"]
        command += ["--out", str(file), "--overwrite", *typed(options)]
        if (done := _ended(command)).returncode:
            broken[file] = f"{file}: {_words(done)}"
            say(f"  broken: {_words(done)}")
    return broken


def _ended(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; an interrupted grid lets it save its state first."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = process.communicate()[1]
        except KeyboardInterrupt:
            process.terminate()
            process.communicate()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stderr=said)


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a cell's process broke: its last words, if it had time for some."""
    if done.returncode < 0:  # what stands last is its progress
        return f"killed by signal {-done.returncode}"
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
