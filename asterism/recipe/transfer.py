"""`probe()`: what a frozen student is good for on other data, with other classes."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from asterism.data import Data, Source, default_workers, open_data
from asterism.documents import replacing
from asterism.given import source_for
from asterism.measures import Estimate, Solver, knn_accuracy, linear_probe
from asterism.measures.estimate import CONFIDENCE
from asterism.names import as_text, is_own_code, located, portable
from asterism.relations import check_choice
from asterism.run import Run
from asterism.settings import Distance
from asterism.student import Student, load
from asterism.teachers import Teacher
from asterism.training.reopen import reopen
from asterism.verdict import EncodeOn, encoder_of, outputs_on, teaching
from asterism.words import count, readable, tell

if TYPE_CHECKING:
    from asterism.request import Model


@dataclass(frozen=True)
class Probed:
    """How well one frozen network serves, as shares between 0 and 1 with their intervals.

    Attributes:
        probe: Accuracy of a linear classifier on its embedding, see `measures.linear_probe`.
        knn: Accuracy of the vote of the nearest, see `measures.knn_accuracy`.
        width: Columns of the embedding.
    """

    probe: Estimate
    knn: Estimate
    width: int

    def minus(self, other: "Probed") -> dict[str, Estimate]:
        """Return the paired differences by the name of the figure."""
        return {"probe": self.probe.minus(other.probe), "knn": self.knn.minus(other.knn)}


@dataclass(frozen=True)
class Transfer:
    """What a frozen student, and its teacher, came to on other data.

    Attributes:
        run: Where the student is.
        data: The data that were learnt from, as they were named.
        test_data: Those that were tested on; None for a held share of `data`.
        learnt: Samples that were learnt from.
        tested: Samples that were tested on.
        classes: Classes that were learnt.
        test_share: The share that was held; None where there were test data.
        solver: How the linear classifier was found.
        metric: By what the nearest were found.
        seed: Of the held share, and of `sgd`.
        contents: Fingerprints of both data.
        student: The student's figures.
        teacher: Its teacher's; None where there is none to run.
        weights: Hash of the file of the student's weights; None for a run older than it.
        lines: What was found in the data and left out, in words.
    """

    run: str
    data: str
    test_data: str | None
    learnt: int
    tested: int
    classes: int
    test_share: float | None
    solver: Solver
    metric: Distance
    seed: int
    contents: tuple[str, ...]
    student: Probed
    teacher: Probed | None
    weights: str | None
    lines: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values, as `--out` keeps them (docs/measures.md)."""
        kept = {**asdict(self), "confidence": CONFIDENCE}
        kept["student"] = _plain(vars(self.student))
        kept["teacher"] = None if self.teacher is None else _plain(vars(self.teacher))
        beside = None if self.teacher is None else self.student.minus(self.teacher)
        return {**kept, "student_minus_teacher": None if beside is None else _plain(beside)}


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"value": float(x), "low": x.interval()[0], "high": x.interval()[1], "n": x.count}
        if isinstance(x, Estimate)
        else x
        for name, x in figures.items()
    }


def probe(
    run: str | Path,
    data: Any,
    *,
    test_data: Any = None,
    test_share: float = 0.2,
    solver: Solver = "logistic",
    metric: Distance | None = None,
    seed: int = 0,
    factory: str | Callable[..., nn.Module] | None = None,
    teacher: "Model | bool | None" = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Transfer:
    """Measure what a run's frozen student is good for on other data, with classes of their own.

    A linear classifier and a vote of the nearest learn from its embeddings of `data`, and are
    tested on others. Pictures are brought to the size and the channels of the student's training.

    Args:
        run: The run folder, or what `asterism export RUN --to state` wrote.
        data: Data with labels, as `distill` takes them; their classes are learnt.
        test_data: Data to test on; rows of classes that `data` lack are left out, and counted.
        test_share: Share of `data` that is held for testing instead, class by class.
        solver: `logistic` regression, or the papers' `sgd`; see `asterism.measures.linear_probe`.
        metric: By what the nearest are found, `euclidean` or `cosine`; by default as in the run.
        seed: Seed of the held share, and of `sgd`.
        factory: For a student built by your own code, see `asterism.load`.
        teacher: The teacher to measure beside it, as `distill` takes it; by default the run's own,
            where that can be opened again. False for the student alone.
        out: A .json file for what is found; by default it is returned alone.
        overwrite: Replace that file.

    Returns:
        The figures, with 95 % intervals.

    Raises:
        FileNotFoundError: If there is no such run or data.
        ValueError: If the data have no labels or are not what the student takes, or the student
            cannot be opened.
    """
    file = None if out is None else Path(located(out))
    if file is not None and file.exists() and not overwrite:
        raise ValueError(f"{file} is there already: name another --out, or --overwrite.")
    check_choice("solver", solver, Solver)
    if metric is not None:
        check_choice("metric", metric, Distance)
    student = load(run, factory=factory)
    beside, missing = None, None
    if teacher is not False:
        beside, missing = _teacher(Run(run), factory, None if teacher is True else teacher)
    opened = _open(student, data, test_data, test_share, seed)
    lines = [*_told(opened, student), *([missing] if missing else [])]
    for line in lines:
        tell(f"asterism: {line}.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    by = metric or _config(Run(run)).get("metric") or "euclidean"  # older runs have none
    measured = partial(_measured, opened, solver=solver, metric=by, seed=seed)
    target, figures = measured(encoder_of(student.model.to(device)))
    if beside is not None:
        beside.to(device)
    made = Transfer(
        run=str(run),
        data=as_text(data),
        test_data=None if test_data is None else as_text(test_data),
        learnt=len(target),
        tested=figures.probe.count,
        classes=len(torch.unique(target)),
        test_share=test_share if test_data is None else None,
        solver=solver,
        metric=by,
        seed=seed,
        contents=tuple(source.fingerprint() for _, source in _named(opened)),
        student=figures,
        teacher=None if beside is None else measured(teaching(beside))[1],
        weights=Run(run).read_card().get("sha256"),
        lines=(*lines, *_unreadable(opened)),
    )
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as place:
            place.write_text(json.dumps(made.plain(), indent=1) + "\n")
    return made


def _config(folder: Run) -> dict[str, Any]:
    """Return the settings of a run; none of an exported student."""
    try:
        return folder.read_config()
    except FileNotFoundError:
        return {}


def _teacher(
    folder: Run, factory: str | Callable[..., nn.Module] | None, named: "Model | None"
) -> tuple[Teacher | None, str | None]:
    """Return the teacher, or in words why there is none though the run had one."""
    if named is None:
        known = _config(folder).get("teacher")
        if not known:
            return None, None
        if is_own_code(str(known)):
            return None, (
                f"the teacher {portable(str(known))} is your own code, and is measured where it is "
                "named again (--teacher)"
            )
    try:
        teacher = reopen(folder.path, factory=factory, teacher=named).teacher
    except (OSError, ValueError) as error:
        if named is not None:
            raise
        return None, f"the teacher is not measured: {str(error).rstrip('.')}"
    if teacher is not None and teacher.network is None:
        return None, (
            "the teacher is not measured: what is left of it are its outputs on the data of the "
            "training"
        )
    return teacher, None


def _open(student: Student, data: Any, test: Any, share: float, seed: int) -> Data:
    """Open data to learn from and to test on, as the student takes them.

    Raises:
        ValueError: If they are of another kind, or have no labels to learn or to be tested by.
    """
    given = {"data": source_for(data, student.modality, student.shape)}
    if test is not None:
        given["test data"] = source_for(test, student.modality, student.shape)
    for part, source in given.items():
        if source.targets is None:
            raise ValueError(
                f"the {part} have no labels, and a probe learns classes: give class folders, a "
                "table with a column of labels (?label=NAME), or class numbers `y`."
            )
    if not 0 < share < 1:
        raise ValueError(f"the share of rows to test on must lie between 0 and 1; got {share}.")
    opened = open_data(
        given["data"], validation=given.get("test data"), validation_share=share, split_seed=seed
    )
    learnt, tested = _parts(opened)
    if len(torch.unique(learnt.target)) < 2:
        raise ValueError("a probe needs two classes at least; all rows of the data are of one.")
    if not torch.isin(tested.target, learnt.target).any():
        raise ValueError(
            "the test data have no class of the data: a probe is tested on the classes that it "
            "has learnt (`asterism evaluate` measures retrieval on others)."
        )
    return opened


class Part(NamedTuple):
    """The samples that are learnt from, or tested on.

    Attributes:
        source: Where they are.
        rows: Rows of it.
        target: Their classes.
    """

    source: Source
    rows: Tensor
    target: Tensor


def _parts(opened: Data) -> tuple[Part, Part]:
    tested, rows, _ = opened.evaluation()
    assert opened.source.targets is not None
    assert tested.targets is not None
    learnt = Part(opened.source, opened.train, opened.source.targets[opened.train])
    return learnt, Part(tested, rows, tested.targets[rows])


def _measured(
    opened: Data, encode_on: EncodeOn, *, solver: Solver, metric: Distance, seed: int
) -> tuple[Tensor, Probed]:
    """Return the classes of the rows that a network has learnt from, and its figures."""
    learnt, tested = (
        outputs_on(encode_on, each.source, each.rows, workers=default_workers(each.source))
        for each in _parts(opened)
    )
    if learnt.target is None or tested.target is None:
        raise ValueError("no sample of the data could be read, or none to test on.")
    known = torch.isin(tested.target, learnt.target)
    embedding, target = tested.outputs.embedding[known], tested.target[known]
    rows = learnt.outputs.embedding, learnt.target, embedding, target
    linear = linear_probe(*rows, solver=solver, seed=seed)
    nearest = knn_accuracy(*rows, metric=metric)
    if linear is None or nearest is None:
        raise ValueError("of the samples to test on none could be read.")
    return learnt.target, Probed(linear, nearest, embedding.shape[1])


def _told(opened: Data, student: Student) -> Iterator[str]:
    """Yield what there is to learn from and to test on, and what becomes of it, in words."""
    learnt, tested = _parts(opened)
    held = "held for testing, class by class"
    yield (
        f"{count(len(learnt.rows))} {learnt.source.modality.plural} in "
        f"{count(len(torch.unique(learnt.target)))} classes to learn from, "
        f"{count(len(tested.rows))} {held if tested.source is learnt.source else 'to test on'}"
    )
    if new := int((~torch.isin(tested.target, learnt.target)).sum()):
        yield f"{count(new)} of these are of classes that are not learnt, and are left out"
    for name, each in _named(opened):
        if each.unusable:
            why = readable(each.told(min(each.unusable)), 200)
            yield f"{name}: {count(len(each.unusable))} left out, as {why}"
        if each.found_size is not None and student.shape is not None:
            was, now = (
                "×".join(map(str, size)) for size in (each.found_size, student.shape[:0:-1])
            )
            if was != now:
                yield f"{name}: images of {was} (median) are brought to {now}, the student's size"
        yield from (f"{name}: {note}" for note in each.notes)


def _named(opened: Data) -> list[tuple[str, Source]]:
    test = opened.validation_source
    return [("data", opened.source), *([("test data", test)] if test else [])]


def _unreadable(opened: Data) -> Iterator[str]:
    for name, each in _named(opened):
        if each.broken:
            yield f"{name}: {count(len(set(each.broken)))} samples could not be read"
