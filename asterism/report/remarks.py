"""Remarks for and against a student, in sentences that follow from its measures alone."""

from dataclasses import dataclass

from asterism.report.account import Account, Estimate, Measure
from asterism.report.comparison import BRIEF, method_of
from asterism.words import listing, named_unit, number, readable

# Measures shown in large figures, as far as a run has them; at most so many.
FACTS = (
    "accuracy", "recall@1", "neighbour overlap@10", "distance correlation", "parameters",
    "throughput, batch of 64", "latency, batch of 1",
)  # fmt: skip
MOST_FACTS = 6

MOST_NAMES = 4


@dataclass(frozen=True)
class Remark:
    """A sentence, and what it is: `for`, `open` or `against`."""

    kind: str
    text: str


@dataclass(frozen=True)
class Fact:
    """A measure in large figures; `ratio` relates the student to its teacher, in words."""

    label: str
    student: str
    teacher: str | None
    unit: str
    ratio: str | None


def top_sentence(account: Account) -> str:
    """Return the sentence that the run itself wrote, or what an older run can say."""
    if account.headline:
        return readable(account.headline, 1_000)
    said = [
        f"{fact.label} {fact.student} {fact.unit}".rstrip()
        + (f" (teacher {fact.teacher})" if fact.teacher else "")
        for fact in facts(account)
    ]
    return f"{method_of(account)}: {', '.join(said) or 'no measures'}."


def measured(account: Account) -> str:
    """Return on what the measures were taken, and what their intervals cover."""
    of = account.sampling
    said = f"Measured on {number(account.rows)} {account.split} rows." if account.rows else ""
    parts = (("rows", "queries"), ("pairs", "pairs"), ("triplets", "triplets"))
    drawn = [f"{number(of[key])} {what}" for key, what in parts if of[key]]
    if drawn:
        said += (
            f" Neighbours and relations: {listing(drawn)}, drawn with seed {number(of['seed'])}."
        )
    if of["confidence"]:
        said += f" Intervals: {number(100 * of['confidence'])} %, "
        if of["resamples"]:
            said += (
                "by the bootstrap of an older version, which is too sure of neighbourhoods; "
                "asterism evaluate measures anew."
            )
        else:
            said += (
                "for this student on new rows of the same kind, as queries and as what is searched."
            )
    if of["level"]:
        said += (
            " All verdicts below hold together: the chance that any is wrong on equal models is "
            f"at most {number(100 * of['level'])} % (Holm)."
        )
    return said.strip()


def remarks_on(account: Account) -> list[Remark]:
    """Return what the student is beside each baseline, and what else must be known of measures."""
    remarks = [_beside(account, name) for name in account.baselines]
    if not any(e.verdict for m in account.measures for e in m.baselines.values()):
        text = (
            "No baselines were measured, so nothing here says whether a simpler way does as well."
        )
        remarks.append(Remark("open", text))
    noted = {m.note: m for m in reversed(account.measures) if m.note and m.group in _NOTED}
    remarks += [Remark("open", _noted(noted[note], note)) for note in reversed(noted)]
    for name, why in account.unmeasured.items():
        text = f"Not measured: {readable(name, 100)} ({readable(why, 300)})."
        remarks.append(Remark("open", text))
    return sorted(remarks, key=lambda f: ("against", "for", "open").index(f.kind))


_NOTED = ("health", "compatibility")
_REDUCED = " It still runs the teacher, so it saves width only."
# What the baselines are, and why being worse is no word against the student, where it is none.
BASELINES = {
    "untrained": ("the same student untrained", ""),
    "without teacher": (
        "the same student trained without the teacher",
        " One training each: other seeds may turn it, so this says nothing of the teacher's worth.",
    ),
    "pca": ("the teacher's embedding cut to the student's width by PCA", _REDUCED),
    "random projection": ("the teacher's embedding projected at random to that width", _REDUCED),
}


def _beside(account: Account, baseline: str) -> Remark:
    """Return in which measures the student is better, no different or worse than a baseline."""
    told: dict[str, list[Measure]] = {
        word: [] for word in ("worse", "better", "equal", "no different", "cannot tell")
    }
    for measure in account.measures:
        estimate = measure.baselines.get(baseline)
        if estimate is not None and estimate.verdict is not None:
            told[estimate.verdict].append(measure)
    what, way_out = BASELINES.get(baseline, (readable(baseline), ""))
    words = {"cannot tell": "these rows cannot tell in"}
    parts = [
        f"{words.get(verdict, f'{verdict} in')} {_names(measures)}"
        for verdict, measures in told.items()
        if measures
    ]
    text = f"Beside {what}: {'; '.join(parts) or 'not judged'}.{_rows_to_tell(told, baseline)}"
    kind = "against" if told["worse"] and not way_out else "open"
    return Remark(kind, text + (way_out if parts else ""))


def _rows_to_tell(told: dict[str, list[Measure]], baseline: str) -> str:
    """Return how many rows would tell in the measure that says most, if these cannot."""
    for measure in sorted(told["cannot tell"], key=_place):
        if (rows := measure.baselines[baseline].rows_to_tell) is not None:
            margin = "a point" if measure.unit == "%" else "0.01"
            return f" {measure.label.capitalize()} would show {margin} on some {rows:,} rows."
    return ""


def _place(measure: Measure) -> int:
    return BRIEF.index(measure.label) if measure.label in BRIEF else 99


def _names(measures: list[Measure]) -> str:
    """Return the most telling measures by name, and how many others there are."""
    labels = [measure.label for measure in sorted(measures, key=_place)]
    others = len(labels) - MOST_NAMES
    return listing(labels if others < 2 else [*labels[:MOST_NAMES], f"{others} more"])


def _noted(measure: Measure, note: str) -> str:
    shown = number(_value(measure.student), measure.unit) + named_unit(measure.unit).replace(
        ",", ""
    )
    shown = f", {shown}" if _value(measure.student) is not None else ""
    name = readable(measure.name)
    return f"{name[:1].upper()}{name[1:]}{shown}: {readable(note, 400)}"


def facts(account: Account) -> list[Fact]:
    """Return the measures that say most about a student, beside its teacher's."""
    known = {m.label: m for m in account.measures}
    chosen = [known[label] for label in FACTS if label in known and known[label].student]
    return [_fact(measure) for measure in chosen[:MOST_FACTS]]


def _fact(measure: Measure) -> Fact:
    student, teacher = _value(measure.student), _value(measure.teacher)
    ratio = None
    if student is not None and teacher:
        times = student / teacher
        ratio = f"{100 * times:.3g} % of it" if times < 2 else f"{times:.3g} times it"
    shown = None if teacher is None else number(teacher, measure.unit)
    unit = measure.unit.partition(" ")[0].replace("bytes", "")
    return Fact(measure.label, number(student, measure.unit), shown, unit, ratio)


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else estimate.value
