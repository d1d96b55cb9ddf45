"""`examine()` before a training, `evaluate()` after one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from asterism.doctor import Finding
from asterism.doctor import check as check_training
from asterism.measures import Episodes
from asterism.names import as_text, portable
from asterism.recipe.keywords import SettingsByName
from asterism.relations import check_choice
from asterism.report import write_report
from asterism.request import OnBroken, Request
from asterism.result import Result
from asterism.run import Run, RunError
from asterism.settings import Distance, Settings
from asterism.training import open_training, reopen, with_anchors
from asterism.verdict import assess

if TYPE_CHECKING:
    from typing import Unpack

    from asterism.request import Methods, Model, Models, Recipe


def examine(
    teacher: "Models | None",
    student: "Model",
    data: Any,
    *,
    method: "Methods" = None,
    recipe: "Recipe | None" = None,
    out: str | Path | None = None,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    validation_classes: float | None = None,
    split_seed: int = 0,
    image_size: int | None = None,
    labels: bool = True,
    on_broken: OnBroken = "skip",
    teacher_cache: str | Path | None = None,
    **settings: "Unpack[SettingsByName]",
) -> list[Finding]:
    """Look at teacher, student, data and settings as `distill` would use them.

    Nothing is trained or written: a few steps are taken on copies.

    Args:
        teacher: The teacher, named as for `distill`.
        student: The student.
        data: The data.
        method: One method or several.
        recipe: What methods may cost where none is named: fast, balanced or best.
        out: The run folder that is meant: its disk is looked at.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, whole, for data
            whose point is new classes: the best epoch is then that of the highest recall@1.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or else
            theirs, up to 224.
        labels: Use labels, where the data have them.
        on_broken: Samples that cannot be read: skip them, or refuse the data.
        teacher_cache: Folder of the teacher's outputs, to see what it holds.
        **settings: See `asterism.settings.Settings`.

    Returns:
        The findings, in the order of docs/doctor.md.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit, as `distill` would say.
    """
    return examined(
        Request(
            teacher=teacher,
            student=student,
            data=data,
            method=method,
            recipe=recipe,
            out=out,
            validation_data=validation_data,
            test_data=test_data,
            validation_share=validation_share,
            validation_classes=validation_classes,
            split_seed=split_seed,
            image_size=image_size,
            labels=labels,
            on_broken=on_broken,
            teacher_cache=teacher_cache,
            settings=Settings(**settings),
        )
    )


def examined(request: Request) -> list[Finding]:
    """Return what is found of a training; nothing is trained or written."""
    return check_training(with_anchors(open_training(request)))


def evaluate(
    run: str | Path,
    *,
    data: Any = None,
    factory: str | Callable[..., nn.Module] | None = None,
    teacher: "Models | None" = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    metric: Distance | None = None,
    episodes: Episodes | None = None,
) -> Result:
    """Measure the student of a finished run again, beside its teacher.

    Args:
        run: The run folder.
        data: Other data to measure it on, as `distill` takes them; by default the run's own.
        factory: For a student built by your own code, see `asterism.load`.
        teacher: The teacher, as `distill` takes it, if it is your own code or has moved.
        out: Folder for what is found: result.json, a sample of the rows, and the page on them;
            `report` and `compare` read it as they read a run. By default nothing is written.
        overwrite: Replace what an earlier evaluation, or a run, has left there.
        metric: By what neighbours are found, `euclidean` or `cosine`; by default as in the run.
        episodes: Episodes of few-shot classification (`asterism.measures.Episodes`), measured
            beside the rest if they are given.

    Returns:
        What was found, with the page on it, if there is one.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    folder = Run(run)
    if metric is not None:
        check_choice("metric", metric, Distance)
    if out is not None:
        _refuse_used(Run(out), folder, overwrite=overwrite)
    opened = reopen(run, data=data, factory=factory, teacher=teacher)
    config = folder.read_config()
    named, missing = config.get("teacher"), None
    if named and opened.teacher is None:
        missing = (
            f"its teacher, {portable(str(named))}, is your own code: name it again (--teacher)"
        )
    config["metric"] = metric or config.get("metric") or "euclidean"  # older runs have none
    measured, arrays = assess(
        opened.student.model,
        opened.teacher,
        opened.data,
        missing=missing,
        metric=config["metric"],
        episodes=episodes,
        timed_batches=opened.timed_batches,
    )
    found = {**measured, "broken": opened.data.broken()}
    if out is None:
        # The run's own page is on the run's own data.
        return Result(folder.path, opened.student, found, folder.page if data is None else None)
    origin = {**(config.pop("provenance", None) or {}), "evaluated": folder.path.name}
    origin.pop("paths", None)  # nobody opens these again
    if data is not None:
        config["test_data"] = as_text(data)
        origin["test_data"] = opened.data.test.fingerprint() if opened.data.test else None
    kept = Run(out)
    with kept.writing(overwrite=overwrite):
        kept.write_config({**config, "out": str(out)}, origin)
        kept.write_evaluation(arrays)
        kept.write_result(found)
    page = write_report([out], kept.path / "report.html")
    return Result(folder.path, opened.student, found, page)


def _refuse_used(out: Run, run: Run, *, overwrite: bool) -> None:
    """Refuse a folder that is taken, before anything is measured."""
    if out.path.resolve() == run.path.resolve():
        raise RunError(f"{out.path} is the run itself: name another folder for what is found.")
    if out.begun() and not overwrite:
        raise RunError(f"{out.path} holds results already: name another folder, or --overwrite.")
