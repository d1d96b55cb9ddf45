"""One training, from what a user named to a finished run folder."""

import copy
import sys
import time
from pathlib import Path
from typing import Any

from torch import nn

from asterism.anchors import choose_anchors
from asterism.assess import assess, selection
from asterism.caching import fill_for
from asterism.checkup import warn
from asterism.configuration import configuration, refuse_changes
from asterism.data import Data, KnownTeacher, Loader
from asterism.data.loading import Order
from asterism.data.ordering import left_over, training_order
from asterism.distributed import from_first, is_first
from asterism.engine import Fitted, Settings, fit
from asterism.fitting import open_baseline
from asterism.models import load_weights, tokeniser_of, weights_of
from asterism.parts import Parts, open_parts
from asterism.provenance import provenance
from asterism.report import write_report
from asterism.result import Result
from asterism.run import Run
from asterism.student import Student


def by_time() -> Path:
    """Return the run folder of a run that was given no name."""
    return Path("runs") / time.strftime("%Y%m%d-%H%M%S")


def carry_out(choices: dict[str, Any], settings: Settings) -> Result:
    """Train, measure and write it all down.

    Args:
        choices: The arguments of `asterism.recipe.distill`, without the settings.
        settings: How to train.
    """
    if choices["out"] is None and (choices["resume"] or settings.processes > 1):
        raise ValueError(
            "name the run folder (--out): --resume needs to know which run is to go on, and "
            "several processes which one they share."
        )
    run = Run(choices["out"] or by_time())
    parts = open_parts(choices, settings)
    settings = parts.settings
    baselines = {"untrained": copy.deepcopy(parts.student)}
    if choices["baseline"] is not None:
        baselines["without teacher"] = open_baseline(choices["baseline"], choices["student"])
    with run.writing(resume=choices["resume"], overwrite=choices["overwrite"], first=is_first()):
        config = configuration(choices, parts.methods, settings)
        origin = provenance(parts.data, parts.teacher)
        if choices["resume"]:
            refuse_changes(run, config, origin)
            if run.finished():
                return _as_it_is(run, parts)
        if is_first():
            run.write_config(config, origin)
            if choices["check"] and not choices["resume"]:
                warn(parts.case(run.path))
        parts, known = _known(choices, parts)
        fitted = fit(
            parts.student,
            parts.teacher,
            parts.methods,
            parts.data,
            run,
            settings=settings,
            score=selection(parts.teacher, parts.data, use_labels=parts.use_labels),
            use_labels=parts.use_labels,
            resume=choices["resume"],
            views=parts.views,
            known=None if known is None else known.on(parts.data.source),
            anchors=choose_anchors(parts.methods, parts.teacher, parts.data, seed=settings.seed),
        )
        # The first process measures and writes; the others wait for what it found.
        found = _finish(run, parts, fitted, baselines, settings) if is_first() else None
        if is_first() and choices["report"]:
            write_report([run.path], run.path / "report.html")
    shape = parts.data.source.image_shape
    return Result(run.path, Student(fitted.student.cpu(), shape).eval(), from_first(found))


def _known(choices: dict[str, Any], parts: Parts) -> tuple[Parts, KnownTeacher | None]:
    """Return where the teacher's outputs are known from, if they are; fill the cache, if asked."""
    if isinstance(parts.teacher, KnownTeacher):
        return parts, parts.teacher
    folder, settings = choices["teacher_cache"], parts.settings
    # A dry run does not run the teacher over all of the data.
    if folder is None or parts.teacher is None or settings.limit_steps:
        return parts, None
    known = fill_for(
        Path(folder), parts.teacher, choices["teacher"], parts.data, parts.views, settings
    )
    return parts._replace(data=known.without_absent(parts.data)), known


def _as_it_is(run: Run, parts: Parts) -> Result:
    """Return the result of a run that has been finished already."""
    if is_first():
        print(f"{run.path} is finished; this is its result.", file=sys.stderr)
    load_weights(parts.student, run.path / "student.safetensors", parts.card["model"])
    student = Student(parts.student, parts.data.source.image_shape).eval()
    return Result(run.path, student, run.read_result())


def _finish(
    run: Run,
    parts: Parts,
    fitted: Fitted,
    baselines: dict[str, nn.Module],
    settings: Settings,
) -> dict[str, Any]:
    """Write the student, what was measured of it, and what the training took."""
    tokeniser = tokeniser_of(fitted.student)
    text = tokeniser.json if tokeniser else None
    run.write_student(weights_of(fitted.student), parts.card, text)
    if not settings.limit_steps:
        _read_left_over(parts.data, settings)
    beside = {name: model.to(settings.device) for name, model in baselines.items()}
    student = fitted.student.to(settings.device)
    found, arrays = assess(student, parts.teacher, parts.data, baselines=beside)
    run.write_evaluation(arrays)
    broken = list(dict.fromkeys((*fitted.broken, *parts.data.broken())))
    for name in broken:
        print(f"left out, unreadable: {name}", file=sys.stderr)
    result = {
        **found,
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
