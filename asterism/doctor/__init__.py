"""Checks of a training before it begins (docs/doctor.md)."""

import torch

from asterism.doctor.data import (
    check_account,
    check_classes,
    check_contents,
    check_range,
    check_resizing,
)
from asterism.doctor.finding import Finding as Finding
from asterism.doctor.finding import Severity as Severity
from asterism.doctor.input import check_entering, check_preprocessing
from asterism.doctor.labels import check_labels
from asterism.doctor.networks import check_embeddings, check_modes, check_sizes
from asterism.doctor.resources import (
    check_cache,
    check_disk,
    check_memory,
    check_terms,
    check_time,
)
from asterism.doctor.trial import try_networks
from asterism.engine import Training
from asterism.engine.rehearsal import rehearse
from asterism.words import tell

__all__ = ["Finding", "Severity", "check", "check_quickly", "warn"]

TEACHER = "teacher's knowledge"
# What the networks may take of the time: before a training, and when that is all there is to do.
QUICKLY = 0.5
SECONDS = 20.0


@torch.random.fork_rng(devices=[])
def check(training: Training) -> list[Finding]:
    """Look at everything: read many samples, prepare them in other ways, take a few steps."""
    findings = [*check_account(training), *_look(training, seconds=SECONDS, thorough=True)]
    findings += [*check_cache(training), *check_disk(training)]
    rehearsal = rehearse(training)
    findings += [*check_terms(training, rehearsal), *check_memory(training, rehearsal)]
    return [*findings, *check_time(training, rehearsal)]


@torch.random.fork_rng(devices=[])
def check_quickly(training: Training) -> list[Finding]:
    """Look at what takes a moment."""
    return [*_look(training, seconds=QUICKLY, thorough=False), *check_disk(training)]


def _look(training: Training, *, seconds: float, thorough: bool) -> list[Finding]:
    findings = [*check_classes(training), *check_resizing(training)]
    findings += check_contents(training, read=thorough)
    if trial := try_networks(training, seconds=seconds):
        for look in (check_sizes, check_range, check_modes, check_entering):
            findings += look(training, trial)
        findings += check_preprocessing(training, trial, thorough=thorough)
        for look in (check_embeddings, check_labels):
            findings += look(training, trial)
    return findings


def warn(training: Training) -> None:
    """Look quickly before a training, and say on standard error what is not in order.

    Nothing that is found stops the training, nor does a check that fails on models or data that
    nobody thought of.
    """
    try:
        findings = check_quickly(training)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        tell(f"asterism: the check before the training failed ({words})")
        return
    told = [finding for finding in findings if finding.severity != "ok"]
    for finding in told:
        said = f"{finding.severity}: {finding.subject}: {finding.found}; {finding.advice}"
        tell(f"asterism: {said}")
    for finding in findings:  # what it reaches shows at once whether it was read as it was meant
        if finding.subject == TEACHER and finding.severity == "ok":
            tell(f"asterism: {finding.subject}: {finding.found}")
    if told:
        tell("asterism: `asterism doctor` tells more; --no-check leaves this out.")
