"""What a reader must know before shipping a student, in at most five sentences."""

from asterism.report.account import Account, ClassScore, Measure
from asterism.report.remarks import Remark
from asterism.words import number, readable, span

# What a report without a measure named by its run is about.
_PRIMARIES = ("accuracy", "recall@1", "neighbour overlap@10")
_WITHOUT = "without teacher"
MOST = 5


def decision(account: Account) -> list[Remark]:
    """Return the measure that counts, the saving, the losses, the rivals, and what is not known."""
    lines = [
        *(Remark("against", _capital(readable(said, 500))) for said in account.remarks),
        _primary(account),
        _saving(account),
        _losses(account),
        _rivals(account),
        _not_known(account),
    ]
    return [line for line in lines if line is not None][:MOST]


def primary_of(account: Account) -> Measure | None:
    """Return the measure that the report is about."""
    named = [m for m in account.measures if m.primary]
    known = {m.label: m for m in account.measures if m.student is not None}
    return next(iter([*named, *(known[x] for x in _PRIMARIES if x in known)]), None)


def _primary(account: Account) -> Remark | None:
    measure = primary_of(account)
    if measure is None or measure.student is None:
        return None
    unit = measure.unit
    text = f"{_capital(measure.label)} {number(measure.student.value, unit)} {unit}".rstrip()
    ends = span(measure.student.low, measure.student.high, unit)
    text += f" ({ends})" if ends else ""
    if measure.teacher is not None:
        text += f", the teacher's {number(measure.teacher.value, unit)}"
    if measure.gap is not None:
        text += f": {_gap(measure.gap, unit)}"
    return Remark("open", text + ".")


def _gap(ends: tuple[float, float], unit: str) -> str:
    points = " points" if unit == "%" else ""
    margin = 1.0 if unit == "%" else 0.01
    low, high = ends
    shown = f"{number(low, unit)} to {number(high, unit)}{points}"
    if -margin < low and high < margin:
        return f"equal but for {number(margin)}{points.rstrip('s')} ({shown})"
    return f"a difference of {shown}"


def _saving(account: Account) -> Remark | None:
    known = {m.label: m for m in account.measures if m.student and m.teacher}
    parts = []
    for label, what in (
        ("parameters", "of the teacher's parameters"),
        ("throughput, batch of 64", "of its samples per second in batches of 64"),
        ("index size", "of its index"),
    ):
        measure = known.get(label)
        if measure is None or measure.student is None or measure.teacher is None:
            continue
        if measure.student.value and measure.teacher.value:
            parts.append(f"{100 * measure.student.value / measure.teacher.value:.3g} % {what}")
    return Remark("open", f"At {', '.join(parts)}.") if parts else None


def _losses(account: Account) -> Remark | None:
    parts = []
    for measure in account.measures:
        primary = primary_of(account)
        if measure.label == "neighbour overlap@10" and measure is not primary and measure.student:
            kept = number(measure.student.value, "%")
            parts.append(f"it keeps {kept} % of the teacher's ten nearest neighbours")
    lost = [one for one in account.classes if one.lost]
    if lost:
        worst = max(lost, key=_loss)
        others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        parts.append(
            f"'{readable(worst.name)}' lost most, {_loss(worst):.0f} points on {worst.count} "
            f"rows{others}"
        )
    elif any(one.lost is False for one in account.classes):
        parts.append("no class by itself is shown to have lost")
    return Remark("open", f"{_capital('; '.join(parts))}.") if parts else None


def _loss(one: ClassScore) -> float:
    return (one.teacher or 0.0) - (one.student or 0.0)


def _rivals(account: Account) -> Remark | None:
    """Return whether an untrained student is as good, or else one without the teacher."""
    measure = primary_of(account)
    if measure is None:
        return None
    untrained = measure.baselines.get("untrained")
    if untrained is not None and untrained.verdict == "worse":
        return Remark("against", f"In {measure.label} it is worse than the same student untrained.")
    alone = measure.baselines.get(_WITHOUT)
    if alone is None or alone.verdict is None:
        if not account.config.get("teacher"):
            return None
        text = "Whether a student without the teacher does as well was not measured"
        return Remark("open", f"{text} (--with-baselines trains one).")
    told = "not told apart from" if alone.verdict == "cannot tell" else f"{alone.verdict} than"
    told = {"equal": "equal to", "no different": "no different from"}.get(alone.verdict, told)
    ends = "" if alone.difference is None else f", {_gap(alone.difference, measure.unit)}"
    return Remark(
        "open",
        f"In {measure.label} it is {told} the same student without the teacher{ends}: one training "
        "each, and other seeds may turn it.",
    )


def _not_known(account: Account) -> Remark:
    rows = f"the {number(account.rows)} {account.split} rows" if account.rows else "these rows"
    return Remark(
        "open",
        f"Not known: what other seeds would come to (this is one training; --seeds 3 trains "
        f"several), and how it does on rows of another kind than {rows}.",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
