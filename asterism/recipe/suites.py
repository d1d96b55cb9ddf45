"""`suite()`: a student on the standard tasks of others, with their figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from asterism.models.hub import load_library
from asterism.names import as_text, meant
from asterism.reading import texts
from asterism.recipe.transfer import Transfer, probe
from asterism.student import Student, load
from asterism.words import readable

# Of the folder of ImageNet and its like: what is learnt from, and what is tested on.
LEARNT, TESTED = "train", ("val", "validation", "test")
FORMS = "mteb:TASK,TASK, nanobeir or folder:PATH"
BENCHMARKS = {"nanobeir": "NanoBEIR"}


@dataclass(frozen=True)
class Score:
    """A student's figure on a part of a task.

    Attributes:
        task: The task's name.
        split: Part of its data.
        subset: Language or other subset; `default` where there is one alone.
        metric: What the figure is, as the task names its main score.
        value: The figure.
    """

    task: str
    split: str
    subset: str
    metric: str
    value: float


@dataclass(frozen=True)
class Scores:
    """A student's figures on a suite.

    Attributes:
        run: Where the student is.
        suite: The suite, as it was named.
        library: What measured, with its version.
        scores: The figures, in the order of the tasks.
    """

    run: str
    suite: str
    library: str
    scores: tuple[Score, ...]


def suite(
    run: str | Path,
    name: str | Sequence[Any],
    *,
    factory: str | Callable[..., nn.Module] | None = None,
) -> Scores | Transfer:
    """Measure the student of a run on standard tasks, as others measure theirs.

    Args:
        run: The run folder, or what `asterism export RUN --to state` wrote.
        name: `mteb:TASK,TASK`, tasks of MTEB by their names, or `nanobeir`, for students of texts
            (`pip install 'asterism[mteb]'`): the library makes the figures, of what
            `asterism.load(run)` returns. In Python also a list of MTEB's task objects, as of data
            of your own. Or `folder:PATH`, a folder of pictures with `train` and `val` inside: the
            k-NN and the linear probe of `asterism.probe`.
        factory: For a student built by your own code, see `asterism.load`.

    Returns:
        MTEB's main score of each task, or what `asterism.probe` returns.

    Raises:
        FileNotFoundError: If there is no such run or folder.
        ValueError: If there is no such suite or task, its data cannot be had, the student does
            not take what it has, or the library is missing.
    """
    if not isinstance(name, str):
        return _mteb(run, "mteb", list(name), factory)
    kind, _, rest = name.partition(":")
    if kind == "folder" and rest:
        return _folder(run, Path(rest), factory)
    if kind in BENCHMARKS and not rest:
        return _mteb(run, name, BENCHMARKS[kind], factory)
    if kind == "mteb" and (tasks := [task.strip() for task in rest.split(",") if task.strip()]):
        return _mteb(run, name, tasks, factory)
    known = ("mteb", "folder", *BENCHMARKS)
    raise ValueError(f"a suite is {FORMS}; got {readable(name)}{meant(kind, known)}.")


def _folder(run: str | Path, folder: Path, factory: Any) -> Transfer:
    """Return k-NN and probe, learnt from the folder's training part."""
    tested = next((folder / part for part in TESTED if (folder / part).is_dir()), None)
    if not (folder / LEARNT).is_dir() or tested is None:
        raise ValueError(
            f"folder:PATH holds {LEARNT} and {' or '.join(TESTED)}, with a folder for each class; "
            f"got {folder}: `asterism probe RUN --data FOLDER` holds a part of one folder back."
        )
    return probe(run, folder / LEARNT, test_data=tested, factory=factory)


def _mteb(run: str | Path, name: str, tasks: str | list[Any], factory: Any) -> Scores:
    """Return the main scores that MTEB finds of a student."""
    student = load(run, factory=factory)
    if student.modality.name != "text":
        raise ValueError(
            f"{name} is of texts, and the student of {run} takes {student.modality.plural}: "
            "folder:PATH measures pictures."
        )
    mteb = load_library("mteb", "mteb")
    found, encoder = _tasks(mteb, tasks), _encoder(student)
    quiet = {"cache": None, "co2_tracker": False, "show_progress_bar": False}
    try:
        measured = mteb.evaluate(encoder, found, **quiet)
    except Exception as error:  # hubs, disks and mirrors fail in many ways
        short = readable(" ".join(str(error).split()) or type(error).__name__, 300).rstrip(".")
        raise ValueError(
            f"{name} could not be measured: {short}. MTEB fetches the data of its tasks from the "
            "hub; without a network they must be in the cache of `datasets`."
        ) from error
    scores = [
        Score(
            result.task_name,
            split,
            str(each["hf_subset"]),
            str(task.metadata.main_score),
            float(each["main_score"]),
        )
        for task, result in zip(found, measured.task_results, strict=True)
        for split, subsets in result.scores.items()
        for each in subsets
    ]
    return Scores(as_text(run), name, f"mteb {mteb.__version__}", tuple(scores))


def _tasks(mteb: Any, tasks: str | list[Any]) -> list[Any]:
    """Return MTEB's task objects, of a benchmark's name, of their names, or as they are given."""
    if isinstance(tasks, str):
        return list(mteb.get_benchmark(tasks).tasks)
    try:
        return [mteb.get_task(each) if isinstance(each, str) else each for each in tasks]
    except KeyError as error:
        raise ValueError(f"MTEB has no such task: {readable(error.args[0], 200)}") from error


def _encoder(student: Student) -> Any:
    """Return the student as MTEB takes models; its own prompt is inside it."""
    from mteb.models import ModelMeta
    from mteb.models.abs_encoder import AbsEncoder

    class Encoder(AbsEncoder):  # type: ignore[misc]
        mteb_model_meta = ModelMeta.create_empty({"name": "asterism/student"})

        def encode(self, inputs: Any, **kwargs: Any) -> npt.NDArray[np.float32]:
            rows = [text for batch in inputs for text in batch["text"]]
            made: npt.NDArray[np.float32] = student.embed(texts(rows)).embedding.float().numpy()
            return made

    return Encoder()
