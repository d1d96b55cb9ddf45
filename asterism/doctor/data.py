"""Checks of the data: range of the pictures, classes, samples that cannot be read or repeat."""

import hashlib
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from asterism.data import DataAccount, Source
from asterism.doctor.finding import Finding, Severity
from asterism.doctor.trial import Trial
from asterism.engine import Training
from asterism.words import count, share

# The largest class has so many times the samples of the smallest.
UNEVEN = 10
# More copies than this share of the samples are too many.
COPIES = 0.01
# More than this share left out is worth a look.
LEFT_OUT = 0.05
# Pictures that are brought to a size so many times smaller are worth a look.
THROWN_AWAY = 1.5
# How many samples of training and of validation are read, and for how long.
MOST = 100_000
SECONDS = 10.0


def check_account(training: Training) -> list[Finding]:
    """Tell what was found in the data, and what is left out."""
    account = training.account
    if account is None:
        return []
    found = sum(source.found for source in account.sources)
    left_out = sum(sum(source.left_out.values()) for source in account.sources)
    figures = {"found": found, "left_out": left_out}
    severity: Severity = "ok"
    advice = ""
    if account.classes is None and any("not taken as label" in n for n in _notes(account)):
        severity = "look"
        advice = "name the column of labels, if they are to be used."
    elif left_out > LEFT_OUT * found:
        severity = "look"
        advice = f"{share(left_out / found)} is left out: see whether it is meant to be."
    return [Finding("data", severity, "; ".join(account.lines()), advice, figures)]


def _notes(account: DataAccount) -> list[str]:
    return [note for source in account.sources for note in source.notes]


def check_resizing(training: Training) -> list[Finding]:
    """See how much of the pictures is thrown away, unless a model was made for their size."""
    account = training.account
    if account is None or account.found_size is None or account.size is None:
        return []
    times = min(account.found_size) / account.size
    if times <= THROWN_AWAY or account.size_by == "model":
        return []
    width, height = account.found_size
    found = (
        f"{width}×{height} (median) brought to {account.size}×{account.size}: {count(times)} times "
        "smaller"
    )
    advice = f"--image-size {min(width, height)} keeps more, and takes longer."
    return [Finding("size of the pictures", "look", found, advice, {"times": times})]


def check_range(training: Training, trial: Trial) -> list[Finding]:
    """Look at the values of the pictures: models expect them in [0, 1]."""
    if not training.data.source.modality.pixels:
        return []
    shown = torch.as_tensor(trial.shown)
    low, high = float(shown.min()), float(shown.max())
    found = f"pixels from {low:.3g} to {high:.3g}"
    severity: Severity = "ok"
    advice = ""
    if low < -0.01 or high > 1.01:
        severity = "wrong"
        found += ": it looks like " + ("pixels from 0 to 255" if low >= 0 else "a normalisation")
        advice = "models take pictures in [0, 1] and normalise by themselves: give uint8 pictures, "
        advice += "or take that transform out of the dataset."
    elif high < 0.1:
        severity = "look"
        found += ": nearly black"
        advice = "uint8 pictures reach 255: multiply them if theirs end at a smaller number."
    return [Finding("pictures", severity, found, advice, {"low": low, "high": high})]


def check_classes(training: Training) -> list[Finding]:
    """Look at the number of classes and of samples in each."""
    source = training.data.source
    if source.targets is None or training.data.classes is None:
        return [Finding("labels", "ok", f"none; {count(len(source))} samples")]
    sizes = torch.bincount(source.targets[training.data.train], minlength=training.data.classes)
    present = sizes[sizes > 0]
    least, most = int(present.min()), int(present.max())
    found = f"{len(sizes)} classes with {count(least)} to {count(most)} training samples"
    names = source.names or [str(i) for i in range(len(sizes))]
    missing = [names[i] for i in torch.nonzero(sizes == 0).flatten().tolist()]
    severity: Severity = "ok"
    advice = ""
    if missing:
        severity = "look"
        found += f"; {len(missing)} without any: {', '.join(missing[:3])}"
        found += ", …" if len(missing) > 3 else ""
        advice = "check the numbering (from 0 on) and the names of the classes."
    elif most > UNEVEN * least:
        severity = "look"
        advice = "if rare classes matter, compose the batches by class (--samples-per-class)."
    if twins := _twins(names):
        severity = "look"
        found += f"; {twins[0]!r} and {twins[1]!r} differ in capitals alone"
        advice = f"if they are one class, name them alike. {advice}".strip()
    figures = {"classes": len(sizes), "least": least, "most": most, "missing": len(missing)}
    return [Finding("labels", severity, found, advice, figures), *_new_classes(training)]


def _twins(names: Sequence[str]) -> tuple[str, str] | None:
    """Return two classes whose names differ in capitals alone, or None."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            return other, name
    return None


def _new_classes(training: Training) -> list[Finding]:
    """Name the classes of validation and test data that the training data lack."""
    data = training.data
    parts = {"validation": data.validation_source or data.source, "test": data.test}
    findings = []
    for part, source in parts.items():
        if source is None or source.targets is None or data.classes is None:
            continue
        rows = data.validation if part == "validation" else torch.arange(len(source))
        present = torch.unique(source.targets[rows])
        new = [(source.names or ())[i] for i in present[present >= data.classes].tolist()]
        if not new:
            continue
        severity: Severity = "ok" if data.kept_classes else "look"
        found = f"{len(new)} of the {len(present)} classes of the {part} data are not among the "
        found += f"training data's: {', '.join(new[:3])}{', …' if len(new) > 3 else ''}"
        advice = "retrieval and fidelity are measured on them, accuracy is not; if they are meant "
        advice += "to be the same classes, name them alike."
        findings.append(Finding(f"new {part} classes", severity, found, advice))
    return findings


def check_contents(training: Training, *, read: bool) -> list[Finding]:
    """Look for samples that cannot be read, and for equal ones in training and validation.

    Args:
        training: The training.
        read: Whether to read samples that are not in memory.
    """
    data = training.data
    other = data.validation_source or data.source
    in_memory = data.source.in_memory and other.in_memory
    if data.source.augmented or not (read or in_memory):
        return []
    trained, broken = _digests(data.source, data.train[:MOST])
    held_out, broken_too = _digests(other, data.validation[:MOST])
    findings = []
    if broken := (*broken, *broken_too):
        names = ", ".join(broken[:3]) + (", …" if len(broken) > 3 else "")
        looked_at = len(trained) + len(held_out) + len(broken)
        found = f"{count(len(broken))} of {count(looked_at)} samples: {names}"
        advice = "they are left out and named; --on-broken stop refuses such data."
        findings.append(Finding("unreadable", "look", found, advice, {"unreadable": len(broken)}))
    known = set(trained)
    copies = len(trained) - len(known)
    leaked = sum(digest in known for digest in held_out)
    figures = {"looked_at": len(trained) + len(held_out), "copies": copies, "leaked": leaked}
    found = (
        f"{count(copies)} of {count(len(trained))} training samples repeat another; "
        f"{count(leaked)} of {count(len(held_out))} validation samples are training samples"
    )
    severity: Severity = "ok"
    advice = ""
    if leaked:
        severity = "wrong" if leaked >= COPIES * len(held_out) else "look"
        advice = "validation then rewards memory: remove copies before the split."
    elif copies > COPIES * len(trained):
        severity = "look"
        advice = f"{share(copies / len(trained))} of an epoch teach nothing new: remove them."
    return [*findings, Finding("copies", severity, found, advice, figures)]


def _digests(source: Source, rows: Tensor) -> tuple[list[bytes], tuple[str, ...]]:
    """Return a hash of each sample that can be read, and the names of those that cannot."""
    digests: list[bytes] = []
    broken: dict[str, None] = {}
    begun = time.perf_counter()
    for some in torch.split(rows, 256):
        batch = source.__getitems__(some.tolist())
        contents = source.modality.contents(batch.views[0])
        digests += [hashlib.blake2b(x, digest_size=16).digest() for x in contents]
        broken |= dict.fromkeys(batch.broken)
        if time.perf_counter() - begun > SECONDS:
            break
    return digests, tuple(broken)
