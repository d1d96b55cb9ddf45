"""Accuracy by class, and the class that is shown to have lost most."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.chance import LEVEL, adjusted
from asterism.measures import Estimate, share_of
from asterism.verdict.table import Notes, Values
from asterism.verdict.tasks import Task


class Classes:
    """Accuracy by class, or recall@1 where not every sample has a score of a classifier.

    Attributes:
        table: A row per class: `class`, `count`, `student`, `teacher`, in per cent, and whether it
            `lost` against the teacher.
        worst_name: Of the classes that lost, the one that lost most, or without a teacher the one
            with the least accuracy; None if there is none.
    """

    def __init__(
        self,
        student: Task | None,
        teacher: Task | None,
        target: Tensor | None,
        rows: Tensor,
        names: Sequence[str],
    ) -> None:
        """Group the scores by class.

        Args:
            student: What was measured of the student.
            teacher: What was measured of the teacher.
            target: Classes of the samples.
            rows: Which samples are queries of the retrieval.
            names: Names of the classes.
        """
        self.table: list[dict[str, Any]] = []
        self.worst_name: str | None = None
        done = [x for x in (student, teacher) if x is not None]
        estimates: list[Estimate | None] = [
            x.classification.top1 if x.classification else None for x in done
        ]
        scored = [0 if x is None else len(x.scores) for x in estimates]
        if target is not None and min(scored, default=0) < len(target):
            estimates = [x.retrieval.recall[1] for x in done]
            target = target[rows]
        known = [x for x in estimates if x is not None]
        if target is None or not known or len(known) < len(done):
            return
        self.estimates = known
        self.target = target
        p_values = []
        for number in torch.unique(target).tolist():
            members = target == number
            shares = [share_of(torch.where(members, x.scores, torch.nan)) for x in known]
            if shares[0] is None:  # queries without a partner, all of them
                continue
            gap = shares[0] if shares[-1] is None else shares[0].minus(shares[-1])
            p_values.append(gap.p_value() if gap < 0 else 1.0)
            self.table.append(
                {
                    "class": names[number],
                    "number": number,
                    "count": shares[0].count,
                    "student": 100 * shares[0],
                    "teacher": 100 * shares[1] if len(shares) > 1 and shares[1] else None,
                }
            )
        for row, p_value in zip(self.table, adjusted(p_values, [1.0] * len(p_values)), strict=True):
            row["lost"] = p_value <= LEVEL if len(known) > 1 else None
        rows_lost = [row for row in self.table if row["lost"] is not False]
        if rows_lost:
            worst = min(rows_lost, key=lambda row: row["student"] - (row["teacher"] or 0))
            self.worst_name = worst["class"]
            self._worst = worst["number"]

    def worst(self, values: Mapping[str, Values]) -> Notes:
        """Add the worst class to the values of student and teacher, and return its note."""
        if self.worst_name is None:
            return {}
        members = self.target == self._worst
        for who, estimate in zip(("student", "teacher"), self.estimates, strict=False):
            within = torch.where(members, estimate.scores, torch.nan)
            values[who][("worst class", None)] = share_of(within)
        lost = " It lost most against the teacher." if len(self.estimates) > 1 else ""
        return {
            "worst class": f"Class '{self.worst_name}', {int(members.sum())} rows.{lost} It was "
            "picked because it is the worst, so new data will show it less bad."
        }
