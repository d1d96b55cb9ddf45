"""Parity: what an export computes, compared with the student itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject
from asterism.exporters.trials import Trial
from asterism.types import Outputs


@dataclass(frozen=True)
class Difference:
    r"""How far an export is from the student on one trial.

    $\max|e - s| / \max|s|$, where the scale below is the largest absolute value that the student
    gives on any trial: a difference of 1e-6 is the sixth digit of the largest number.

    Attributes:
        trial: What both were given.
        rows: How many samples.
        embedding: The difference of the embeddings.
        logits: That of the class scores; None if either has none.
        limit: Why the format cannot do better here; None where it must.
    """

    trial: str
    rows: int
    embedding: float
    logits: float | None
    limit: str | None = None

    @property
    def largest(self) -> float:
        """Return the larger of the two."""
        return max(self.embedding, self.logits or 0.0)


def differences(
    exporter: Exporter, subject: Subject, encode: Encode, given: Sequence[Trial]
) -> list[Difference]:
    """Return how far an export is from the student on each trial.

    Args:
        exporter: The format.
        subject: The student.
        encode: What was written, loaded again by the format's own library.
        given: The trials.

    Raises:
        ValueError: If it fails on one, or gives outputs of another shape.
    """
    wanted = [subject.outputs(trial.samples) for trial in given]
    embedding_scale = _scale([own.embedding for own in wanted])
    logits_scale = _scale([own.logits for own in wanted if own.logits is not None])
    made = []
    for trial, own in zip(given, wanted, strict=True):
        other = _encoded(exporter, encode, trial)
        compared = own.logits is not None and other.logits is not None
        logits = _largest(own.logits, other.logits, logits_scale) if compared else None
        made.append(
            Difference(
                trial.name,
                len(trial.samples),
                _largest(own.embedding, other.embedding, embedding_scale),
                logits,
                exporter.limits.get(trial.name),
            )
        )
    return made


def refuse_beyond(tolerance: float, exporter: Exporter, made: Sequence[Difference]) -> None:
    """Raise a ValueError if a difference that counts is beyond the tolerance, or no number."""
    counting = [each for each in made if each.limit is None]
    worst = max(counting, key=lambda each: each.largest)
    if not worst.largest <= tolerance:
        limits = " ".join(f"{reason}." for reason in dict.fromkeys(exporter.limits.values()))
        raise ValueError(
            f"the {exporter.name} export differs from the student by {worst.largest:.2g} of its "
            f"largest value on {worst.trial}, and --tolerance is {tolerance:g}: nothing was "
            f"written.{' ' + limits if limits else ''}"
        )


def _encoded(exporter: Exporter, encode: Encode, trial: Trial) -> Outputs:
    try:
        return encode(trial.samples)
    except Exception as error:  # of any of a dozen libraries
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"the {exporter.name} export fails on {trial.name}, which the student takes: {reason}"
        ) from error


def _scale(outputs: list[Tensor]) -> float:
    largest = max((float(each.abs().max()) for each in outputs if each.numel()), default=1.0)
    return largest or 1.0


def _largest(own: Tensor | None, other: Tensor | None, scale: float) -> float:
    assert own is not None
    assert other is not None
    if own.shape != other.shape:
        raise ValueError(
            f"the export gives outputs of shape {tuple(other.shape)}, the student of "
            f"{tuple(own.shape)}."
        )
    apart = (own.double() - other.double()).abs()
    # NaN in both is agreement on a bad thing, in one it is infinitely far.
    apart[own.isnan() & other.isnan()] = 0
    return float(apart.nan_to_num(nan=torch.inf, posinf=torch.inf).max()) / scale
