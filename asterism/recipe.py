"""`distill()` and `train()`: from names to a run folder, in one call."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from asterism.assess import assess, outputs_of
from asterism.augment import Views
from asterism.data import Data, open_data
from asterism.data.cache import TeacherCache
from asterism.engine import Settings, fit, seed_everything
from asterism.evaluate import classification, fidelity
from asterism.methods import KD, RKD
from asterism.methods.base import Method
from asterism.models import Spec, build, weights_of
from asterism.provenance import provenance, weights_fingerprint
from asterism.run import Run, RunError, Student, load
from asterism.types import Outputs

Model = str | nn.Module | Callable[..., nn.Module]


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
    fixed = {"teacher": None, "method": [], "labels": True, "teacher_cache": None}
    return _run({**choices, **fixed}, Settings(**settings))


def _run(choices: dict[str, Any], settings: Settings) -> Result:
    run = Run(choices["out"] or Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
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
    teacher = _teacher(choices["teacher"], data)
    methods = _methods(choices["method"], use_labels)
    if teacher is None and not use_labels:
        raise ValueError(
            "training without a teacher needs labels: class folders, or class numbers `y`."
        )
    taught = None if teacher is None else _try(teacher, data, "teacher")
    classes = _fitting(methods, data, taught, use_labels)
    seed_everything(settings.seed, verbose=False)
    spec = Spec(classes, data.source.image_shape, *data.statistics())
    student = build(choices["student"], spec)
    student_dim = _try(student, data, "student").embedding.shape[1]
    if taught is not None:
        for method in methods:
            method.setup(
                student_dim=student_dim,
                teacher_dim=taught.embedding.shape[1],
                rows=len(data.source),
            )
    with run.writing(resume=choices["resume"], overwrite=choices["overwrite"]):
        config = _config(choices, methods, settings)
        if choices["resume"]:
            _refuse_changes(run, config)
        run.write_config(config, provenance(data, teacher))
        fitted = fit(
            student,
            teacher,
            methods,
            data,
            run,
            settings=settings,
            score=_score(teacher, data, use_labels),
            use_labels=use_labels,
            resume=choices["resume"],
            cache=_cache(choices, teacher, taught, data, settings),
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
        result = {
            **assess(fitted.student, teacher, data),
            "best": fitted.best,
            "steps": fitted.steps,
            "seconds": round(fitted.seconds, 1),
            "broken": list(fitted.broken),
        }
        run.write_result(result)
    return Result(run.path, Student(fitted.student, spec.image_shape), result)


def _cache(
    choices: dict[str, Any],
    teacher: nn.Module | None,
    taught: Outputs | None,
    data: Data,
    settings: Settings,
) -> Callable[[Views | None], TeacherCache] | None:
    """Return what opens the cache, once the views are known."""
    if choices["teacher_cache"] is None or teacher is None or taught is None:
        return None
    if data.source.augmented:
        raise ValueError(
            "a teacher cache needs views that can be repeated, and this dataset augments its "
            "images by itself: give it without transforms, as uint8."
        )
    folder, key = Path(choices["teacher_cache"]), {
        "teacher": weights_fingerprint(teacher),
        "architecture": str(teacher),
        "data": data.source.fingerprint(),
        "precision": settings.precision,
    }  # fmt: skip

    def cache(views: Views | None) -> TeacherCache:
        seen = {**key, "views": asdict(views) if views else None}
        return TeacherCache(folder, seen, views=settings.epochs, rows=len(data.source), like=taught)

    return cache


def _teacher(name: Model | None, data: Data) -> nn.Module | None:
    if name is None:
        return None
    if isinstance(name, str | Path) and Path(name).is_dir():
        return load(name)
    teacher = build(name, Spec(data.classes, data.source.image_shape))
    if isinstance(name, str) and name.partition("?")[0].startswith("resnet") and "?" not in name:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    return teacher.eval()


def _methods(method: Method | Sequence[Method] | None, use_labels: bool) -> list[Method]:
    if method is None:
        if use_labels:
            return [RKD(distance_weight=25.0, angle_weight=50.0), KD()]
        return [RKD()]
    return [method] if isinstance(method, Method) else list(method)


@torch.no_grad()
def _try(model: nn.Module, data: Data, role: str) -> Outputs:
    """Run two samples through a model, to see what it returns before an hour is spent."""
    shape = data.source.image_shape
    try:
        outputs = model.eval()(torch.rand(2, *shape))
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(f"the {role} cannot take images of shape {shape}: {error}.") from error
    if not isinstance(outputs, Outputs) or outputs.embedding.ndim != 2:
        raise ValueError(f"the {role} must return an embedding of shape (n, d) for each image.")
    return outputs


def _fitting(
    methods: Sequence[Method], data: Data, taught: Outputs | None, use_labels: bool
) -> int | None:
    """Return the number of classes of the student, or say what does not fit."""
    for method in methods:
        name = type(method).__name__
        if "logits" in method.needs:
            if taught is None or taught.logits is None:
                raise ValueError(
                    f"{name} compares class scores, and the teacher has none: use RKD, which "
                    "compares embeddings."
                )
            width = taught.logits.shape[1]
            if use_labels and width != data.classes:
                raise ValueError(
                    f"{name} compares class scores: the teacher has {width} classes, the data "
                    f"{data.classes}. Use RKD, which compares embeddings, or --labels false."
                )
        if "target" in method.needs and data.classes is None:
            raise ValueError(f"{name} needs labels, and the data have none.")
    if use_labels:
        return data.classes
    if any("logits" in method.needs for method in methods) and taught is not None:
        return None if taught.logits is None else taught.logits.shape[1]
    return None


def _score(teacher: nn.Module | None, data: Data, use_labels: bool) -> Any:
    """Return what selects the best epoch: accuracy, or without labels the teacher's neighbours."""
    if use_labels:
        return lambda outputs, target: {"accuracy": classification(outputs.logits, target).top1}
    assert teacher is not None
    source = data.validation_source or data.source
    taught, _ = outputs_of(teacher, source, data.validation)

    def overlap(outputs: Outputs, target: Tensor | None) -> dict[str, float]:
        embedding = Outputs(taught.embedding), Outputs(outputs.embedding)
        return {"overlap@10": fidelity(embedding[1], embedding[0], ks=(10,)).neighbour_overlap[10]}

    return overlap


def _config(
    choices: dict[str, Any], methods: Sequence[Method], settings: Settings
) -> dict[str, Any]:
    """Return all settings as plain values, in the form that `--config` reads."""
    config = {k: v for k, v in choices.items() if k not in ("settings", "resume", "overwrite")}
    for key in ("teacher", "student", "data", "validation_data", "test_data", "out"):
        value = config[key]
        config[key] = value if value is None or isinstance(value, str) else str(value)
    config["method"] = [
        {"class_path": f"asterism.{type(m).__name__}", "init_args": m.config()} for m in methods
    ]
    flat = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}
    return {**config, **flat}


# What may change between a run and its resumption without making it another experiment.
_HARMLESS = {"out", "workers", "log_every", "devices", "accelerator", "limit_steps", "provenance"}


def _refuse_changes(run: Run, config: dict[str, Any]) -> None:
    if not (run.path / "config.yaml").exists():
        return
    before = run.read_config()
    for key in config.keys() - _HARMLESS:
        if before.get(key) != config[key]:
            raise RunError(
                f"{run.path} was begun with {key} {before.get(key)!r}; resuming with "
                f"{config[key]!r} would be another experiment: use the same, or a new folder."
            )


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
    opened = open_data(
        config["data"],
        validation=config["validation_data"],
        test=data if data is not None else config["test_data"],
        validation_share=config["validation_share"],
        split_seed=config["split_seed"],
        image_size=config["image_size"],
    )
    teacher = _teacher(config["teacher"], opened)
    return Result(Path(run), student, assess(student, teacher, opened))
