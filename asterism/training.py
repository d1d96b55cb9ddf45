"""One training, from what a user named to a finished run folder."""

import copy
import sys
import time
from pathlib import Path
from typing import Any

from torch import nn

from asterism.anchors import choose_anchors
from asterism.assess import assess, selection
from asterism.configuration import configuration, refuse_changes
from asterism.data import open_data
from asterism.distributed import from_first, is_first
from asterism.engine import Settings, fit, seed_everything
from asterism.fitting import choose_methods, open_baseline, open_teacher, student_classes, try_out
from asterism.models import Spec, build, weights_of
from asterism.provenance import provenance, teacher_cache
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
    run = Run(choices["out"] or by_time())
    data = open_data(
        choices["data"],
        validation=choices["validation_data"],
        test=choices["test_data"],
        validation_share=choices["validation_share"],
        split_seed=choices["split_seed"],
        image_size=choices["image_size"],
    )
    if choices["on_broken"] == "stop":
        data.refuse_broken()
    use_labels = choices["labels"] and data.classes is not None and settings.task_weight > 0
    teacher, taught, methods = None, None, []
    if choices["teacher"] is not None:
        teacher = open_teacher(choices["teacher"], data)
        taught = try_out(teacher, data, "teacher")
        methods = choose_methods(choices["method"], data, taught, use_labels=use_labels)
        teacher.to(settings.device)
    elif not use_labels:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    alone: dict[str, nn.Module] = {}
    if choices["baseline"] is not None:
        alone["without teacher"] = open_baseline(choices["baseline"], choices["student"])
    classes = student_classes(methods, data, taught, use_labels)
    seed_everything(settings.seed, verbose=False)
    spec = Spec(classes, data.source.image_shape, *data.statistics())
    student = build(choices["student"], spec)
    student_dim = try_out(student, data, "student").embedding.shape[1]
    untrained = copy.deepcopy(student)
    teacher_dim = 0 if taught is None else taught.embedding.shape[1]
    for method in methods:
        method.setup(student_dim=student_dim, teacher_dim=teacher_dim, rows=len(data.source))
    if settings.processes > 1 and choices["out"] is None:
        raise ValueError("several processes need to know their common run folder: name it (--out).")
    with run.writing(resume=choices["resume"], overwrite=choices["overwrite"], first=is_first()):
        if is_first():
            config = configuration(choices, methods, settings)
            if choices["resume"]:
                refuse_changes(run, config)
            run.write_config(config, provenance(data, teacher))
        fitted = fit(
            student,
            teacher,
            methods,
            data,
            run,
            settings=settings,
            score=selection(teacher, data, use_labels=use_labels),
            use_labels=use_labels,
            resume=choices["resume"],
            anchors=choose_anchors(methods, teacher, data, seed=settings.seed),
            cache=teacher_cache(choices["teacher_cache"], teacher, taught, data, settings),
        )
        card = {
            "model": choices["student"]
            if isinstance(choices["student"], str)
            else "file.py:factory",
            "classes": classes,
            "image_shape": list(spec.image_shape),
            "embedding_dim": student_dim,
        }
        if not is_first():  # the first process measures and writes
            student = Student(fitted.student, spec.image_shape).eval()
            return Result(run.path, student, from_first(None))
        for name in fitted.broken:
            print(f"left out, unreadable: {name}", file=sys.stderr)
        run.write_student(weights_of(fitted.student), card)
        baselines = {"untrained": untrained, **alone}
        baselines = {name: model.to(settings.device) for name, model in baselines.items()}
        found, arrays = assess(
            fitted.student.to(settings.device), teacher, data, baselines=baselines
        )
        run.write_evaluation(arrays)
        result = {
            **found,
            "validation": fitted.score,
            "steps": fitted.steps,
            "seconds": round(fitted.seconds, 1),
            "seconds_per_step": fitted.seconds_per_step,
            "broken": list(fitted.broken),
        }
        run.write_result(result)
        from_first(result)
        if choices["report"]:
            write_report([run.path], run.path / "report.html")
    student = Student(fitted.student.cpu(), spec.image_shape).eval()
    return Result(run.path, student, result)
