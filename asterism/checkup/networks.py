"""Checks of both networks: size, mode, and what leaves them."""

import torch

from asterism.checkup.case import Case, Finding, Sample, Severity, count, seen_by, share
from asterism.data import KnownTeacher
from asterism.evaluate import effective_rank
from asterism.evaluate.spectrum import DEAD
from asterism.types import Outputs

# Outputs of the same samples may differ by so much in other company: rounding, padding of texts.
SAME = 1e-2
# Fewer directions than this carry no relations; a deep student may begin with little more than one.
FEWEST, FEWEST_UNTRAINED = 2.0, 1.1


def check_sizes(case: Case, sample: Sample) -> list[Finding]:
    """Tell widths, classes, parameters and types."""
    findings = []
    for name, model in case.models.items():
        outputs = sample.outputs[name]
        classes = 0 if outputs.logits is None else outputs.logits.shape[1]
        parameters = list(model.parameters())
        types = sorted({str(p.dtype).removeprefix("torch.") for p in parameters})
        width, size = outputs.embedding.shape[1], sum(p.numel() for p in parameters)
        found = "a file of outputs" if isinstance(model, KnownTeacher) else f"{size:,} parameters"
        found += f" in {' and '.join(types)}" if types else ""
        found += f", embedding {width} wide, " + (f"{classes} classes" if classes else "no scores")
        figures = {"parameters": size, "width": width, "classes": classes}
        severity: Severity = "ok"
        advice = ""
        if name == "student" and {"float16", "bfloat16"} & set(types):
            severity = "look"
            advice = "small steps are lost in so few digits: keep its weights in float32, and use "
            advice += "--precision bf16 for fast arithmetic."
        findings.append(Finding(name, severity, found, advice, figures))
    return findings


def check_modes(case: Case, sample: Sample) -> list[Finding]:
    """See whether the teacher, in eval mode, gives one sample one answer."""
    teacher = case.teacher
    if teacher is None or isinstance(teacher, KnownTeacher) or len(sample.index) < 4:
        return []
    some = sample.shown[:16]
    half = len(some) // 2
    whole, again, first = (seen_by(teacher, x).embedding for x in (some, some, some[:half]))
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


def check_embeddings(case: Case, sample: Sample) -> list[Finding]:
    """Look for outputs that are not finite, and for embeddings that have collapsed."""
    return [_embedding(name, sample.outputs[name]) for name in case.models]


def _embedding(name: str, outputs: Outputs) -> Finding:
    subject = f"{name}'s embedding"
    if bad := _not_finite(outputs):
        found = f"{count(bad)} of {len(outputs.embedding)} samples not finite"
        advice = f"look for a division by zero or an overflow in the {name}, and at its weights."
        return Finding(subject, "wrong", found, advice, {"not_finite": bad})
    rows = outputs.embedding
    rank, deviation = effective_rank(rows), rows.double().std(0)
    dead = int((deviation <= DEAD * deviation.square().mean().sqrt()).sum())
    distinct, width = len(torch.unique(rows, dim=0)), rows.shape[1]
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
