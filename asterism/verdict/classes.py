"""Accuracy by class, and the class that lost most."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from asterism.measures import Estimate, mean_of
from asterism.verdict.table import Values
from asterism.verdict.tasks import Task


class Classes:
    """Accuracy by class, or recall@1 where not every sample has a score of a classifier.

    Attributes:
        table: A row per class: `class`, `count`, `student`, `teacher`, in per cent.
        worst_name: The class that lost most against the teacher, or is worst without one; None
            without labels.
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
        for number in torch.unique(target).tolist():
            members = target == number
            shares = [100 * float(x.scores[members].mean()) for x in known]
            self.table.append(
                {
                    "class": names[number],
                    "number": number,
                    "count": int(members.sum()),
                    "student": shares[0],
                    "teacher": shares[1] if len(shares) > 1 else None,
                }
            )
        worst = min(self.table, key=lambda row: row["student"] - (row["teacher"] or 0))
        self.worst_name = worst["class"]
        self._worst = worst["number"]

    def worst(self, values: Mapping[str, Values]) -> dict[str, str]:
        """Add the worst class to the values of student and teacher, and return its note."""
        if self.worst_name is None:
            return {}
        members = self.target == self._worst
        for who, estimate in zip(("student", "teacher"), self.estimates, strict=False):
            within = torch.where(members, estimate.scores, torch.nan)
            values[who][("worst class", None)] = mean_of(within)
        lost = " It lost most against the teacher." if len(self.estimates) > 1 else ""
        return {
            "worst class": f"Class '{self.worst_name}'.{lost} It was picked because it is the "
            "worst, so new data will show it less bad."
        }
