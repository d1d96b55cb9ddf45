"""Int8: an ONNX file a quarter of the size, and what that costs."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.data import Data
from asterism.exporters.subject import Encode, Subject
from asterism.measures import classification, nearest, retrieval
from asterism.models.hub import load_library
from asterism.types import Outputs, Samples
from asterism.verdict import encoder_of, outputs_on

# Rows that calibrate the ranges of activations, and rows on which the loss is measured.
CALIBRATION, MEASURED = 256, 2_000
NEIGHBOURS = 10


@dataclass(frozen=True)
class Loss:
    """What int8 costs against the float student, on rows of the run's evaluation data.

    Attributes:
        rows: How many rows.
        smallest_cosine: The smallest cosine between the two embeddings of a row; None of
            embeddings that are all zero.
        mean_cosine: The mean one.
        neighbours_kept: Share of the float student's ten nearest neighbours that int8 has, too.
        agreement: Share of rows for which both choose the same class; None without class scores.
        accuracy: Top-1 accuracy of float and int8; None without labels or class scores.
        recall_at_1: Recall@1 by class of float and int8; None without labels.
    """

    rows: int
    smallest_cosine: float | None
    mean_cosine: float | None
    neighbours_kept: float | None
    agreement: float | None
    accuracy: tuple[float, float] | None
    recall_at_1: tuple[float, float] | None


def quantise(subject: Subject, file: Path) -> None:
    """Bring an ONNX file's weights, and where it pays its activations, to 8 bits, in place.

    Texts: weights only, activations as they come. Images and arrays: both, with ranges that the
    run's own samples calibrate.

    Raises:
        ValueError: If there is nothing to calibrate with.
    """
    library = load_library("onnxruntime.quantization", "export")
    whole = file.with_name("float.onnx")
    file.rename(whole)
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)  # the library advises its own developers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if subject.of_texts:
                library.quantize_dynamic(whole, file, weight_type=library.QuantType.QInt8)
            elif subject.samples is None:
                raise ValueError(
                    "--int8 calibrates on the run's data, and they cannot be opened: name them, "
                    "--data."
                )
            else:
                library.quantize_static(
                    whole, file, _reader(library, subject), per_channel=True,
                    extra_options={"ActivationSymmetric": False},
                )  # fmt: skip
    finally:
        logging.root.setLevel(before)
    whole.unlink()


def loss(subject: Subject, encode: Encode, data: Data) -> Loss:
    """Return what int8 costs, on up to 2,000 rows of the evaluation data.

    Args:
        subject: The float student.
        encode: The int8 one.
        data: The run's data.
    """
    source, rows, _ = data.evaluation()
    rows = rows[:: max(1, len(rows) // MEASURED)][:MEASURED]
    own = outputs_on(encoder_of(subject.student), source, rows)
    small = outputs_on(encoder_of(_Encoding(encode)), source, own.index)
    student, other = own.outputs.embedding.double(), small.outputs.embedding.double()
    cosine = nn.functional.cosine_similarity(student, other)[student.any(1)]
    kept = None
    if len(student) > NEIGHBOURS:
        near, far = nearest(student, k=NEIGHBOURS), nearest(other, k=NEIGHBOURS)
        kept = float((near[:, :, None] == far[:, None]).any(2).double().mean())
    scores = own.outputs.logits, small.outputs.logits
    return Loss(
        rows=len(student),
        smallest_cosine=float(cosine.min()) if len(cosine) else None,
        mean_cosine=float(cosine.mean()) if len(cosine) else None,
        neighbours_kept=kept,
        agreement=_agreement(*scores),
        accuracy=_accuracies(*scores, own.target),
        recall_at_1=_recalls(student, other, own.target),
    )


def _agreement(own: Tensor | None, small: Tensor | None) -> float | None:
    if own is None or small is None or not len(own):
        return None
    return float((own.argmax(1) == small.argmax(1)).double().mean())


def _accuracies(
    own: Tensor | None, small: Tensor | None, target: Tensor | None
) -> tuple[float, float] | None:
    if own is None or small is None or target is None or int(target.max()) >= own.shape[1]:
        return None
    first, second = classification(own, target).top1, classification(small, target).top1
    return None if first is None or second is None else (float(first), float(second))


def _recalls(own: Tensor, small: Tensor, target: Tensor | None) -> tuple[float, float] | None:
    if target is None:
        return None
    first, second = (retrieval(each, target, ks=(1,)).recall[1] for each in (own, small))
    return None if first is None or second is None else (float(first), float(second))


class _Encoding(nn.Module):
    """An export as a module, for measures that take one."""

    def __init__(self, encode: Encode) -> None:
        super().__init__()
        self.encode = encode

    def forward(self, samples: Samples) -> Outputs:
        return self.encode(samples)


def _reader(library: Any, subject: Subject) -> Any:
    """Return the samples as onnxruntime's calibration asks for them."""

    class Reader(library.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            samples = subject.samples
            assert samples is not None
            parts = torch.split(torch.as_tensor(samples[:CALIBRATION]), 32)
            self.batches = iter(parts)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.batches, None)
            if batch is None:
                return None
            return {name: value.numpy() for name, value in subject.inputs(batch).items()}

    return Reader()
