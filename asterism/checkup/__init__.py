"""What can be known of a training before it begins (docs/doctor.md)."""

import sys

import torch

from asterism.checkup.case import Case as Case
from asterism.checkup.case import Finding as Finding
from asterism.checkup.case import Severity as Severity
from asterism.checkup.case import see
from asterism.checkup.knowledge import check_knowledge
from asterism.checkup.networks import check_embeddings, check_modes, check_sizes
from asterism.checkup.preprocessing import check_entering, check_preprocessing
from asterism.checkup.resources import (
    check_cache,
    check_disk,
    check_memory,
    check_terms,
    check_time,
)
from asterism.checkup.samples import check_classes, check_contents, check_range
from asterism.data import KnownTeacher
from asterism.engine.rehearsal import rehearse
from asterism.types import Outputs, Samples

__all__ = ["Case", "Finding", "Severity", "check", "check_quickly", "warn"]

# What the networks may take of the time: before a training, and when that is all there is to do.
QUICKLY, SECONDS = 0.5, 20.0


@torch.random.fork_rng(devices=[])
def check(
    case: Case,
    *,
    anchors: tuple[Samples, Outputs] | None = None,
) -> list[Finding]:
    """Look at everything: read many samples, prepare them in other ways, take a few steps.

    Args:
        case: The training.
        anchors: The anchor samples and what the teacher returns for them, for methods that ask.
    """
    findings, teacher = _look(case, seconds=SECONDS, thorough=True), case.teacher
    rehearsal = rehearse(
        case.student,
        case.teacher,
        case.methods,
        case.data,
        settings=case.settings,
        use_labels=case.use_labels,
        views=case.views,
        known=teacher.on(case.data.source) if isinstance(teacher, KnownTeacher) else None,
        anchors=anchors,
    )
    findings += [*check_terms(case, rehearsal), *check_memory(case, rehearsal)]
    return [*findings, *check_time(case, rehearsal)]


@torch.random.fork_rng(devices=[])
def check_quickly(case: Case) -> list[Finding]:
    """Look at what takes a moment."""
    return _look(case, seconds=QUICKLY, thorough=False)


def _look(case: Case, *, seconds: float, thorough: bool) -> list[Finding]:
    findings = [*check_classes(case), *check_contents(case, read=thorough)]
    if sample := see(case, seconds=seconds):
        for look in (check_sizes, check_range, check_modes, check_entering):
            findings += look(case, sample)
        findings += check_preprocessing(case, sample, thorough=thorough)
        for look in (check_embeddings, check_knowledge):
            findings += look(case, sample)
    return [*findings, *check_cache(case), *check_disk(case)]


def warn(case: Case) -> None:
    """Look quickly before a training, and say on standard error what is not in order.

    Nothing that is found stops the training, nor does a check that fails on models or data that
    nobody thought of.
    """
    try:
        findings = check_quickly(case)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        print(f"asterism: the check before the training failed ({words})", file=sys.stderr)
        return
    told = [finding for finding in findings if finding.severity != "ok"]
    for finding in told:
        said = f"{finding.severity}: {finding.subject}: {finding.found}; {finding.advice}"
        print(f"asterism: {said}", file=sys.stderr)
    if told:
        print(
            "asterism: `asterism doctor` tells more; --no-check leaves this out.", file=sys.stderr
        )
