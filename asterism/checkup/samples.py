"""Checks of the data: range of the pictures, classes, samples that come twice."""

import hashlib

import torch
from torch import Tensor

from asterism.checkup.case import Case, Finding, Sample, count, share
from asterism.data import Source

# The largest class has so many times the samples of the smallest.
UNEVEN = 10
# More copies than this share of the samples are too many.
COPIES = 0.01
# Samples that are read to look for copies; those in memory are all looked at.
READ, IN_MEMORY = 20_000, 100_000


def check_range(case: Case, sample: Sample) -> list[Finding]:
    """Look at the values of the pictures: models expect them in [0, 1]."""
    if not isinstance(sample.shown, Tensor):
        return []
    low, high = float(sample.shown.min()), float(sample.shown.max())
    figures = {"low": low, "high": high}
    found = f"pixels from {low:.3g} to {high:.3g}"
    if low < -0.01 or high > 1.01:
        why = "pixels from 0 to 255" if low >= 0 else "a normalisation"
        return [
            Finding(
                "pictures", "wrong", f"{found}: it looks like {why}",
                "models take pictures in [0, 1] and normalise by themselves: give uint8 pictures, "
                "or take that transform out of the dataset.", figures,
            )
        ]  # fmt: skip
    if high < 0.1:
        return [
            Finding(
                "pictures", "look", f"{found}: nearly black",
                "uint8 pictures reach 255: multiply them if theirs end at a smaller number.",
                figures,
            )
        ]  # fmt: skip
    return [Finding("pictures", "ok", found, figures=figures)]


def check_classes(case: Case) -> list[Finding]:
    """Look at the number of classes and of samples in each."""
    source = case.data.source
    if source.targets is None or case.data.classes is None:
        return [Finding("labels", "ok", f"none; {count(len(source))} samples")]
    sizes = torch.bincount(source.targets[case.data.train], minlength=case.data.classes)
    present = sizes[sizes > 0]
    least, most = int(present.min()), int(present.max())
    figures = {"classes": len(sizes), "least": least, "most": most}
    found = f"{len(sizes)} classes with {count(least)} to {count(most)} training samples"
    names = source.names or ()
    if missing := [names[i] for i in torch.nonzero(sizes == 0).flatten().tolist()]:
        shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
        return [
            Finding(
                "labels", "look", f"{found}; {len(missing)} without any: {shown}",
                "check the numbering (from 0 on) and the names of the classes.",
                {**figures, "missing": len(missing)},
            )
        ]  # fmt: skip
    if most > UNEVEN * least:
        return [
            Finding(
                "labels", "look", found,
                "if rare classes matter, compose the batches by class (--samples-per-class).",
                figures,
            )
        ]  # fmt: skip
    return [Finding("labels", "ok", found, figures=figures)]


def check_copies(case: Case, *, read: bool) -> list[Finding]:
    """Look for equal samples, above all for validation samples that are training samples.

    Args:
        case: The training.
        read: Whether to read samples that are not in memory.
    """
    data = case.data
    other = data.validation_source or data.source
    in_memory = all(getattr(s, "images", None) is not None for s in (data.source, other))
    limit = IN_MEMORY if in_memory or data.source.kind == "text" else READ if read else 0
    if not limit:
        return []
    train, validation = data.train[:limit], data.validation[:limit]
    ours, theirs = _digests(data.source, train), _digests(other, validation)
    if not ours or not theirs:
        return []
    copies = len(ours) - len(set(ours.values()))
    known = set(ours.values())
    leaked = sum(digest in known for digest in theirs.values())
    figures = {"looked_at": len(ours) + len(theirs), "copies": copies, "leaked": leaked}
    found = (
        f"{count(copies)} of {count(len(ours))} training samples repeat another; "
        f"{count(leaked)} of {count(len(theirs))} validation samples are training samples"
    )
    if leaked:
        return [
            Finding(
                "copies", "wrong" if leaked >= COPIES * len(theirs) else "look", found,
                "validation then rewards memory: remove copies before the split.", figures,
            )
        ]  # fmt: skip
    if copies > COPIES * len(ours):
        advice = f"{share(copies / len(ours))} of an epoch teach nothing new: remove them."
        return [Finding("copies", "look", found, advice, figures)]
    return [Finding("copies", "ok", found, figures=figures)]


def _digests(source: Source, rows: Tensor) -> dict[int, bytes]:
    """Return a hash of each sample that can be read, by row."""
    found: dict[int, bytes] = {}
    for some in torch.split(rows, 1024):
        batch = source.__getitems__(some.tolist())
        view = batch.views[0]
        raw = [x.encode() for x in view] if isinstance(view, list) else map(_bytes, view)
        digests = (hashlib.blake2b(x, digest_size=16).digest() for x in raw)
        found |= dict(zip(batch.index.tolist(), digests, strict=True))
    return found


def _bytes(picture: Tensor) -> bytes:
    return picture.contiguous().numpy().tobytes()
