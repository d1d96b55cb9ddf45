"""The result of a run, for who called it from Python."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asterism.student import Student


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        run: The run folder.
        student: The trained student, in eval mode.
        evaluation: What `result.json` holds: `student`, `teacher`, `fidelity`, `split`, …
    """

    run: Path
    student: Student
    evaluation: dict[str, Any]

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy of the student; None without labels or classifier."""
        accuracy: float | None = self.evaluation["student"].get("classification", {}).get("top1")
        return accuracy

    @property
    def recall_at_1(self) -> float | None:
        """Share of samples whose nearest neighbour is of their class; None without any to find."""
        recall = (self.evaluation["student"].get("retrieval") or {}).get("recall") or {}
        # A number of neighbours is a number in memory and a string in result.json.
        value: float | None = recall.get(1, recall.get("1"))
        return value

    @property
    def agreement(self) -> float | None:
        """Share of samples for which student and teacher choose the same class."""
        agreement: float | None = self.evaluation.get("fidelity", {}).get("agreement")
        return agreement
