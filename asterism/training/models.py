"""Student and methods of a training, opened, and checked to fit teacher and data."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from asterism.data import Data
from asterism.memory import MemoryBank, SampleMemory
from asterism.methods.base import NEEDS, Method
from asterism.models import Spec, build, card_of, unweighted
from asterism.models.adapt import Adapted
from asterism.names import as_text, is_own_code, joined_name, portable, split_name
from asterism.run import Run
from asterism.settings import Settings
from asterism.student import load, student_of_run
from asterism.teachers import Teacher, TeacherCard, differing

if TYPE_CHECKING:
    from asterism.request import Model


def open_student(
    name: "Model", spec: Spec, names: Sequence[str] | None
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the student, and the card from which `asterism.load` builds it again.

    Args:
        name: How a user names it.
        spec: What it must know of the data.
        names: Names of the classes that it is asked for, where they are known.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, or an earlier student has other classes.
    """
    earlier = student_of_run(name)
    if earlier is None:
        student = build(name, spec)
        embedding = student.embedding if isinstance(student, Adapted) else None
        kept = {
            "model": _kept_name(as_text(name)),
            "embedding": embedding,
            "config": card_of(student),
        }
        return student, {**kept, **spec.card(), "class_names": names and list(names)}
    card = Run(earlier[1]).read_card()
    if spec.classes not in (None, card["classes"]):
        raise ValueError(
            f"the student of {earlier[1]} has {card['classes'] or 'no'} classes, and this run "
            f"needs {spec.classes}: begin with a new one."
        )
    if spec.classes is not None:
        card |= {"class_names": names and list(names)}
    # It may go on at another size than it was first trained at.
    return earlier[0].model, {**card, "image_shape": spec.card()["image_shape"]}


def _kept_name(name: str) -> str:
    """Return what a card keeps of a name: what it is built again with, and no machine's folders."""
    base, arguments = split_name(name)
    needed = unweighted(base, arguments)
    return joined_name(portable(base), {k: v for k, v in arguments.items() if k in needed})


def open_baseline(run: str | Path, student: "Model") -> nn.Module:
    """Return the student of a run without the teacher, built as the present student is."""
    student = str(student) if isinstance(student, Path) else student
    own_code = is_own_code(as_text(student))
    return load(run, factory=copy.deepcopy(student) if own_code else None)


def refuse_views(
    methods: Sequence[Method], settings: Settings, data: Data, teacher: Teacher
) -> None:
    """Raise a ValueError if several views are asked for of data or a teacher that have one."""
    asking = [type(m).__name__ for m in methods if m.views > 1]
    if settings.trained_views > 1:
        asking.append(f"train_views {settings.train_views}")
    source = data.source
    several = source.augmented or has_views(data, settings)
    if asking and (teacher.one_view or not several):
        name = source.modality.name
        one = f"{'an' if name == 'array' else 'a'} {name}" if not several else teacher.a_name
        raise ValueError(
            f"{asking[0]} needs augmented views of each sample, and {one} has one clean view: "
            "use a method of one view, as RKD, RRD and RRKD are."
        )


def has_views(data: Data, settings: Settings) -> bool:
    """Return whether views of the samples are made, and so virtual ones, too."""
    return data.source.views(settings, virtual=0) is not None


def refuse_ramps(methods: Sequence[Method], settings: Settings) -> None:
    """Raise a ValueError if weights would be measured while a method still changes its own."""
    for method in methods:
        if settings.loss_weights == "auto" and method.weight_grows:
            raise ValueError(
                f"{type(method).__name__} lets its weights grow while it trains, and loss_weights "
                "auto would take them for small ones: leave one of the two out."
            )


def refuse_prefixes(methods: Sequence[Method], settings: Settings, width: int) -> None:
    """Raise a ValueError if first columns cannot be trained by themselves."""
    prefixes = settings.prefixes
    if prefixes and settings.of_scores and all("logits" in method.needs for method in methods):
        raise ValueError(
            "prefixes train first columns of the embedding, and nothing here compares embeddings: "
            "name a method that does, or a loss of metric learning."
        )
    if prefixes and not 0 < min(prefixes) <= max(prefixes) < width:
        raise ValueError(
            f"prefixes are numbers of first columns, fewer than the student's {width}; got "
            f"{', '.join(map(str, prefixes))}."
        )
    for method in methods if prefixes else ():
        if any(isinstance(module, MemoryBank | SampleMemory) for module in method.modules()):
            raise ValueError(
                f"{type(method).__name__} remembers whole rows of earlier batches, with which "
                "first columns cannot be compared: leave prefixes or its memory out."
            )


def student_classes(
    methods: Sequence[Method],
    data: Data,
    card: TeacherCard | None,
    *,
    labels: bool,
    use_labels: bool,
    of_scores: bool = True,
) -> int | None:
    """Return the number of classes of the student, or say what does not fit.

    Args:
        methods: The methods.
        data: The data.
        card: What is known of the teacher, if there is one.
        labels: Whether the user lets the run see labels.
        use_labels: Whether labels are part of the objective.
        of_scores: Whether the loss with them is of a classifier's scores.

    Raises:
        ValueError: If a method needs what data, teacher or user do not give.
    """
    for method in methods:
        name = type(method).__name__
        if isinstance(method.needs, str) or not NEEDS.issuperset(method.needs):
            raise ValueError(
                f"{name}.needs must be a set of any of {', '.join(sorted(NEEDS))}; got "
                f"{method.needs!r}."
            )
        if "logits" in method.needs:
            if card is None or not card.classes:
                raise ValueError(
                    f"{name} compares class scores, and the teacher has none: use RKD, which "
                    "compares embeddings."
                )
            if use_labels and (reason := differing(card, data)):
                raise ValueError(
                    f"{name} compares class scores: {reason}. Use RKD, which compares embeddings, "
                    "or --labels false."
                )
        if not labels and ("target" in method.needs or _chosen_by_label(method)):
            raise ValueError(f"{name} needs labels, and --labels false leaves them out.")
        if "target" in method.needs and data.classes is None:
            raise ValueError(f"{name} needs labels, and the data have none.")
    if use_labels and of_scores:
        return data.classes
    if any("logits" in method.needs for method in methods) and card is not None:
        return card.classes or None
    return None


def _chosen_by_label(method: Method) -> bool:
    return "anchors" in method.needs and method.anchors != "random"
