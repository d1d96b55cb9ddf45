"""The result of a run, for who called it from Python."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from asterism.student import Student
from asterism.words import readable


@dataclass(frozen=True, repr=False)
class Result:
    """What a run came to.

    Attributes:
        run: The run folder.
        student: The trained student, in eval mode.
        evaluation: What `result.json` holds: `student`, `teacher`, `fidelity`, `split`, …
        page: The report that shows it; None if none was written.
    """

    run: Path
    student: Student
    evaluation: dict[str, Any]
    page: Path | None = None

    def __repr__(self) -> str:
        """Return the run folder and what was kept, in a sentence."""
        evaluation = self.evaluation
        found = evaluation.get("headline") or f"measured on {evaluation.get('rows')} samples"
        return f"Result({str(self.run)!r}: {readable(found, 500)})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the page, if there is one, else the sentence."""
        try:
            page = self.page.read_text(encoding="utf-8") if self.page else ""
        except OSError:  # deleted or moved since
            page = ""
        if not page:
            return f"<p>{escape(repr(self))}</p>"
        # Its scripts run, but have nothing of the notebook's.
        return (
            f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" '
            'style="width: 100%; height: 40em; border: 1px solid #ccc"></iframe>'
        )

    @property
    def accuracy(self) -> float | None:
        """Top-1 accuracy of the student; None without labels or classifier."""
        accuracy: float | None = self.evaluation["student"].get("classification", {}).get("top1")
        return accuracy

    @property
    def recall_at_1(self) -> float | None:
        """Share of queries whose nearest neighbour is of their class; None if all are alone."""
        retrieval = self.evaluation["student"].get("retrieval")
        # A number of neighbours is a number in memory and a string in result.json.
        if retrieval is None:
            return None
        recall: float | None = {str(k): v for k, v in retrieval["recall"].items()}["1"]
        return recall

    @property
    def agreement(self) -> float | None:
        """Share of samples for which student and teacher choose the same class."""
        agreement: float | None = self.evaluation.get("fidelity", {}).get("agreement")
        return agreement
