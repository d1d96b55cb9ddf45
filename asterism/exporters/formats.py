"""The formats, and which of them can hold a student."""

from collections.abc import Sequence

from asterism.exporters.exporter import Exporter
from asterism.exporters.model2vec import Model2Vec
from asterism.exporters.onnx import Onnx
from asterism.exporters.openvino import OpenVino
from asterism.exporters.pt2 import Pt2
from asterism.exporters.sentence_transformers import SentenceTransformers
from asterism.exporters.state import State
from asterism.exporters.subject import Subject
from asterism.exporters.timm import Timm
from asterism.exporters.transformers import Transformers
from asterism.models.hub import load_library
from asterism.words import listing

EXPORTERS: dict[str, Exporter] = {
    each.name: each
    for each in (
        Onnx(), Pt2(), State(), SentenceTransformers(), Model2Vec(), Transformers(), Timm(),
        OpenVino(),
    )
}  # fmt: skip


def chosen(names: Sequence[str], *, int8: bool = False, uint8: bool = False) -> list[Exporter]:
    """Return the exporters of some formats, each once, their libraries at hand.

    Raises:
        ValueError: If a format is unknown or lacks what is asked of it, or a library is missing.
    """
    if not names:
        raise ValueError(f"export needs a format: choose from {', '.join(EXPORTERS)}.")
    exporters = []
    for name in dict.fromkeys(names):
        if name not in EXPORTERS:
            raise ValueError(f"unknown format {name!r}: choose from {', '.join(EXPORTERS)}.")
        exporter = EXPORTERS[name]
        for option, asked, having in (
            ("int8", int8, [k for k, e in EXPORTERS.items() if e.has_int8]),
            ("uint8", uint8, [k for k, e in EXPORTERS.items() if e.has_uint8]),
        ):
            if asked and name not in having:
                raise ValueError(f"--{option} is for {listing(having)}; got --to {name}.")
        for library in exporter.libraries:
            load_library(library, exporter.extra)
        exporters.append(exporter)
    return exporters


def refuse(exporter: Exporter, subject: Subject) -> None:
    """Raise a ValueError if a format cannot hold a student; it names those that can."""
    reason = exporter.refusal(subject)
    if reason is not None:
        able = [name for name, each in EXPORTERS.items() if each.refusal(subject) is None]
        raise ValueError(
            f"{exporter.name} cannot hold the student ({subject.kind}): {reason}. "
            f"{listing(able)} can."
        )
