"""Exports: written, loaded back, compared, and only then kept."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from asterism.data import Data
from asterism.exporters.account import Exported, account_of, size_of
from asterism.exporters.card import card_of
from asterism.exporters.exporter import Exporter
from asterism.exporters.folder import ACCOUNT, CARD, written
from asterism.exporters.formats import refuse
from asterism.exporters.int8 import CALIBRATION, loss, quantise
from asterism.exporters.onnx import FILE
from asterism.exporters.parity import differences, refuse_beyond
from asterism.exporters.subject import Subject
from asterism.exporters.trials import Trial, real_rows, trials
from asterism.run import Run
from asterism.student import Student

# Largest difference that an export may have from the student, as a share of its largest value.
TOLERANCE = 1e-4


def subject_of(
    run: Run,
    student: Student,
    *,
    data: Data | None,
    factory: str | Callable[..., nn.Module] | None = None,
    opset: int | None = None,
    uint8: bool = False,
) -> Subject:
    """Return a run's student as exporters take it.

    Args:
        run: The run.
        student: Its student.
        data: The run's data; None if they are not there.
        factory: What builds a student of the user's own code.
        opset: The version of ONNX's operators.
        uint8: Whether images go in as bytes.
    """
    card = run.read_card()
    names = None if data is None else data.source.names
    fitting = names is not None and card["classes"] == len(names)  # older cards have no names
    return Subject(
        run=run.path,
        student=student,
        card=card,
        classes=student.classes or (names if fitting else None),
        factory=factory,
        samples=None if data is None else real_rows(data, CALIBRATION),
        opset=opset,
        uint8=uint8,
    )


def write_exports(
    subject: Subject,
    exporters: Sequence[Exporter],
    place: Path,
    *,
    data: Data | None,
    compared_on: str,
    tolerance: float = TOLERANCE,
    int8: bool = False,
) -> list[Exported]:
    """Write a student in some formats, each in a folder of its name, and compare each with it.

    Args:
        subject: The student.
        exporters: The formats.
        place: Where the folders are made.
        data: The run's data, on which the cost of 8 bits is measured; None if they are not there.
        compared_on: Whose rows the subject's samples are, in words.
        tolerance: Largest difference from the student, as a share of its largest value.
        int8: Bring the weights to 8 bits.

    Raises:
        ValueError: If a format cannot hold the student, or a difference is beyond the tolerance.
    """
    for exporter in exporters:
        refuse(exporter, subject)
    given = trials(subject.student.modality, subject.student.shape, subject.samples)
    made = []
    for exporter in exporters:
        with written(place / exporter.name) as inside:
            exported = _written(exporter, subject, inside, given, tolerance)
            exported = replace(exported, compared_on=compared_on)
            if int8:
                exported = _smaller(exporter, subject, exported, data)
            (inside / CARD).write_text(card_of(exporter, subject, exported))
            (inside / ACCOUNT).write_text(account_of(exporter, exported))
        made.append(replace(exported, folder=place / exporter.name))
    return made


def _written(
    exporter: Exporter, subject: Subject, inside: Path, given: list[Trial], tolerance: float
) -> Exported:
    """Write one format, and compare it with the student."""
    exporter.write(subject, inside)
    made = differences(exporter, subject, exporter.read(subject, inside), given)
    refuse_beyond(tolerance, exporter, made)
    limited = [each for each in made if each.limit is not None and each.largest > tolerance]
    notes = [f"on {each.trial}: {each.limit}" for each in limited]
    if subject.has_logits and not exporter.has_logits:
        notes.append("class scores are left out: the format holds an embedding alone")
    return Exported(
        format=exporter.name,
        folder=inside,
        student=subject.kind,
        size=size_of(inside),
        tolerance=tolerance,
        differences=tuple(made),
        compared_on="",
        notes=tuple(notes),
    )


def _smaller(
    exporter: Exporter, subject: Subject, exported: Exported, opened: Data | None
) -> Exported:
    """Bring a format that was compared as floats to 8 bits, and measure what that costs."""
    quantise(subject, exported.folder / FILE)
    encode = exporter.read(subject, exported.folder)
    cost = None if opened is None else loss(subject, encode, opened)
    return replace(exported, size=size_of(exported.folder), int8=cost)
