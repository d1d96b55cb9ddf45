"""Checks of both networks: size, modes, what enters them, what leaves them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asterism.assess.seeing import device_of
from asterism.checkup.finding import Case, Finding, count, share
from asterism.checkup.sampling import Sample
from asterism.data import StoredTeacher
from asterism.evaluate import effective_rank
from asterism.evaluate.spectrum import DEAD
from asterism.models.modes import evaluating
from asterism.types import Outputs, Samples, on_device

# What enters a network that was normalised once, on ordinary pictures, stays well within these.
LARGEST, LEAST_SPREAD, MOST_SPREAD, FARTHEST = 20.0, 0.02, 2.5, 2.0
# Outputs of the same samples may differ by so much in other company: rounding, padding of texts.
SAME = 1e-2
# Fewer directions than this carry no relations.
FEWEST = 2.0


def check_sizes(case: Case, sample: Sample) -> list[Finding]:
    """Tell widths, classes, parameters and types."""
    findings = []
    for name, model in case.models.items():
        outputs = sample.outputs[name]
        classes = 0 if outputs.logits is None else outputs.logits.shape[1]
        parameters = list(model.parameters())
        types = sorted({str(p.dtype).removeprefix("torch.") for p in parameters})
        width, size = outputs.embedding.shape[1], sum(p.numel() for p in parameters)
        of = "a file of outputs" if isinstance(model, StoredTeacher) else f"{size:,} parameters"
        found = f"{of}{' in ' if types else ''}{' and '.join(types)}, embedding {width} wide, "
        found += f"{classes} classes" if classes else "no classifier"
        figures = {"parameters": size, "width": width, "classes": classes}
        if name == "student" and {"float16", "bfloat16"} & set(types):
            advice = "train in float32 weights; --precision bf16 makes the arithmetic short."
            findings.append(Finding(name, "look", found, advice, figures))
        else:
            findings.append(Finding(name, "ok", found, figures=figures))
    return findings


def check_modes(case: Case, sample: Sample) -> list[Finding]:
    """See whether the teacher, in eval mode, gives one sample one answer."""
    teacher = case.teacher
    if teacher is None or isinstance(teacher, StoredTeacher) or len(sample.shown) < 4:
        return []
    some = on_device(sample.shown[:16], device_of(teacher))
    half = len(some) // 2
    with torch.random.fork_rng(devices=[]), evaluating(teacher):
        whole, again, first = (teacher(x).embedding for x in (some, some, some[:half]))
    if not whole.isfinite().all():
        return []  # said elsewhere
    size = whole.float().norm().clamp_min(torch.finfo(torch.float32).tiny)
    random = float((again - whole).float().norm() / size)
    company = float((first - whole[:half]).float().norm() / size)
    figures = {"random": random, "company": company}
    if random > SAME:
        found = f"the same samples give outputs that differ by {share(random)}"
        advice = "it draws random numbers in eval mode: pass `self.training` to its dropout."
        return [Finding("teacher's mode", "wrong", found, advice, figures)]
    if company > SAME:
        found = f"outputs differ by {share(company)} with the other samples of the batch"
        advice = "batch norm uses the batch in eval mode: let it use its running statistics."
        return [Finding("teacher's mode", "wrong", found, advice, figures)]
    return [Finding("teacher's mode", "ok", "eval; each sample has one answer", figures=figures)]


@dataclass(frozen=True)
class Entering:
    """Statistics of what enters the first layer with weights."""

    mean: float
    spread: float
    low: float
    high: float


def entering(model: nn.Module, samples: Samples) -> Entering | None:
    """Return what enters a network's first layer after its own normalisation; None for texts."""
    seen: list[Tensor] = []
    with _watching(model, seen), torch.random.fork_rng(devices=[]), evaluating(model):
        model(on_device(samples, device_of(model)))
    if not seen:
        return None
    x = seen[0].double()
    return Entering(float(x.mean()), float(x.std()), float(x.min()), float(x.max()))


@contextmanager
def _watching(model: nn.Module, seen: list[Tensor]) -> Iterator[None]:
    def note(module: nn.Module, given: tuple[object, ...]) -> None:
        if not seen and given and isinstance(given[0], Tensor) and given[0].is_floating_point():
            seen.append(given[0].detach())

    own = [m for m in model.modules() if next(m.parameters(recurse=False), None) is not None]
    hooks = [module.register_forward_pre_hook(note) for module in own]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def check_preprocessing(case: Case, sample: Sample) -> list[Finding]:
    """Compare what enters both networks, of the same pictures."""
    findings = []
    for name, model in case.models.items():
        if not isinstance(sample.shown, Tensor) or isinstance(model, StoredTeacher):
            continue
        if (stats := entering(model, sample.shown)) is None:
            continue
        figures = {"mean": stats.mean, "spread": stats.spread, "low": stats.low, "high": stats.high}
        found = (
            f"first layer sees {stats.low:.3g} to {stats.high:.3g}, mean {stats.mean:.3g}, "
            f"deviation {stats.spread:.3g}"
        )
        problem = _problem(stats)
        severity, why, advice = problem or ("ok", "", "")
        subject = f"{name}'s input"
        findings.append(Finding(subject, severity, found + why, advice, figures))  # type: ignore[arg-type]
    return findings


def _problem(stats: Entering) -> tuple[str, str, str] | None:
    own = "pictures arrive in [0, 1]; "
    if not stats.spread == stats.spread:
        return "wrong", ": not finite", own + "check the mean and deviation it normalises with."
    if stats.spread < LEAST_SPREAD:
        return (
            "wrong", ": all pictures are nearly the same to it",
            own + "it divides by 255 once more, or has mean and deviation of 0 to 255.",
        )  # fmt: skip
    if max(-stats.low, stats.high) > LARGEST:
        return (
            "wrong",
            ": pixels from 0 to 255?",
            own + "it multiplies them, or does not expect so.",
        )
    if stats.spread > MOST_SPREAD or abs(stats.mean) > FARTHEST:
        return (
            "look", ": normalised twice?",
            own + "normalise once, inside the model, with mean and deviation of its training data.",
        )  # fmt: skip
    return None


def check_embeddings(case: Case, sample: Sample) -> list[Finding]:
    """Look for outputs that are not finite, and for embeddings that have collapsed."""
    findings = []
    for name in case.models:
        outputs, untrained = sample.outputs[name], name == "student"
        subject = "student's embedding, untrained" if untrained else f"{name}'s embedding"
        if bad := _not_finite(outputs):
            findings.append(
                Finding(
                    subject, "wrong", f"{count(bad)} of {len(sample.index)} samples not finite",
                    f"look for a division by zero or an overflow in the {name}, and at its weights.",
                    {"not_finite": bad}, stops=not case.settings.skip_nonfinite,
                )
            )  # fmt: skip
            continue
        rows = outputs.embedding
        rank = effective_rank(rows)
        deviation = rows.double().std(0)
        typical = deviation.square().mean().sqrt()
        dead = int((deviation <= DEAD * typical).sum())
        distinct = len(torch.unique(rows, dim=0))
        width = rows.shape[1]
        figures = {"rank": rank, "dead": dead, "distinct": distinct, "width": width}
        found = (
            f"effective rank {rank:.1f} of {width}, {dead} dead dimensions, "
            f"{distinct} different rows of {len(rows)}"
        )
        if rank < FEWEST and width > 1:
            advice = f"it has collapsed: there are no relations to {'learn from' if untrained else 'keep'}"
            advice += "; check its weights, its input, and which layer the embedding is."
            findings.append(Finding(subject, "wrong", found, advice, figures))
        elif not untrained and (2 * dead > width or 2 * distinct < len(rows)):
            advice = "check which layer the embedding is: most of it says nothing."
            findings.append(Finding(subject, "look", found, advice, figures))
        else:
            findings.append(Finding(subject, "ok", found, figures=figures))
    return findings


def _not_finite(outputs: Outputs) -> int:
    parts = [x.isfinite().all(1) for x in outputs if x is not None]
    return int((~torch.stack(parts).all(0)).sum())
