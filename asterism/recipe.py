"""`distill()` and `train()`: from names to a run folder, in one call."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from asterism.anchors import choose_anchors
from asterism.assess import assess, selection
from asterism.configuration import configuration, refuse_changes
from asterism.data import Data, open_data
from asterism.engine import Settings, fit, seed_everything
from asterism.fitting import (
    Model,
    choose_methods,
    common_size,
    open_teacher,
    refuse_views,
    student_classes,
    try_out,
)
from asterism.methods.base import Method
from asterism.models import Spec, build
from asterism.provenance import provenance, teacher_cache
from asterism.run import Run
from asterism.student import Student, load, save


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        run: The run folder.
        student: The trained student, in eval mode.
        evaluation: What `result.json` holds: `student`, `teacher`, `fidelity`, `split`, …
    """

    run: Path
    student: Student
    evaluation: dict[str, Any]

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy of the student; None without labels or classifier."""
        found: float | None = self.evaluation["student"].get("classification", {}).get("top1")
        return found

    @property
    def recall_at_1(self) -> float | None:
        """Share of samples whose nearest neighbour is of their class; None without labels."""
        found = self.evaluation["student"].get("retrieval")
        return None if found is None else float(found["recall"][1])

    @property
    def agreement(self) -> float | None:
        """Share of samples for which student and teacher choose the same class."""
        found: float | None = self.evaluation.get("fidelity", {}).get("agreement")
        return found


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
    image_size: int | None = None,
    labels: bool = True,
    on_broken: Literal["skip", "stop"] = "skip",
    teacher_cache: str | Path | None = None,
    **settings: Any,
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), another library's model (timm/…, torchvision/…, hf/…, st/…),
            path/to/file.py:factory, a module, or a file of its outputs (docs/models.md).
        student: The student, named likewise; for texts text-transformer or text-static.
        data: digits, a folder of pictures, an .npz file, a table or a text file, a data set of
            Hugging Face, or a Dataset (docs/data.md).
        method: One method or several, whose terms add up. By default RKD with the paper's
            weights for classification (25, 50) + KD with labels, RKD without.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
        labels: Use labels, where the data have them, for training and for model selection.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
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
    image_size: int | None = None,
    on_broken: Literal["skip", "stop"] = "skip",
    **settings: Any,
) -> Result:
    """Train a model from labels: a teacher, or a baseline.

    Args:
        model: A built-in model (resnet20), another library's, path/to/file.py:factory, or a
            module.
        data: Data with labels, named as for `distill`.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
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
    choices["image_size"] = choices["image_size"] or common_size(
        choices["student"], choices["teacher"]
    )
    run = Run(choices["out"] or Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
    data = _open(choices, test=choices["test_data"])
    if choices["on_broken"] == "stop":
        data.refuse_broken()
    settings = settings.for_kind(data.source.kind)
    use_labels = choices["labels"] and data.classes is not None and settings.task_weight > 0
    teacher, taught, methods = None, None, []
    if choices["teacher"] is not None:
        teacher = open_teacher(choices["teacher"], data)
        taught = try_out(teacher, data, "teacher")
        methods = choose_methods(choices["method"], data, taught, use_labels=use_labels)
        refuse_views(methods, settings, data, teacher)
        teacher.to(settings.device)
    elif not use_labels:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    classes = student_classes(methods, data, taught, use_labels)
    seed_everything(settings.seed, verbose=False)
    spec = Spec(classes, data.source.image_shape, *data.statistics(), teacher=teacher)
    student = build(choices["student"], spec)
    student_dim = try_out(student, data, "student").embedding.shape[1]
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
        save(run, fitted.student, name=choices["student"], spec=spec, dim=student_dim)
        result = {
            **assess(fitted.student.to(settings.device), teacher, data),
            "validation": fitted.score,
            "steps": fitted.steps,
            "seconds": round(fitted.seconds, 1),
            "seconds_per_step": fitted.seconds_per_step,
            "broken": list(fitted.broken),
        }
        run.write_result(result)
    student = Student(fitted.student.cpu(), spec.image_shape).eval()
    return Result(run.path, student, result)


def evaluate(run: str | Path, *, data: Any = None) -> Result:
    """Measure the student of a finished run again, beside its teacher.

    Args:
        run: The run folder.
        data: Other data to measure it on, as `distill` takes them; by default the run's own.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    folder = Run(run)
    config = folder.read_config()
    student = load(run)
    opened = _open(config, test=data if data is not None else config["test_data"])
    named = config.get("teacher")
    if isinstance(named, str) and ".py:" in named.partition("?")[0]:
        named = None  # nothing named in a run folder is imported: the student is measured alone
    teacher = None if named is None else open_teacher(named, opened)
    return Result(Path(run), student, assess(student, teacher, opened))


def _open(asked: dict[str, Any], *, test: Any) -> Data:
    same = {key: asked[key] for key in ("validation_share", "split_seed", "image_size")}
    return open_data(asked["data"], validation=asked["validation_data"], test=test, **same)
