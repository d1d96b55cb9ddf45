"""What several trainings with the same settings show of the method: the teacher's worth."""

from collections.abc import Sequence

from asterism.chance import LEVEL, OverSeeds, adjusted, over_seeds, weights_of
from asterism.report.account import Account, Measure
from asterism.report.decision import primary_of
from asterism.report.remarks import Remark
from asterism.words import listing, number, readable

_WITHOUT = "without teacher"


def over_trainings(groups: Sequence[Sequence[Account]]) -> list[Remark]:
    """Return, for settings with several seeds, whether the teacher taught their students anything.

    Args:
        groups: Runs of the same settings.
    """
    remarks = [_worth(runs) for runs in groups if len(_seeds(runs)) > 1]
    return [remark for remark in remarks if remark is not None]


def _seeds(runs: Sequence[Account]) -> set[str]:
    return {str(run.config.get("seed")) for run in runs}


def _worth(runs: Sequence[Account]) -> Remark | None:
    beside = [run for run in runs if _WITHOUT in run.baselines]
    seeds = ", ".join(sorted(_seeds(runs), key=lambda seed: (len(seed), seed)))
    named = f"{len(beside)} trainings like {runs[0].name}, seeds {seeds}"
    if len(beside) < 2:
        return None
    if len({str(run.config.get("baseline")) for run in beside}) < len(beside):
        return Remark(
            "open",
            f"{named}: their baselines without the teacher are not one for each seed, so that "
            "nothing follows of the teacher's worth (--with-baselines trains them).",
        )
    told = {m.label: _gap(beside, m.label) for m in beside[0].measures}
    gaps = {label: gap for label, gap in told.items() if gap is not None}
    primary = primary_of(beside[0])
    if primary is None or primary.label not in gaps:
        return None
    weights = weights_of([label == primary.label for label in gaps])
    p_values = adjusted([gap.p_value for gap in gaps.values()], weights)
    shown = [label for label, p in zip(gaps, p_values, strict=True) if p <= LEVEL]
    gap = gaps[primary.label]
    points = " points" if primary.unit == "%" else ""
    ends = f"{number(gap.low, primary.unit)} to {number(gap.high, primary.unit)}{points}"
    others = [label for label in shown if label != primary.label]
    more = f" Also different: {listing(others[:4])}." if others else ""
    if primary.label not in shown:
        text = f"cannot be told in {primary.label} ({ends}).{more}"
        return Remark("open", f"{named}: beside as many without the teacher, a difference {text}")
    good = (gap.value > 0) == (primary.better == "higher")
    word = "better" if good else "worse"
    return Remark(
        "for" if good else "against",
        f"{named}: {word} than as many without the teacher in {primary.label} by {ends}, over "
        f"seeds and rows.{more}",
    )


def _gap(runs: Sequence[Account], label: str) -> OverSeeds | None:
    """Return the difference in a measure over the trainings that all have it."""
    found = [m for run in runs for m in run.measures if readable(m.label) == readable(label)]
    gaps, ends = [], []
    for measure in found:
        gap = _difference(measure)
        if gap is not None:
            gaps.append(gap)
            ends.append(measure.baselines[_WITHOUT].difference)
    return over_seeds(gaps, ends) if len(gaps) == len(runs) else None


def _difference(measure: Measure) -> float | None:
    alone = measure.baselines.get(_WITHOUT)
    if alone is None or alone.verdict is None or measure.student is None:
        return None
    if alone.value is None or measure.student.value is None:
        return None
    return measure.student.value - alone.value
