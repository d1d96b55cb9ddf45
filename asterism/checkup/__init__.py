"""What can be known of a training before it begins (docs/doctor.md)."""

import sys
from collections.abc import Callable

from asterism.augment import Views
from asterism.checkup.finding import Case as Case
from asterism.checkup.finding import Finding as Finding
from asterism.checkup.finding import Severity as Severity
from asterism.checkup.knowledge import check_knowledge
from asterism.checkup.labels import check_classes, check_copies, check_range
from asterism.checkup.networks import (
    check_embeddings,
    check_modes,
    check_preprocessing,
    check_sizes,
)
from asterism.checkup.resources import check_cache, check_disk, check_memory, check_time
from asterism.checkup.sampling import see
from asterism.checkup.terms import check_terms
from asterism.data.cache import TeacherCache
from asterism.engine.rehearsal import rehearse
from asterism.types import Outputs, Samples

__all__ = ["Case", "Finding", "Severity", "check", "warn"]

# What the networks may take of the time before a training.
SECONDS = 1.0


def check(
    case: Case,
    *,
    cache: Callable[[Views], list[TeacherCache]] | None = None,
    anchors: tuple[Samples, Outputs] | None = None,
    quickly: bool = False,
) -> list[Finding]:
    """Look at everything.

    Args:
        case: The training.
        cache: What gives the outputs of a teacher that is only those.
        anchors: The anchor samples and what the teacher returns for them, for methods that ask.
        quickly: Leave out what takes long: reading many samples from disk, and taking steps.
    """
    sample = see(case, seconds=SECONDS if quickly else None)
    findings = [
        *check_sizes(case, sample),
        *check_range(sample),
        *check_classes(case),
        *check_copies(case, read=not quickly),
        *check_modes(case, sample),
        *check_preprocessing(case, sample),
        *check_embeddings(case, sample),
        *check_knowledge(case, sample, thorough=not quickly),
        *check_disk(case),
        *check_cache(case),
    ]
    if quickly or any(finding.stops for finding in findings):
        return findings
    rehearsal = rehearse(
        case.student,
        case.teacher,
        case.methods,
        case.data,
        settings=case.settings,
        use_labels=case.use_labels,
        cache=cache,
        anchors=anchors,
    )
    found = (check_terms, check_memory, check_time)
    return [*findings, *(finding for look in found for finding in look(case, rehearsal))]


def warn(case: Case) -> None:
    """Look quickly before a training, and say on standard error what is not in order.

    Raises:
        ValueError: If no training can work with what was found.
    """
    for finding in check(case, quickly=True):
        said = f"{finding.subject}: {finding.found}. {finding.advice}".strip()
        if finding.stops:
            raise ValueError(f"{said} `asterism doctor` with the same options tells more.")
        if finding.severity != "ok":
            print(f"asterism: {finding.severity}: {said}", file=sys.stderr)
