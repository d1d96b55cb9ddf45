"""What speaks for and against a student, in sentences that follow from its measures alone."""

from dataclasses import dataclass

from asterism.report.account import Account, Estimate, Measure
from asterism.report.comparison import method_of
from asterism.report.words import listing, named_unit, number, readable

# Measures shown in large figures, as far as a run has them; at most so many.
FACTS, MOST_FACTS = (
    "accuracy", "recall@1", "neighbour overlap@10", "agreement", "distance correlation",
    "parameters", "throughput, batch of 64", "latency, batch of 1",
), 6  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A sentence, and what it is: `for`, `open` or `against`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Fact:
    """A measure in large figures; `ratio` relates the student to its teacher, in words."""

    label: str
    student: str
    teacher: str | None
    ratio: str | None


def headline(account: Account) -> str:
    """Return the sentence that the run itself wrote, or what an older run can say."""
    if account.headline:
        return readable(account.headline, 1_000)
    said = [
        f"{fact.label} {fact.student}" + (f" (teacher {fact.teacher})" if fact.teacher else "")
        for fact in facts(account)
    ]
    return f"{method_of(account)}: {', '.join(said) or 'no measures'}."


def measured(account: Account) -> str:
    """Return on what the measures were taken, and what their intervals cover."""
    of = account.sampling
    said = f"Measured on {number(of['rows'])} {account.split} rows." if of["rows"] else ""
    drawn = [f"{number(of[what])} {what}" for what in ("pairs", "triplets") if of[what]]
    if drawn:
        said += f" Relations: {listing(drawn)}, drawn with seed {number(of['seed'])}."
    if of["confidence"] and of["resamples"]:
        said += (
            f" Intervals: {number(100 * of['confidence'])} % over samples, by "
            f"{number(of['resamples'])} bootstrap resamples; they do not cover training anew."
        )
    return said.strip()


def findings(account: Account) -> list[Finding]:
    """Return what a reader should know before shipping, what speaks against it first."""
    found = []
    for name in account.baselines:
        for kind, verdict, words in (
            ("against", "worse", "Worse than"),
            ("open", "no different", "No different from"),
        ):
            labels = [m.label for m in account.measures if _verdict(m, name) == verdict]
            if labels:
                found.append(
                    Finding(kind, f"{words} {BASELINES.get(name, name)}: {listing(labels)}.")
                )
    notes = dict.fromkeys(
        readable(m.note, 400) for m in account.measures if m.note and m.group in _NOTED
    )
    found += [Finding("open", note) for note in notes]
    losses = [c for c in account.classes if c.student is not None and c.teacher is not None]
    if losses:
        worst = max(losses, key=lambda c: (c.teacher or 0) - (c.student or 0))
        if (worst.teacher or 0) > (worst.student or 0):
            text = (
                f"Loses most in class {readable(worst.name)}: {number(worst.student, '%')} % of "
                f"its {worst.count} rows are right, the teacher has {number(worst.teacher, '%')} %."
            )
            found.append(Finding("open", text))
    verdicts = {
        m.label: {e.verdict for e in m.baselines.values()} - {None} for m in account.measures
    }
    ahead = [label for label, seen in verdicts.items() if seen == {"better"}]
    if ahead:
        found.append(Finding("for", f"Better than every baseline: {listing(ahead)}."))
    if not any(verdicts.values()):
        text = (
            "No baselines were measured, so nothing here says whether a simpler way does as well."
        )
        found.append(Finding("open", text))
    return sorted(found, key=lambda f: ("against", "open", "for").index(f.kind))


_NOTED = ("health", "compatibility")
# What the baselines are, for who has not read the documentation.
BASELINES = {
    "untrained": "the same student untrained",
    "pca": "the teacher's embedding reduced by PCA to the student's width",
    "random projection": "the teacher's embedding projected at random to the student's width",
    "without teacher": "the same student trained without the teacher",
}


def _verdict(measure: Measure, baseline: str) -> str | None:
    found = measure.baselines.get(baseline)
    return None if found is None else found.verdict


def facts(account: Account) -> list[Fact]:
    """Return the measures that say most about a student, beside its teacher's."""
    known = {m.label: m for m in account.measures}
    chosen = [known[label] for label in FACTS if label in known and known[label].student]
    return [_fact(measure) for measure in chosen[:MOST_FACTS]]


def _fact(measure: Measure) -> Fact:
    student, teacher = _value(measure.student), _value(measure.teacher)
    unit = named_unit(measure.unit).replace(",", "")
    ratio = None
    if student and teacher:
        if measure.better == "lower":
            times = teacher / student
            word = "less" if times >= 1 else "more"
            ratio = f"{number(max(times, 1 / times))} times {word}"
        else:
            ratio = f"{100 * student / teacher:.0f} % of it"
    shown = None if teacher is None else number(teacher, measure.unit) + unit
    return Fact(measure.label, number(student, measure.unit) + unit, shown, ratio)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
