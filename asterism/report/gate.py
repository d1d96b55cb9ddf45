"""Requirements on a run, for the gate of a model registry: `accuracy>=0.98*teacher`."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from asterism.report.account import Account, Measure
from asterism.words import number, readable

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
_FORM = re.compile(r"\s*(.+?)\s*(>=|<=|>|<)\s*(?:([\d.eE+-]+)\s*\*?)?\s*(teacher)?\s*")
# Names that everybody uses, and the measures' own.
_SHORT = {"overlap": "neighbour overlap", "map@r": "MAP@R", "cka": "linear CKA"}


@dataclass(frozen=True)
class Requirement:
    """A measure, which way it must lie, and of what: a number, or a share of the teacher's.

    Attributes:
        text: As it was written.
        label: The measure, `recall@1`.
        sign: `>=`, `<=`, `>` or `<`.
        factor: The number; 0.5 of a measure in per cent is 50 %.
        of_teacher: Whether the number multiplies the teacher's value.
    """

    text: str
    label: str
    sign: str
    factor: float
    of_teacher: bool

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """Read a requirement.

        Raises:
            ValueError: If it has another form.
        """
        match = _FORM.fullmatch(text)
        try:
            if match is None or not (match[3] or match[4]):
                raise ValueError
            factor = float(match[3] or 1)
            if not math.isfinite(factor):
                raise ValueError
        except ValueError:
            raise ValueError(
                "a requirement is a measure, >=, <=, > or <, and a number or a share of the "
                f"teacher's, as in 'accuracy>=0.98*teacher' or 'overlap@10>=0.5'; got {text!r}."
            ) from None
        name, at, k = match[1].partition("@")
        whole = _SHORT.get(match[1].lower())
        label = whole or _SHORT.get(name.lower(), name) + at + k
        return cls(text, label, match[2], factor, match[4] is not None)


@dataclass(frozen=True)
class Checked:
    """A requirement on a run, whether it holds, and what was found in words."""

    run: str
    requirement: Requirement
    holds: bool
    found: str


def check(account: Account, requirement: Requirement) -> Checked:
    """Compare the measured value with what is required.

    Raises:
        ValueError: If no measure has that name, or a share is asked to be more than all.
    """
    known = {measure.label.lower(): measure for measure in account.measures}
    measure = known.get(requirement.label.lower())
    if measure is None:
        raise ValueError(
            f"{requirement.label} is no measure of {account.name}: it has "
            f"{', '.join(measure.label for measure in account.measures)}."
        )
    if measure.unit == "%" and not requirement.of_teacher and requirement.factor > 1:
        raise ValueError(
            f"{measure.label} is a share, and required as one: 0.95 for 95 %; got "
            f"{requirement.text!r}."
        )
    holds, found = _holds(measure, requirement)
    return Checked(account.name, requirement, holds, found)


def _holds(measure: Measure, requirement: Requirement) -> tuple[bool, str]:
    """Return whether a measure is as required, and what was found; undefined is not as required."""
    own = None if measure.student is None else measure.student.value
    if own is None:
        return False, f"{measure.label} is not defined on these rows"
    scale = 100.0 if measure.unit == "%" else 1.0
    limit = requirement.factor * scale
    unit = f" {measure.unit}".rstrip()
    beside = ""
    if requirement.of_teacher:
        theirs = None if measure.teacher is None else measure.teacher.value
        if theirs is None:
            return False, f"{measure.label} of the teacher is not known"
        limit = requirement.factor * theirs
        beside = f" (teacher {number(theirs, measure.unit)})"
    holds = _COMPARED[requirement.sign](own, limit)
    shown = f"{measure.label} is {number(own, measure.unit)}{unit}{beside}"
    return holds, f"{shown}, to be {requirement.sign} {number(limit, measure.unit)}{unit}"


def as_junit(checked: Sequence[Checked]) -> str:
    """Return the checks as the XML that continuous integration reads, JUnit's."""
    failures = sum(not one.holds for one in checked)
    suite = ElementTree.Element(
        "testsuite", name="asterism report", tests=str(len(checked)), failures=str(failures)
    )
    for one in checked:
        case = ElementTree.SubElement(
            suite, "testcase", classname=readable(one.run), name=readable(one.requirement.text)
        )
        if not one.holds:
            ElementTree.SubElement(case, "failure", message=readable(one.found, 400))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
