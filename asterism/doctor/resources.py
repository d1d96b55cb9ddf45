"""Checks of what a training takes and does: disk, cache, memory, time, the pull of its terms."""

import math
import os
import shutil
import statistics
import tempfile
from pathlib import Path

import torch

from asterism.data.batches import cores
from asterism.doctor.finding import Finding, Severity
from asterism.engine import Training
from asterism.engine.rehearsal import Rehearsal
from asterism.models import weights_of
from asterism.relations.budget import DEFAULT
from asterism.teachers import LiveTeacher, bytes_to_write, cache_for
from asterism.words import count, duration, number, share

# More than this share of the memory leaves too little for everything else.
MOST = 0.8
# A teacher that takes more than this share of the time is worth a cache.
SLOW = 0.3
# A term that pulls so many times harder, or weaker, than the task, and one that nobody can mean.
HARD = 100.0
ABSURD = 10_000.0


def check_disk(training: Training) -> list[Finding]:
    """See whether the run folder can be written, and has room for the checkpoints."""
    folder = _existing(Path(training.request.out or "runs"))
    try:
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        found = f"cannot write into {folder}: {error.strerror or error}"
        return [Finding("run folder", "wrong", found, "name another with --out.")]
    weights = sum(x.nbytes for x in weights_of(training.student).values())
    heads = sum(x.nbytes for method in training.methods for x in method.state_dict().values())
    moments = 1 if training.settings.optimizer == "sgd" else 2
    state = (1 + moments + bool(training.settings.ema)) * weights + (1 + moments) * heads
    need = (
        training.settings.checkpoints_kept + 2
    ) * state + weights  # the best, and one being written
    found = f"checkpoints take {number(need, 'bytes')}; {folder} has {number(free, 'bytes')} free"
    figures = {"need": need, "free": free}
    if need > free:
        advice = "make room, name another folder (--out), or keep fewer (--checkpoints-kept)."
        return [Finding("run folder", "wrong", found, advice, figures)]
    return [Finding("run folder", "ok", found, figures=figures)]


def _existing(folder: Path) -> Path:
    """Return the nearest folder above that exists."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())


def check_cache(training: Training) -> list[Finding]:
    """Tell what the cache that is meant holds already, and whether it has room to grow."""
    request = training.request
    teacher = training.teacher
    if request.teacher_cache is None or not isinstance(teacher, LiveTeacher):
        return []
    cache = cache_for(
        Path(request.teacher_cache),
        teacher,
        request.teacher,
        training.data,
        views=training.views,
        settings=training.settings,
    )
    state = cache.state()
    need = bytes_to_write(cache)
    free = shutil.disk_usage(_existing(Path(request.teacher_cache))).free
    found = f"{count(state.written)} of {count(state.shards)} files are there; "
    found += f"{number(need, 'bytes')} to come, {number(free, 'bytes')} free"
    figures = {"written": state.written, "files": state.shards, "need": need, "free": free}
    if need <= free:
        return [Finding("teacher cache", "ok", found, figures=figures)]
    advice = "make room, name another folder, or leave --teacher-cache out."
    return [Finding("teacher cache", "wrong", found, advice, figures)]


def check_memory(training: Training, rehearsal: Rehearsal) -> list[Finding]:
    """Compare the memory that a step took with what the machine has left."""
    device = training.settings.device
    parts = dict(rehearsal.memory)
    peak = parts.pop("peak", 0)
    if device.type == "cuda":
        parts["blocks"] = int((training.settings.relation_memory or DEFAULT / 2**20) * 2**20)
    need = max(sum(parts.values()), peak)
    left = _left(device)
    listed = ", ".join(f"{name} {number(size, 'bytes')}" for name, size in parts.items())
    found = f"at least {number(need, 'bytes')} ({listed}) of {number(left, 'bytes')} free "
    found += f"on this {device.type}"
    figures = {**parts, "need": need, "left": left}
    if need <= MOST * left:
        return [Finding("memory", "ok", found, figures=figures)]
    advice = "lower --batch-size; --relation-batch keeps the relations of the larger batch."
    severity: Severity = "wrong" if need > left else "look"
    return [Finding("memory", severity, found, advice, figures)]


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


def check_time(training: Training, rehearsal: Rehearsal) -> list[Finding]:
    """Estimate how long the training takes, and what a cache of the teacher would save."""
    workers = training.settings.workers
    fetching = rehearsal.fetching / max(1, cores() if workers is None else workers)
    step = rehearsal.seconds + fetching
    taught = rehearsal.teaching / step if step else 0.0
    seconds = rehearsal.steps * step
    figures = {"step": step, "steps": rehearsal.steps, "seconds": seconds, "teacher": taught}
    found = f"about {duration(seconds)} for {rehearsal.steps:,} steps of {1000 * step:.0f} ms"
    found += f", {share(taught)} of it the teacher's" if taught else ""
    found += "; validation comes on top"
    advice = ""
    if taught > SLOW and training.request.teacher_cache is None:
        saved = duration(rehearsal.steps * rehearsal.teaching)
        advice = f"--teacher-cache FOLDER saves each later run with these views about {saved}."
    return [Finding("time", "ok", found, advice, figures)]


def check_terms(training: Training, rehearsal: Rehearsal) -> list[Finding]:
    """Compare the gradients of the terms for the student with the task's, or with each other."""
    norms = rehearsal.norms
    known = [norm for norm in norms.values() if math.isfinite(norm) and norm > 0]
    beside = "the task's"
    middle = norms.get("task", 0.0)
    if not (math.isfinite(middle) and middle > 0):
        beside = "the middle of all"
        middle = statistics.geometric_mean(known) if known else 1.0
    by_hand = training.settings.loss_weights == "given"
    findings = []
    for name, norm in norms.items():
        value = rehearsal.terms[name]
        ratio = norm / middle
        found = f"{value:.3g}, gradient {norm:.3g}"
        found += "" if name == "task" else f", {count(ratio)} times {beside}"
        figures = {"value": value, "gradient": norm, "ratio": ratio}
        severity: Severity = "ok"
        advice = ""
        if not (math.isfinite(norm) and math.isfinite(value)):
            severity = "wrong"
            figures = {}
            advice = "find what is not finite: an embedding above says so, or the weight is huge."
        elif norm == 0:
            severity = "look"
            advice = "it teaches nothing in this batch: is its weight 0, or the batch too small?"
        elif by_hand and ratio > HARD:
            severity = "wrong" if ratio > ABSURD else "look"
            advice = "it drowns the others: let --loss-weights auto set its weight, or divide it "
            advice += f"by about {count(ratio)}."
        elif by_hand and ratio < 1 / HARD:
            severity = "look"
            advice = "it hardly counts: let --loss-weights auto set its weight, or multiply it by "
            advice += f"about {count(1 / ratio)}."
        findings.append(Finding(f"term {name}", severity, found, advice, figures))
    return findings
