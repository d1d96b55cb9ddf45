"""From what a user names to a teacher, and to the size of its pictures."""

from pathlib import Path
from typing import Any

from torch import nn

from asterism.data import Data, Source
from asterism.distributed import is_first
from asterism.modality import IMAGE
from asterism.models import BUILT_IN, Spec, build, input_size
from asterism.models.adapt import Channels
from asterism.names import all_as_text, as_text, each_name, split_name
from asterism.run import Run
from asterism.storage import place
from asterism.student import Student, run_of, student_of_run
from asterism.teachers.cache import is_cache
from asterism.teachers.cached import cached_size, open_cached
from asterism.teachers.classes import in_order
from asterism.teachers.several import Several, SideBySide
from asterism.teachers.stored import is_stored, open_stored
from asterism.teachers.teacher import LiveTeacher, Teacher, class_names_of, observed
from asterism.words import tell


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
    if len(several := each_name(name)) > 1:
        return _several([_open(each, data) for each in several], data, name)
    if is_cache(name):
        return open_cached(place(name))
    if earlier := student_of_run(name):
        takes = earlier[0].modality
        if takes is not data.source.modality:
            plural = data.source.modality.plural
            raise ValueError(f"{name} takes {takes.plural}, and the data are {plural}.")
        return _live(earlier[0], data, name)
    base, given = split_name(str(name)) if isinstance(name, str | Path) else ("", {})
    if is_stored(place(base)):
        return open_stored(place(base), given)
    if base in BUILT_IN and "weights" not in given:
        raise ValueError(f"the teacher {name} has no weights: name them, {name}?weights=FILE.")
    source = data.source
    spec = Spec(data.classes, source.shape, own_classifier=True, modality=source.modality)
    return _live(build(name, spec), data, name)


def _several(teachers: list[Teacher], data: Data, name: Any) -> Teacher:
    """Return several teachers as one: as one network, if all are networks."""
    networks = [teacher.network for teacher in teachers if teacher.network is not None]
    if len(networks) < len(teachers):
        return Several(teachers)
    source = data.source
    return LiveTeacher(SideBySide(networks), source.modality, source.shape, all_as_text(name))


def _live(network: nn.Module, data: Data, name: Any) -> LiveTeacher:
    source = data.source
    network = network.unchecked() if isinstance(network, Student) else network
    network = _in_channels(network, source, name)
    network = in_order(network, class_names_of(network), data.class_names)
    return LiveTeacher(network, source.modality, source.shape, as_text(name))


def _in_channels(network: nn.Module, source: Source, name: Any) -> nn.Module:
    """Return a network that takes the data's images, if it takes them grey, or three times grey.

    The student of a run says what it takes; of another network it is tried.
    """
    shape = source.shape
    if source.modality is not IMAGE or shape is None or shape[0] not in (1, 3):
        return network
    other = 4 - shape[0]
    if isinstance(network, Student):
        if network.shape is None or network.shape[0] != other:
            return network
    elif _takes(network, shape) or not _takes(network, (other, *shape[1:])):
        return network
    takes, data, how = ("images in colour", "grey", "with their one channel repeated")
    if other == 1:
        takes, data, how = ("grey images", "in colour", "grey")
    if is_first():
        tell(
            f"asterism: the teacher {as_text(name)} takes {takes}, and the data are {data}: it is "
            f"given them {how}."
        )
    return Channels(network, other)


def _takes(network: nn.Module, shape: tuple[int, ...]) -> bool:
    try:
        observed(network, IMAGE.example(shape))
    except Exception:  # of any kind: a user's own module may run here
        return False
    return True


def common_size(asked: int | None, *models: Any) -> int | None:
    """Return the size of images that is asked for, or the larger that some models were made for.

    A cache of a teacher's outputs has the only one at which they are right; None if any will do.
    """
    if asked is not None:
        return asked
    sizes: list[int | None] = []
    for model in (each for named in models for each in each_name(named)):
        if is_cache(model):
            return cached_size(place(model))
        sizes.append(_own_size(model))
    return max([size for size in sizes if size], default=None)


def _own_size(model: Any) -> int | None:
    """Return the height and width that a model works at; None if any."""
    run = run_of(model)
    if run is not None and (run / "student.json").is_file():
        shape = Run(run).read_card().get("image_shape")
    else:
        shape = model.shape if isinstance(model, Student) else None
    return int(shape[1]) if shape and len(shape) == 3 else input_size(model)
