"""Checks of what a training takes: memory, time, disk, and what a cache of the teacher holds."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from asterism.checkup.finding import Case, Finding, count, megabytes, share
from asterism.engine.rehearsal import Rehearsal
from asterism.models import weights_of
from asterism.relations.budget import DEFAULT

# More than this share of the memory leaves too little for everything else.
MOST = 0.8
# A teacher that takes more than this share of the time is worth a cache.
SLOW = 0.3


def check_disk(case: Case) -> list[Finding]:
    """See whether the run folder can be written, and has room for the checkpoints."""
    folder = (case.out or Path("runs")).absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        words = error.strerror or str(error)
        return [
            Finding(
                "run folder", "wrong", f"cannot write into {folder}: {words}", "name another, --out."
            )
        ]  # fmt: skip
    weights = sum(x.nbytes for x in weights_of(case.student).values())
    heads = sum(x.nbytes for method in case.methods for x in method.state_dict().values())
    moments = 2 if case.settings.optimizer == "adamw" else 1
    state = (1 + moments + bool(case.settings.ema)) * weights + (1 + moments) * heads
    need = (case.settings.checkpoints_kept + 2) * state + weights  # the best, and one being written
    found = f"checkpoints take {megabytes(need)}; {folder} has {megabytes(free)} free"
    figures = {"need": need, "free": free}
    if need > free:
        advice = "make room, name another folder (--out), or keep fewer (--checkpoints-kept)."
        return [Finding("run folder", "wrong", found, advice, figures)]
    return [Finding("run folder", "ok", found, figures=figures)]


def check_memory(case: Case, rehearsal: Rehearsal) -> list[Finding]:
    """Compare the memory that a step took with what the machine has left."""
    device, parts = case.settings.device, dict(rehearsal.memory)
    peak = parts.pop("peak", 0)
    if device.type == "cuda":
        parts["blocks"] = int((case.settings.relation_memory or DEFAULT / 2**20) * 2**20)
    need = max(sum(parts.values()), peak)
    left = _left(device)
    listed = ", ".join(f"{name} {megabytes(size)}" for name, size in parts.items())
    found = f"at least {megabytes(need)} ({listed}) of {megabytes(left)} on this {device.type}"
    figures = {**parts, "need": need, "left": left}
    if need > MOST * left:
        severity = "wrong" if need > left else "look"
        advice = "lower --batch-size; --relation-batch keeps the relations of the larger batch."
        return [Finding("memory", severity, found, advice, figures)]  # type: ignore[arg-type]
    return [Finding("memory", "ok", found, figures=figures)]


def _left(device: torch.device) -> int:
    """Return the bytes of memory that are free, as far as the system tells."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":") for line in table.read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    else:
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, used = (Path(f"/sys/fs/cgroup/memory.{x}") for x in ("max", "current"))
    if limit.exists() and used.exists() and limit.read_text().strip().isdigit():
        free = min(free, int(limit.read_text()) - int(used.read_text()))
    return free


def check_time(case: Case, rehearsal: Rehearsal) -> list[Finding]:
    """Estimate how long the training takes, and what a cache of the teacher would save."""
    workers = case.settings.workers
    fetching = rehearsal.fetching / max(1, (os.cpu_count() or 1) if workers is None else workers)
    step = rehearsal.seconds + fetching
    taught = rehearsal.teaching / step if step else 0.0
    figures = {
        "step": step, "steps": rehearsal.steps, "seconds": rehearsal.steps * step, "teacher": taught
    }  # fmt: skip
    found = (
        f"about {_duration(rehearsal.steps * step)}, validation apart: {rehearsal.steps:,} steps "
        f"of {1000 * step:.0f} ms, the teacher's share {share(taught)}"
    )
    if taught > SLOW and case.teacher_cache is None:
        saved = _duration(rehearsal.steps * rehearsal.teaching)
        advice = f"--teacher-cache FOLDER saves each later run with these views about {saved}."
        return [Finding("time", "ok", found, advice, figures)]
    return [Finding("time", "ok", found, figures=figures)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def check_cache(case: Case) -> list[Finding]:
    """Tell how much of the teacher's outputs a named cache folder holds."""
    if case.teacher_cache is None or case.teacher is None:
        return []
    if not case.teacher_cache.is_dir():
        return [Finding("teacher cache", "ok", f"{case.teacher_cache} is new: the run fills it")]
    marks = sorted(case.teacher_cache.glob("*/view-*.filled"))
    filled = [np.fromfile(file, np.uint8) for file in marks]
    rows, known = sum(map(len, filled)), sum(int(x.sum()) for x in filled)
    tables = len({file.parent for file in marks})
    found = f"{count(known)} of {count(rows)} rows in {len(marks)} views of {tables} tables"
    figures = {"rows": rows, "known": known, "views": len(marks), "tables": tables}
    return [Finding("teacher cache", "ok", found, figures=figures)]
