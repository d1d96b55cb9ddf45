"""Checks of the terms of the loss: how long their gradients are beside each other."""

import math
import statistics

from asterism.checkup.finding import Case, Finding, count
from asterism.engine.rehearsal import Rehearsal

# A term that pulls so many times harder, or weaker, than the task, and one that nobody can mean.
HARD, ABSURD = 100.0, 10_000.0

AUTO = "let --loss-weights auto set its weight, or "


def check_terms(case: Case, rehearsal: Rehearsal) -> list[Finding]:
    """Compare the gradients of the terms for the student with the task's, or with each other."""
    norms = rehearsal.norms
    known = [norm for norm in norms.values() if math.isfinite(norm) and norm > 0]
    beside, middle = "the task's", norms.get("task", 0.0)
    if not (math.isfinite(middle) and middle > 0):
        beside, middle = "the middle of all", statistics.geometric_mean(known) if known else 1.0
    findings = []
    for name, norm in norms.items():
        ratio, value = norm / middle, rehearsal.terms[name]
        found = f"{value:.3g}, gradient {norm:.3g}"
        found += "" if name == "task" else f", {count(ratio)} times {beside}"
        figures = {"value": value, "gradient": norm, "ratio": ratio}
        subject, severity, advice = f"term {name}", "ok", ""
        if not (math.isfinite(norm) and math.isfinite(value)):
            figures = {}
            severity, advice = "wrong", "lower its weight, or clip the gradient with --clip 1."
        elif norm == 0:
            severity = "look"
            advice = "it teaches nothing in this batch: is its weight 0, or the batch too small?"
        elif case.settings.loss_weights == "auto":
            found += "; auto sets its weight"
        elif ratio > HARD:
            severity = "wrong" if ratio > ABSURD else "look"
            advice = f"it drowns the others: {AUTO}divide it by about {count(ratio)}."
        elif ratio < 1 / HARD:
            severity = "look"
            advice = f"it hardly counts: {AUTO}multiply it by about {count(1 / ratio)}."
        findings.append(Finding(subject, severity, found, advice, figures))  # type: ignore[arg-type]
    return findings
