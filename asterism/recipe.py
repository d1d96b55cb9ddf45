"""`distill()` and `train()`: from names to a run folder, in one call."""

import copy
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from asterism.anchors import choose_anchors
from asterism.assess import assess, selection
from asterism.configuration import configuration, refuse_changes
from asterism.data import open_data
from asterism.engine import Settings, fit, seed_everything
from asterism.fitting import (
    Model,
    choose_methods,
    open_baseline,
    open_teacher,
    student_classes,
    try_out,
)
from asterism.methods.base import Method
from asterism.models import Spec, build, weights_of
from asterism.provenance import provenance, teacher_cache
from asterism.reopening import evaluate as evaluate
from asterism.result import Result
from asterism.run import Run
from asterism.student import Student


def distill(
    teacher: Model,
    student: Model,
    data: Any,
    *,
    method: Method | list[Method] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    split_seed: int = 0,
    image_size: int = 32,
    labels: bool = True,
    on_broken: Literal["skip", "stop"] = "skip",
    teacher_cache: str | Path | None = None,
    baseline: str | Path | None = None,
    with_baselines: bool = False,
    **settings: Any,
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), path/to/file.py:factory, or a module.
        student: The student, named likewise.
        data: digits, an .npz file with x (and y), a folder of pictures, or a Dataset.
        method: One method or several, whose terms add up. By default RKD with the paper's
            weights for classification (25, 50) + KD with labels, RKD without.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which the pictures of a folder are brought.
        labels: Use labels, where the data have them, for training and for model selection.
        on_broken: Pictures that cannot be read: skip and name them, or stop before training.
        teacher_cache: Folder in which the teacher's outputs on the training views are kept for
            later runs (any student, method or seed, the same view seed).
        baseline: Run folder of the same student trained without the teacher, to be measured
            beside this one.
        with_baselines: Train that baseline first, in a folder beside this run's, if it is not
            there yet.
        **settings: See `asterism.engine.Settings`.

    Returns:
        The result, with the student ready to use.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    choices = dict(locals())
    if with_baselines:
        choices["out"] = out or _by_time()
        choices["baseline"] = _train_alone(choices, Settings(**settings))
    return _run(choices, Settings(**settings))


def _by_time() -> Path:
    return Path("runs") / time.strftime("%Y%m%d-%H%M%S")


def _train_alone(choices: dict[str, Any], settings: Settings) -> Path:
    """Train the student of a distillation from labels alone, with the same settings."""
    run = Path(f"{choices['out']}-without-teacher")
    print(f"training the student without the teacher in {run}", file=sys.stderr)
    shared = (
        "data",
        "validation_data",
        "test_data",
        "validation_share",
        "split_seed",
        "image_size",
    )
    options = {name: choices[name] for name in (*shared, "on_broken")}
    task_weight = settings.task_weight or 1.0
    plain = asdict(replace(settings, task_weight=task_weight))
    train(copy.deepcopy(choices["student"]), out=run, resume=True, **options, **plain)
    return run


def train(
    model: Model,
    data: Any,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    split_seed: int = 0,
    image_size: int = 32,
    on_broken: Literal["skip", "stop"] = "skip",
    **settings: Any,
) -> Result:
    """Train a model from labels: a teacher, or a baseline.

    Args:
        model: A built-in model (resnet20), path/to/file.py:factory, or a module.
        data: digits, an .npz file with x and y, a folder of class folders, or a Dataset.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which the pictures of a folder are brought.
        on_broken: Pictures that cannot be read: skip and name them, or stop before training.
        **settings: See `asterism.engine.Settings`.

    Returns:
        The result, with the model ready to use.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    choices = dict(locals())
    choices["student"] = choices.pop("model")
    fixed: dict[str, Any] = {"teacher": None, "method": [], "labels": True, "teacher_cache": None}
    fixed["baseline"] = None
    return _run({**choices, **fixed}, Settings(**settings))


def _run(choices: dict[str, Any], settings: Settings) -> Result:
    run = Run(choices["out"] or _by_time())
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
    with run.writing(resume=choices["resume"], overwrite=choices["overwrite"]):
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
        for name in fitted.broken:
            print(f"left out, unreadable: {name}", file=sys.stderr)
        card = {
            "model": choices["student"]
            if isinstance(choices["student"], str)
            else "file.py:factory",
            "classes": classes,
            "image_shape": list(spec.image_shape),
            "embedding_dim": student_dim,
        }
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
    student = Student(fitted.student.cpu(), spec.image_shape).eval()
    return Result(run.path, student, result)
