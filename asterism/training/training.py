"""One training, from a request to a finished run folder."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from asterism.data import Data, Loader, Order, account_of, left_over, training_order
from asterism.distributed import from_first, is_first
from asterism.doctor import warn
from asterism.engine import Fitted, Training, fit
from asterism.engine.processes import processes, started, starts_processes
from asterism.exporters import chosen, subject_of, write_exports
from asterism.methods.base import Method
from asterism.models import in_words, load_weights
from asterism.report import write_report
from asterism.request import Request
from asterism.result import Result
from asterism.run import Interrupted, Run
from asterism.settings import Settings
from asterism.student import Student, class_names, load, run_of
from asterism.teachers import LiveTeacher, fill_for
from asterism.training.anchors import choose_anchors
from asterism.training.models import open_baseline
from asterism.training.opening import open_training
from asterism.training.provenance import (
    mark_of,
    provenance,
    refuse_changes,
    refuse_other_contents,
)
from asterism.training.rehearsal import factory_of, write_student
from asterism.verdict import Unmeasured, assess, guessed, selection
from asterism.words import tell

# So many samples that are left out are named at the end; all are in result.json.
MOST_NAMED = 20


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
    student = load(run.path, factory=factory_of(request.student))
    return Result(run.path, student, run.read_result(), run.page)


def _carried_out(request: Request) -> Result:
    run = Run(request.out or "")
    _refuse_own_input(request, run)
    training = open_training(request)
    request = training.request
    baselines = {"untrained": copy.deepcopy(training.student)}
    if request.baseline is not None:
        baselines["without teacher"] = open_baseline(request.baseline, request.student)
        there = {"data": training.data.source.fingerprint()}
        instead = {"data": "a baseline beside this one learns from the same (--with-baselines)."}
        refuse_other_contents(Run(request.baseline), there, instead=instead)
    with run.writing(resume=request.resume, overwrite=request.overwrite, first=is_first()):
        config = request.plain()
        count = training.settings.processes
        mark = mark_of(run, resume=request.resume)
        origin = provenance(training.data, training.teacher, config, processes=count, training=mark)
        if request.resume:
            refuse_changes(run, config, origin)
            if run.finished():
                return _as_it_is(run, training)
        if is_first():
            run.write_config(config, origin)
            _tell(training)
            if request.check and not request.resume:
                warn(training)
        training = _ready(training)
        fitted = fit(training, run, resume=request.resume)
        # The first process measures and writes; the others wait for what it found.
        found = _finish(run, training, fitted, baselines) if is_first() else None
        if is_first() and request.report and training.teacher is not None:
            page = run.path / "report.html"
            _written(run, page.name, lambda: write_report([run.path], page))
        if is_first() and request.export:
            _written(run, run.exports.name, lambda: _export(run, training))
        found = from_first(found)
    return Result(run.path, _student(training, fitted.student), found, run.page)


def _refuse_own_input(request: Request, run: Run) -> None:
    """Raise a ValueError if replacing the run folder would delete what this training reads."""
    read = {name: run_of(getattr(request, name)) for name in ("teacher", "student", "baseline")}
    for name, folder in read.items():
        if request.overwrite and folder is not None and folder.resolve() == run.path.resolve():
            raise ValueError(
                f"--overwrite would delete {run.path}, which is the {name}, too: name another "
                "--out."
            )


def _student(training: Training, network: nn.Module) -> Student:
    source = training.data.source
    classes = class_names(training.card)
    return Student(network.cpu(), source.modality, source.shape, classes).eval()


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
    score = selection(
        teacher,
        training.data,
        use_labels=training.use_labels,
        of_scores=training.task.of_scores,
        metric=settings.metric or "euclidean",
    )
    of_labels = training.use_labels or teacher is None
    guess = guessed(training.data, of_labels=of_labels)
    return replace(with_anchors(training), score=score, guess=guess)


def _as_it_is(run: Run, training: Training) -> Result:
    """Return the result of a run that has been finished already."""
    if is_first():
        tell(f"{run.path} is finished; this is its result.")
    load_weights(training.student, run.path / "student.safetensors", training.card["model"])
    return Result(run.path, _student(training, training.student), run.read_result(), run.page)


def _finish(
    run: Run, training: Training, fitted: Fitted, baselines: dict[str, nn.Module]
) -> dict[str, Any]:
    """Write the student, what was measured of it, and what the training took.

    The student comes first, then the result, then what is only to be looked at; what fails on the
    way is left out and named.
    """
    settings, data = training.settings, training.data
    write_student(run, fitted.student, training.card)
    unmeasured = Unmeasured()
    unmeasured.tried("map to the teacher", lambda: _write_aligner(run, training.methods))
    if not settings.limit_steps:
        unmeasured.tried("rows of no batch", lambda: _read_left_over(data, settings))
    for name, model in baselines.items():
        unmeasured.tried(f"{name}: device", partial(model.to, settings.device))
    student = fitted.student.to(settings.device)
    measured, arrays = assess(
        student,
        training.teacher,
        data,
        baselines=baselines,
        metric=settings.metric or "euclidean",
        timed_batches=settings.timed_batches,
    )
    broken = list(dict.fromkeys((*fitted.broken, *data.broken())))
    if not training.request.told:
        _name(broken)
    for remark in fitted.remarks:
        tell(f"asterism: {remark}")
    result = {
        **measured,
        "validation": fitted.score,
        "steps": fitted.steps,
        "skipped": fitted.skipped,
        "remarks": list(fitted.remarks),
        "seconds": round(fitted.seconds, 1),
        "seconds_per_step": fitted.seconds_per_step,
        "broken": broken,
        "data": unmeasured.tried("account", lambda: _accounted(training, fitted)),
        "unmeasured": {**unmeasured, **measured["unmeasured"]},
    }
    if fitted.balance is not None:
        weights, norms = fitted.balance.factors, fitted.balance.medians
        result["loss_weights"] = {"factors": weights, "gradient_norms": norms}
    run.write_result(result)
    _written(run, "evaluation.npz", lambda: run.write_evaluation(arrays))
    return result


def _tell(training: Training) -> None:
    """Say what was found in the data, before anything is spent on it."""
    account = training.account
    if account is not None:
        for line in account.lines():
            if line == account.method:
                tell(f"method: {line}")
            elif not training.request.told:
                tell(f"data: {line}")


def _name(broken: Sequence[str]) -> None:
    """Say which samples could not be read."""
    for name in broken[:MOST_NAMED]:
        tell(f"left out, unreadable: {name}")
    if len(broken) > MOST_NAMED:
        tell(f"and {len(broken) - MOST_NAMED} more, in result.json")


def _accounted(training: Training, fitted: Fitted) -> dict[str, Any] | None:
    """Return the account of the data with what could not be read, as plain values."""
    before = training.account
    if before is None:
        return None
    sources = training.data.sources()  # without what a cache lacks, which may have been made since
    account = account_of(training.data, size_by=before.size_by, method=before.method)
    told = {source.told(row) for source in sources.values() for row in source.unusable}
    unreadable = {name: set(source.broken) - told for name, source in sources.items()}
    elsewhere = set(fitted.broken) - told  # by other ranks
    unreadable["data"] |= elsewhere.difference(*unreadable.values())
    return account.with_unreadable({name: len(x) for name, x in unreadable.items()}).plain()


def _written(run: Run, name: str, write: Callable[[], object]) -> None:
    """Write what is only to be looked at; if that fails, the run is there without it."""
    try:
        write()
    except Exception as error:  # of any kind: a full disk, a picture
        tell(
            f"asterism: {name} could not be written ({in_words(error)}); student and result are in "
            f"{run.path}."
        )


def _export(run: Run, training: Training) -> None:
    """Export the student in the formats that were asked for and tried before the first step."""
    request, factory = training.request, factory_of(training.request.student)
    student = load(run.path, factory=factory)
    subject = subject_of(run, student, data=training.data, factory=factory)
    write_exports(
        subject,
        chosen(request.export),
        run.exports,
        data=training.data,
        compared_on="rows of the run's data",
    )


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
        steps=settings.steps_per_epoch,
        blocks=data.source.blocks,
    )
    rows = left_over(order, settings.epochs)
    if len(rows):
        for _ in Loader(data.source, Order(rows, 256, seed=None)):
            pass
