"""Query examples: a row, its neighbours under the teacher, its neighbours under the student."""

from dataclasses import dataclass

import numpy as np

from asterism.report.sample import Sample

# Neighbours shown, and the k by which queries are ranked.
SHOWN = 8
RANKED_BY = 10


@dataclass(frozen=True)
class Neighbour:
    """A neighbour of a query.

    Attributes:
        row: Its position in the sample.
        shared: Is it among the neighbours that are shown of the other network, too?
        same_class: Is it of the query's class? None without labels.
    """

    row: int
    shared: bool
    same_class: bool | None


@dataclass(frozen=True)
class Query:
    """A row and its nearest rows.

    Attributes:
        row: Its position in the sample.
        kept: Share of the teacher's ten neighbours that the student kept; None without a teacher.
        teacher: Neighbours under the teacher, none without a teacher.
        student: Neighbours under the student.
    """

    row: int
    kept: float | None
    teacher: tuple[Neighbour, ...]
    student: tuple[Neighbour, ...]


def kept_share(sample: Sample) -> list[float] | None:
    """Return for each row the share of the teacher's ten nearest that the student kept."""
    if sample.overlap is None or not sample.overlap.shape[1]:
        return None
    values = sample.overlap[:, min(RANKED_BY, sample.overlap.shape[1]) - 1]
    return [float(v) for v in np.nan_to_num(values)]


def queries(sample: Sample, *, worst: int = 6, random: int = 6) -> dict[str, list[Query]]:
    """Choose queries: those with the fewest neighbours kept, and others at random (seed 0).

    Without a teacher the worst are those with the fewest neighbours of their own class. Equals are
    drawn at random, so that the worst are not all from the beginning of the data.
    """
    if "student" not in sample.neighbours:
        return {}
    score = kept_share(sample)
    if score is None and sample.labels is not None:
        candidates = [_query(sample, row, None) for row in range(len(sample))]
        score = [float(np.mean([n.same_class for n in q.student] or [False])) for q in candidates]
    shuffled = np.random.default_rng(0).permutation(len(sample)).tolist()
    kept = kept_share(sample)
    chosen: dict[str, list[Query]] = {"worst": [], "random": []}
    if score is not None:
        ranked = sorted(shuffled, key=score.__getitem__)[:worst]
        chosen["worst"] = [_query(sample, row, kept) for row in ranked]
    others = [row for row in shuffled if row not in {q.row for q in chosen["worst"]}]
    chosen["random"] = [_query(sample, row, kept) for row in others[:random]]
    return chosen


def _query(sample: Sample, row: int, kept: list[float] | None) -> Query:
    near = {who: rows[row, :SHOWN].tolist() for who, rows in sample.neighbours.items()}
    labels = sample.labels

    def neighbours(of: str, other: str) -> tuple[Neighbour, ...]:
        known = set(near.get(other, near[of]))
        same = [None if labels is None else labels[i] == labels[row] for i in near[of]]
        return tuple(Neighbour(i, i in known, s) for i, s in zip(near[of], same, strict=True))

    teacher = neighbours("teacher", "student") if "teacher" in near else ()
    share = None if kept is None else kept[row]
    return Query(row, share, teacher, neighbours("student", "teacher"))
