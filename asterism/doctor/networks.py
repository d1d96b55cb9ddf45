"""Checks of both networks: size, mode, and what leaves them."""

import torch

from asterism.doctor.finding import Finding, Severity
from asterism.doctor.trial import Trial, networks_of
from asterism.engine import Training
from asterism.measures import effective_rank
from asterism.measures.spectrum import DEAD
from asterism.teachers import card_of, observed
from asterism.types import Outputs
from asterism.words import count, share

# Outputs of the same samples may differ by so much in other company: rounding, padding of texts.
SAME = 1e-2
# Fewer directions than this carry no relations; a deep student may begin with little more than one.
FEWEST = 2.0
FEWEST_UNTRAINED = 1.1


def check_sizes(training: Training, trial: Trial) -> list[Finding]:
    """Tell widths, classes, parameters and types."""
    findings = []
    cards = {"student": card_of(training.student, trial.outputs["student"])}
    if training.teacher is not None:
        cards["teacher"] = training.teacher.card
    for name, card in cards.items():
        known = card.parameters is not None
        found = f"{card.parameters:,} parameters" if known else "a file of outputs"
        found += f" in {' and '.join(card.kinds)}" if card.kinds else ""
        found += f", embedding {card.width} wide, "
        found += f"{card.classes} classes" if card.classes else "no scores"
        figures = {
            "parameters": card.parameters or 0,
            "width": card.width,
            "classes": card.classes,
        }
        severity: Severity = "ok"
        advice = ""
        if name == "student" and {"float16", "bfloat16"} & set(card.kinds):
            severity = "look"
            advice = "small steps are lost in so few digits: keep its weights in float32, and use "
            advice += "--precision bf16 for fast arithmetic."
        findings.append(Finding(name, severity, found, advice, figures))
    return findings


def check_modes(training: Training, trial: Trial) -> list[Finding]:
    """See whether the teacher, in eval mode, gives one sample one answer."""
    network = networks_of(training).get("teacher")
    if network is None or len(trial.index) < 4:
        return []
    some = trial.shown[:16]
    half = len(some) // 2
    whole, again, first = (observed(network, x).embedding for x in (some, some, some[:half]))
    if not whole.isfinite().all():
        return []  # said elsewhere
    size = whole.norm().clamp_min(torch.finfo(torch.float32).tiny)
    random = float((again - whole).norm() / size)
    company = float((first - whole[:half]).norm() / size)
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


def check_embeddings(training: Training, trial: Trial) -> list[Finding]:
    """Look for outputs that are not finite, and for embeddings that have collapsed."""
    return [_embedding(name, trial.outputs[name]) for name in trial.outputs]


def _embedding(name: str, outputs: Outputs) -> Finding:
    subject = f"{name}'s embedding"
    if bad := _not_finite(outputs):
        found = f"{count(bad)} of {len(outputs.embedding)} samples not finite"
        advice = f"look for a division by zero or an overflow in the {name}, and at its weights."
        return Finding(subject, "wrong", found, advice, {"not_finite": bad})
    rows = outputs.embedding
    rank = effective_rank(rows)
    deviation = rows.double().std(0)
    dead = int((deviation <= DEAD * deviation.square().mean().sqrt()).sum())
    distinct = len(torch.unique(rows, dim=0))
    width = rows.shape[1]
    figures = {"rank": rank, "dead": dead, "distinct": distinct, "width": width}
    found = (
        f"effective rank {rank:.1f} of {width}, {dead} dead dimensions, "
        f"{distinct} different rows of {len(rows)}"
    )
    severity: Severity = "ok"
    advice = ""
    if rank < FEWEST and width > 1 and name == "teacher":
        severity = "wrong"
        advice = "it has collapsed, and there are no relations to learn from: check its weights, "
        advice += "its input, and which layer the embedding is."
    elif rank < FEWEST_UNTRAINED and width > 1:
        severity = "look"
        advice = "it begins collapsed: check its initial weights and which layer the embedding is."
    elif name == "teacher" and (2 * dead > width or 2 * distinct < len(rows)):
        severity = "look"
        advice = "most of it says nothing: check which layer the embedding is."
    return Finding(subject, severity, found, advice, figures)


def _not_finite(outputs: Outputs) -> int:
    parts = [x.isfinite().all(1) for x in outputs if x is not None]
    return int((~torch.stack(parts).all(0)).sum())
