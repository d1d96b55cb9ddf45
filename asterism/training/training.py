"""One training, from a request to a finished run folder."""

import copy
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from asterism.data import Data, Loader, Order, left_over, training_order
from asterism.distributed import from_first, is_first
from asterism.doctor import warn
from asterism.engine import Fitted, Training, fit
from asterism.engine.processes import processes, started, starts_processes
from asterism.methods.base import Method
from asterism.models import load_weights, tokeniser_of, weights_of
from asterism.report import write_report
from asterism.request import Request
from asterism.result import Result
from asterism.run import Interrupted, Run
from asterism.settings import Settings
from asterism.student import Student, load
from asterism.teachers import LiveTeacher, fill_for
from asterism.training.anchors import choose_anchors
from asterism.training.models import open_baseline
from asterism.training.opening import open_training
from asterism.training.provenance import provenance, refuse_changes
from asterism.verdict import assess, selection


def by_time() -> Path:
    """Return the run folder of a run that was given no name."""
    return Path("runs") / time.strftime("%Y%m%d-%H%M%S")


def carry_out(request: Request) -> Result:
    """Train, measure and write it all down.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    settings = request.settings
    if request.out is None and (request.resume or settings.processes > 1):
        raise ValueError(
            "name the run folder (--out): --resume needs to know which run is to go on, and "
            "several processes which one they share."
        )
    request = replace(request, out=request.out or by_time())
    if starts_processes(settings):
        try:
            started(settings, train_here, request)
        except KeyboardInterrupt as stopped:
            raise Interrupted(Path(request.out or "")) from stopped
        return _result_of(request)
    with processes(settings):
        return _carried_out(request)


def train_here(request: Request) -> None:
    """Be one of several processes of a training."""
    carry_out(request)


def _result_of(request: Request) -> Result:
    """Return what processes of their own have written."""
    run = Run(request.out or "")
    named = isinstance(request.student, str | Path)
    own_code = run.read_card()["model"] if named else ""
    factory: Any = None
    if not named or ".py:" in own_code:
        factory = request.student
    return Result(run.path, load(run.path, factory=factory), run.read_result(), run.page)


def _carried_out(request: Request) -> Result:
    run = Run(request.out or "")
    training = open_training(request)
    request = training.request
    baselines = {"untrained": copy.deepcopy(training.student)}
    if request.baseline is not None:
        baselines["without teacher"] = open_baseline(request.baseline, request.student)
    with run.writing(resume=request.resume, overwrite=request.overwrite, first=is_first()):
        config = request.plain()
        origin = provenance(training.data, training.teacher)
        if request.resume:
            refuse_changes(run, config, origin)
            if run.finished():
                return _as_it_is(run, training)
        if is_first():
            run.write_config(config, origin)
            if request.check and not request.resume:
                warn(training)
        training = _ready(training)
        fitted = fit(training, run, resume=request.resume)
        # The first process measures and writes; the others wait for what it found.
        found = _finish(run, training, fitted, baselines) if is_first() else None
        if is_first() and request.report and training.teacher is not None:
            write_report([run.path], run.path / "report.html")
        found = from_first(found)
    return Result(run.path, _student(training, fitted.student), found, run.page)


def _student(training: Training, network: nn.Module) -> Student:
    source = training.data.source
    return Student(network.cpu(), source.modality, source.shape).eval()


def with_anchors(training: Training) -> Training:
    """Return a training with the anchors that its methods ask for."""
    settings, teacher = training.settings, training.teacher
    anchors = choose_anchors(training.methods, teacher, training.data, seed=settings.seed)
    return replace(training, anchors=anchors)


def _ready(training: Training) -> Training:
    """Return a training with what the teacher has to compute before the first step."""
    request, settings, teacher = training.request, training.settings, training.teacher
    # A dry run does not run the teacher over all of the data.
    if request.teacher_cache is not None and not settings.limit_steps:
        assert isinstance(teacher, LiveTeacher)
        folder, name, data = Path(request.teacher_cache), request.teacher, training.data
        cache = fill_for(folder, teacher, name, data, views=training.views, settings=settings)
        data = cache.without_absent(data)
        training = replace(training, data=data, cached=cache.on(data.source))
    score = selection(teacher, training.data, use_labels=training.use_labels)
    return replace(with_anchors(training), score=score)


def _as_it_is(run: Run, training: Training) -> Result:
    """Return the result of a run that has been finished already."""
    if is_first():
        print(f"{run.path} is finished; this is its result.", file=sys.stderr)
    load_weights(training.student, run.path / "student.safetensors", training.card["model"])
    return Result(run.path, _student(training, training.student), run.read_result(), run.page)


def _finish(
    run: Run, training: Training, fitted: Fitted, baselines: dict[str, nn.Module]
) -> dict[str, Any]:
    """Write the student, what was measured of it, and what the training took."""
    settings, data = training.settings, training.data
    tokeniser = tokeniser_of(fitted.student)
    text = tokeniser.json if tokeniser else None
    run.write_student(weights_of(fitted.student), training.card, text)
    _write_aligner(run, training.methods)
    if not settings.limit_steps:
        _read_left_over(data, settings)
    beside = {name: model.to(settings.device) for name, model in baselines.items()}
    student = fitted.student.to(settings.device)
    measured, arrays = assess(student, training.teacher, data, baselines=beside)
    run.write_evaluation(arrays)
    broken = list(dict.fromkeys((*fitted.broken, *data.broken())))
    for name in broken:
        print(f"left out, unreadable: {name}", file=sys.stderr)
    result = {
        **measured,
        "validation": fitted.score,
        "steps": fitted.steps,
        "skipped": fitted.skipped,
        "seconds": round(fitted.seconds, 1),
        "seconds_per_step": fitted.seconds_per_step,
        "broken": broken,
    }
    if fitted.balance is not None:
        weights, norms = fitted.balance.factors, fitted.balance.medians
        result["loss_weights"] = {"factors": weights, "gradient_norms": norms}
    run.write_result(result)
    return result


def _write_aligner(run: Run, methods: Sequence[Method]) -> None:
    """Store the map into the teacher's space that a method has fixed or trained, if one has."""
    maps = [(type(m).__name__, found) for m in methods if (found := m.aligner()) is not None]
    if not maps:
        return
    name, (weight, bias) = maps[0]
    card = {
        "to": "teacher",
        "kind": name,
        "student_dim": weight.shape[1],
        "teacher_dim": weight.shape[0],
        "parameters": weight.numel() + bias.numel(),
    }
    plain = {"weight": weight, "bias": bias}
    run.write_aligner({k: v.detach().float().cpu().contiguous() for k, v in plain.items()}, card)


def _read_left_over(data: Data, settings: Settings) -> None:
    """Read the rows that no batch had: if one cannot be read, its name is wanted, too."""
    order = training_order(
        data.train,
        settings.samples_per_step,
        seed=settings.seed,
        targets=data.source.targets,
        per_class=settings.samples_per_class,
    )
    rows = left_over(order, settings.epochs)
    if len(rows):
        for _ in Loader(data.source, Order(rows, 256, seed=None)):
            pass
