"""`distill()` and `train()`: from names to a run folder, in one call."""

import sys
import time
from pathlib import Path
from typing import Any, Literal

from asterism.anchors import choose_anchors
from asterism.assess import assess, selection
from asterism.configuration import configuration, refuse_changes
from asterism.data import open_data
from asterism.distributed import from_first, is_first
from asterism.engine import Settings, fit, seed_everything
from asterism.fitting import (
    Model,
    choose_methods,
    open_student,
    open_teacher,
    student_classes,
    try_out,
)
from asterism.methods.base import Method
from asterism.models import Spec, load_weights, weights_of
from asterism.provenance import provenance, teacher_cache
from asterism.reopening import evaluate as evaluate
from asterism.result import Result as Result
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
    **settings: Any,
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), path/to/file.py:factory, or a module.
        student: The student, named likewise; a run folder's goes on from its weights.
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
        **settings: See `asterism.engine.Settings`.

    Returns:
        The result, with the student ready to use.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    choices = dict(locals())
    return _run(choices, Settings(**settings))


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
        model: A built-in model (resnet20), path/to/file.py:factory, a run folder, to go on from
            its student, or a module.
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
    return _run({**choices, **fixed}, Settings(**settings))


def _run(choices: dict[str, Any], settings: Settings) -> Result:
    device = settings.device
    if choices["resume"] and choices["out"] is None:
        raise ValueError("--resume needs --out: the folder of the run that is to go on.")
    run = Run(choices["out"] or Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    data = open_data(
        choices["data"],
        validation=choices["validation_data"],
        test=choices["test_data"],
        validation_share=choices["validation_share"],
        split_seed=choices["split_seed"],
        image_size=choices["image_size"],
    )
    use_labels = choices["labels"] and data.classes is not None and settings.task_weight > 0
    data.refuse_useless(use_labels=use_labels, broken=choices["on_broken"] == "stop")
    teacher, taught, methods = None, None, []
    if choices["teacher"] is not None:
        teacher = open_teacher(choices["teacher"], data)
        taught = try_out(teacher, data, "teacher")
        methods = choose_methods(choices["method"], data, taught, use_labels=use_labels)
        teacher.to(device)
    elif not use_labels:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    classes = student_classes(
        methods, data, taught, labels=choices["labels"], use_labels=use_labels
    )
    seed_everything(settings.seed, verbose=False)
    spec = Spec(classes, data.source.image_shape, *data.statistics())
    student, card = open_student(choices["student"], spec)
    student_dim = try_out(student, data, "student", classes=classes).embedding.shape[1]
    teacher_dim = 0 if taught is None else taught.embedding.shape[1]
    for method in methods:
        method.setup(student_dim=student_dim, teacher_dim=teacher_dim, rows=len(data.source))
    if settings.processes > 1 and choices["out"] is None:
        raise ValueError("several processes need to know their common run folder: name it (--out).")
    with run.writing(resume=choices["resume"], overwrite=choices["overwrite"], first=is_first()):
        config, origin = configuration(choices, methods, settings), provenance(data, teacher)
        if choices["resume"]:
            refuse_changes(run, config, origin)
            if run.finished():
                print(f"{run.path} is finished; this is its result.", file=sys.stderr)
                load_weights(student, run.path / "student.safetensors", card["model"])
                kept = Student(student, spec.image_shape).eval()
                return Result(run.path, kept, run.read_result())
        if is_first():
            run.write_config(config, origin)
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
        if not is_first():  # the first process measures and writes
            kept = Student(fitted.student, spec.image_shape).eval()
            return Result(run.path, kept, from_first(None))
        card["embedding_dim"] = student_dim
        run.write_student(weights_of(fitted.student), card)
        found = assess(fitted.student.to(device), teacher, data)
        broken = list(dict.fromkeys((*fitted.broken, *data.broken())))
        for name in broken:
            print(f"left out, unreadable: {name}", file=sys.stderr)
        result = {
            **found,
            "validation": fitted.score,
            "steps": fitted.steps,
            "seconds": round(fitted.seconds, 1),
            "seconds_per_step": fitted.seconds_per_step,
            "broken": broken,
        }
        run.write_result(result)
    from_first(result)
    return Result(run.path, Student(fitted.student.cpu(), spec.image_shape).eval(), result)
