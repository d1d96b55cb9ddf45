"""A finished run opened again: its data, its student and its teacher."""

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from asterism.assess import assess
from asterism.data import Data, open_data
from asterism.fitting import open_teacher
from asterism.result import Result
from asterism.run import Run
from asterism.student import Student, load


class Reopened(NamedTuple):
    """What a run was made of.

    Attributes:
        data: Its data.
        student: Its student.
        teacher: Its teacher; None if it had none, or one built by a user's own file: nothing named
            in a run folder is imported.
    """

    data: Data
    student: Student
    teacher: nn.Module | None


def reopen(run: str | Path, *, data: Any = None) -> Reopened:
    """Open a run's data and models again.

    Args:
        run: The run folder.
        data: Other test data, as `distill` takes them; by default the run's own.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    config = Run(run).read_config()
    student = load(run)
    opened = open_data(
        config["data"],
        validation=config["validation_data"],
        test=data if data is not None else config["test_data"],
        validation_share=config["validation_share"],
        split_seed=config["split_seed"],
        image_size=config["image_size"],
    )
    named = config.get("teacher")
    if isinstance(named, str) and ".py:" in named.partition("?")[0]:
        named = None
    return Reopened(opened, student, None if named is None else open_teacher(named, opened))


def evaluate(run: str | Path, *, data: Any = None) -> Result:
    """Measure the student of a finished run again, beside its teacher.

    Args:
        run: The run folder.
        data: Other data to measure it on, as `distill` takes them; by default the run's own.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    opened = reopen(run, data=data)
    found, _ = assess(opened.student, opened.teacher, opened.data)
    return Result(Path(run), opened.student, found)
