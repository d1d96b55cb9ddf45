"""Checks of what enters both networks, and of the preprocessing that the teacher expects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.doctor.finding import Finding, Severity
from asterism.doctor.trial import CHUNK, Trial, networks_of
from asterism.engine import Training
from asterism.measures.neighbours import nearest
from asterism.teachers import observed
from asterism.types import Outputs, join_outputs
from asterism.words import share

# What enters a network that was normalised once, on ordinary pictures, stays well within these.
LARGEST = 20.0
LEAST_SPREAD = 0.02
MOST_SPREAD = 2.5
FARTHEST = 2.0
# Another preprocessing must gain so much to be believed, beside three deviations.
GAIN = 0.02
# A teacher that is right less often can hardly be meant; of one that is more often right no other
# preprocessing is tried before a training.
WEAK = 0.5
USUAL = 0.9

ARRIVE = "pictures arrive in [0, 1]; "


@dataclass(frozen=True)
class Entering:
    """Shape and statistics of what enters the first layer with weights."""

    shape: tuple[int, ...]
    mean: float
    spread: float
    low: float
    high: float


def entering(model: nn.Module, samples: Tensor) -> Entering | None:
    """Return what enters a network's first layer after its own normalisation."""
    entered: list[Tensor] = []

    def note(x: Tensor) -> Tensor:
        entered.append(x)
        return x

    with before_first_layer(model, note):
        observed(model, samples)
    if not entered:
        return None
    x = entered[0].double()
    shape = tuple(x.shape[1:])
    return Entering(shape, float(x.mean()), float(x.std()), float(x.min()), float(x.max()))


@contextmanager
def before_first_layer(model: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change what enters the first layer with weights, in each pass of the `with` block."""
    passed: list[nn.Module] = []

    def begin(module: nn.Module, given: tuple[object, ...]) -> None:
        passed.clear()

    def enter(module: nn.Module, given: tuple[object, ...]) -> tuple[object, ...] | None:
        if passed or not given or not isinstance(given[0], Tensor):
            return None
        if not given[0].is_floating_point():
            return None
        passed.append(module)
        return (change(given[0]), *given[1:])

    own = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    hooks = [model.register_forward_pre_hook(begin, prepend=True)]
    hooks += [module.register_forward_pre_hook(enter) for module in own]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_entering(training: Training, trial: Trial) -> list[Finding]:
    """Tell what enters both networks, of the same pictures."""
    if not training.data.source.modality.pixels:
        return []
    shown = torch.as_tensor(trial.shown)[:CHUNK]
    findings = []
    for name, network in networks_of(training).items():
        if (stats := entering(network, shown)) is None:
            continue
        figures = {"mean": stats.mean, "spread": stats.spread, "low": stats.low, "high": stats.high}
        found = (
            f"first layer sees {'×'.join(map(str, stats.shape))}, {stats.low:.3g} to "
            f"{stats.high:.3g}, mean {stats.mean:.3g}, deviation {stats.spread:.3g}"
        )
        severity, why, advice = _problem(stats)
        findings.append(Finding(f"{name}'s input", severity, found + why, advice, figures))
    return findings


def _problem(stats: Entering) -> tuple[Severity, str, str]:
    """Return severity, what it looks like, and advice."""
    if stats.spread != stats.spread:
        why = ": not finite"
        what = "check the mean and deviation it normalises with."
        return "wrong", why, ARRIVE + what
    if stats.spread < LEAST_SPREAD:
        what = "it divides by 255 once more, or has mean and deviation of 0 to 255."
        return "wrong", ": all pictures are nearly the same to it", ARRIVE + what
    if max(-stats.low, stats.high) > LARGEST:
        what = "it multiplies them, or its deviation is far too small."
        return "look", ": pixels from 0 to 255?", ARRIVE + what
    if stats.spread > MOST_SPREAD or abs(stats.mean) > FARTHEST:
        what = "normalise once, inside the model, with mean and deviation of its training data."
        return "look", ": normalised twice?", ARRIVE + what
    return "ok", "", ""


def standardised(x: Tensor) -> Tensor:
    """Bring each channel of pictures, or all of anything else, to mean 0 and deviation 1."""
    over = (0, 2, 3) if x.ndim == 4 else tuple(range(x.ndim))
    mean, deviation = x.mean(over, keepdim=True), x.std(over, keepdim=True)
    return (x - mean) / deviation.clamp_min(1e-6)


@dataclass(frozen=True)
class Way:
    """Another way to prepare pictures: the change, where it is made, and how to make it so."""

    change: Callable[[Tensor], Tensor]
    advice: str
    inside: bool = False


WAYS = {
    "with each channel at mean 0 and deviation 1 before its first layer": Way(
        standardised,
        "normalise, inside the teacher, with the mean and deviation of its training data.",
        inside=True,
    ),
    "given pixels from 0 to 255": Way(lambda x: 255 * x, "multiply by 255 inside the teacher."),
    "given pixels from -1 to 1": Way(lambda x: 2 * x - 1, "compute 2 * x - 1 inside the teacher."),
    "given its channels in reverse order": Way(
        lambda x: x.flip(1), "turn the channels round, x.flip(1), inside the teacher."
    ),
}


def check_preprocessing(training: Training, trial: Trial, *, thorough: bool) -> list[Finding]:
    """Prepare pictures in other ways: does the teacher know their labels better then?

    Args:
        training: The training.
        trial: Some training samples, and what the networks make of them.
        thorough: Whether to try all ways, or the most likely on a teacher that is often wrong.
    """
    network = networks_of(training).get("teacher")
    target = trial.target
    classes = training.data.classes
    if network is None or target is None or classes is None:
        return []
    if not training.data.source.modality.pixels or len(target.bincount().nonzero()) < 2:
        return []
    shown = torch.as_tensor(trial.shown)
    target = target[: len(shown)]
    embedding, logits = trial.outputs["teacher"]
    outputs = Outputs(embedding[: len(shown)], None if logits is None else logits[: len(shown)])
    if not _finite(outputs):
        return []  # said elsewhere
    classes = 0 if logits is None else classes
    right = _right(outputs, target, classes)
    before = float(right.float().mean())
    if not thorough and before > USUAL:
        return []
    best = ""
    gain = 0
    for name, way in list(WAYS.items())[: None if thorough else 1]:
        otherwise = _prepared(network, shown, way)
        if not _finite(otherwise):
            continue
        then = _right(otherwise, target, classes)
        gained, lost = int((then & ~right).sum()), int((right & ~then).sum())
        # As many are gained as lost if it makes no difference: three deviations of that.
        surprising = gained - lost > max(GAIN * len(right), 3 * (gained + lost) ** 0.5)
        if surprising and gained - lost > gain:
            best = name
            gain = gained - lost
    after = before + gain / len(right)
    found = f"right on {share(before)} of {len(right)} samples"
    figures = {"as_it_is": before, "otherwise": after}
    if not best:
        found += "; no other range, normalisation or order of channels does better"
        return [Finding("teacher's preprocessing", "ok", found, figures=figures)]
    found += f", on {share(after)} {best}"
    advice = f"it seems to expect that: {WAYS[best].advice}"
    severity: Severity = "look" if before > WEAK else "wrong"
    return [Finding("teacher's preprocessing", severity, found, advice, figures)]


def _prepared(network: nn.Module, shown: Tensor, way: Way) -> Outputs:
    """Return what a network makes of pictures that are prepared in another way."""
    with before_first_layer(network, way.change) if way.inside else nullcontext():
        chunks = torch.split(shown if way.inside else way.change(shown), CHUNK)
        return join_outputs([observed(network, chunk) for chunk in chunks])


def _finite(outputs: Outputs) -> bool:
    return all(bool(x.isfinite().all()) for x in outputs if x is not None)


def _right(outputs: Outputs, target: Tensor, classes: int) -> Tensor:
    """Return which samples have their class's score, else their nearest neighbour, right."""
    if outputs.logits is not None and outputs.logits.shape[1] == classes:
        return outputs.logits.argmax(1) == target
    return target[nearest(outputs.embedding, k=1, metric="cosine")[:, 0]] == target
