"""From what a user names to a teacher, and to the size of its pictures."""

from pathlib import Path
from typing import Any

from torch import nn

from asterism.data import Data
from asterism.models import BUILT_IN, Spec, build, input_size
from asterism.names import as_text, split_name
from asterism.run import Run
from asterism.student import Student, run_of, student_of_run
from asterism.teachers.cache import is_cache
from asterism.teachers.cached import cached_size, open_cached
from asterism.teachers.stored import is_stored, open_stored
from asterism.teachers.teacher import LiveTeacher, Teacher


def open_teacher(name: Any, data: Data) -> Teacher:
    """Return the teacher: the student of an earlier run, a file or cache of outputs, or a model.

    It is matched with the training data, so that rows without ids are theirs.

    Args:
        name: How a user names it (`asterism.request.Model`).
        data: The data.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, it is a built-in one without weights, or it does not
            fit the data.
    """
    teacher = _open(name, data)
    teacher.on(data.source)
    return teacher


def _open(name: Any, data: Data) -> Teacher:
    if isinstance(name, Teacher):
        return name
    if is_cache(name):
        return open_cached(Path(str(name)))
    if earlier := student_of_run(name):
        takes = earlier[0].modality
        if takes is not data.source.modality:
            plural = data.source.modality.plural
            raise ValueError(f"{name} takes {takes.plural}, and the data are {plural}.")
        return _live(earlier[0], data, name)
    base, given = split_name(str(name)) if isinstance(name, str | Path) else ("", {})
    if is_stored(Path(base)):
        return open_stored(Path(base), given)
    if base in BUILT_IN and "weights" not in given:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    source = data.source
    spec = Spec(data.classes, source.shape, own_classifier=True, modality=source.modality)
    return _live(build(name, spec), data, name)


def _live(network: nn.Module, data: Data, name: Any) -> LiveTeacher:
    source = data.source
    network = network.unchecked() if isinstance(network, Student) else network
    return LiveTeacher(network, source.modality, source.shape, as_text(name))


def common_size(asked: int | None, *models: Any) -> int:
    """Return the size of images that is asked for, or the larger that some models were made for.

    A cache of a teacher's outputs has the only one at which they are right; 32 if any will do.
    """
    if asked is not None:
        return asked
    sizes: list[int | None] = []
    for model in models:
        if is_cache(model):
            return cached_size(Path(str(model))) or 32
        sizes.append(_own_size(model))
    return max([size for size in sizes if size], default=32)


def _own_size(model: Any) -> int | None:
    """Return the height and width that a model works at; None if any."""
    run = run_of(model)
    if run is not None and (run / "student.json").is_file():
        shape = Run(run).read_card().get("image_shape")
    else:
        shape = model.shape if isinstance(model, Student) else None
    return int(shape[1]) if shape and len(shape) == 3 else input_size(model)
