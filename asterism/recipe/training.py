"""`distill()` and `train()`: from names to a run folder, in one call."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asterism.distributed import is_first
from asterism.engine import Callback
from asterism.recipe.keywords import SettingsByName
from asterism.report import write_report
from asterism.request import OnBroken, Request
from asterism.result import Result
from asterism.run import Interrupted, Run, RunError
from asterism.settings import Settings
from asterism.teachers import common_size
from asterism.training import by_time, carry_out
from asterism.words import tell

if TYPE_CHECKING:
    from typing import Unpack

    from asterism.request import Methods, Model, Models, Recipe


def distill(
    teacher: "Models",
    student: "Model",
    data: Any,
    *,
    method: "Methods" = None,
    recipe: "Recipe | None" = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    validation_classes: float | None = None,
    split_seed: int = 0,
    image_size: int | None = None,
    labels: bool = True,
    on_broken: OnBroken = "skip",
    teacher_cache: str | Path | None = None,
    check: bool = True,
    report: bool = True,
    baseline: str | Path | None = None,
    with_baselines: bool = False,
    seeds: int = 1,
    export: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    **settings: "Unpack[SettingsByName]",
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), another library's model (timm/…, torchvision/…, hf/…, st/…),
            path/to/file.py:factory, a module, a file of its outputs (docs/models.md), or a cache
            of them (docs/cache.md). Several (a list, or named again) teach their mean pattern.
        student: The student, named likewise; a run folder's goes on from its weights. For texts
            text-transformer or text-static.
        data: digits, a folder of pictures, an .npz or .npy file, a table or a text file, a data
            set of Hugging Face, or a Dataset (docs/data.md).
        method: One method or several, whose terms add up. By default chosen by what is
            known of teacher, student and data, and told (docs/choosing.md).
        recipe: What these methods may cost where none is named: fast, balanced (as usual) or best.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, whole, for data
            whose point is new classes: the best epoch is then that of the highest recall@1.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or else
            theirs, up to 224.
        labels: Use labels, where the data have them, for training and for model selection.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
        teacher_cache: Folder in which the teacher's outputs on the training views are computed
            before training, as far as they are not there yet, and kept for later runs (any
            student, method or seed, the same view seed).
        check: Look at data and networks before the training, and warn (docs/doctor.md).
        report: Write report.html, report.json and report.md into the run folder.
        baseline: Run folder of the same student trained without the teacher, to be measured
            beside this one.
        with_baselines: Train the student without the teacher first, in a folder beside this
            run's, if it is not there yet, and measure it beside this one.
        seeds: How many trainings, with seeds from the given one on, each in a folder of its own
            within the run folder, which then has the report on all: with several it speaks of the
            method, not of one student.
        export: Formats that the student is exported in at the end, tried before the first step
            (docs/export.md).
        callbacks: Called after each step, epoch and validation (`asterism.engine.Callback`).
        **settings: See `asterism.settings.Settings`.

    Returns:
        The result, with the student ready to use; with several seeds that of the first.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    request = Request(
        teacher=teacher,
        student=student,
        data=data,
        method=method,
        recipe=recipe,
        out=out,
        resume=resume,
        overwrite=overwrite,
        validation_data=validation_data,
        test_data=test_data,
        validation_share=validation_share,
        validation_classes=validation_classes,
        split_seed=split_seed,
        image_size=image_size,
        labels=labels,
        on_broken=on_broken,
        teacher_cache=teacher_cache,
        check=check,
        report=report,
        baseline=baseline,
        with_baselines=with_baselines,
        seeds=seeds,
        export=tuple(export),
        callbacks=callbacks,
        settings=Settings(**settings),
    )
    return carry_out_all(request)[0]


def carry_out_all(request: Request) -> list[Result]:
    """Distil once for each seed, and report on all together if they are several."""
    if request.seeds == 1:
        return [_with_baselines(request)]
    out = _folder_of_seeds(request)
    first = request.settings.seed
    results = []
    told = False
    for seed in range(first, first + request.seeds):
        one = replace(
            request,
            out=out / f"seed-{seed}",
            told=told,
            check=request.check and not told,  # of the same data and teacher it would find the same
            student=copy.deepcopy(request.student),
            settings=replace(request.settings, seed=seed),
        )
        told = told or _tells(one)
        if is_first():
            tell(f"seed {seed}, {seed - first + 1} of {request.seeds}")
        try:
            results.append(_with_baselines(one))
        except Interrupted:
            raise Interrupted(out) from None
    if request.report and is_first():
        write_report([result.run for result in results], out / "report.html")
    return results


def _folder_of_seeds(request: Request) -> Path:
    """Return the folder that holds the run folders of several seeds."""
    if request.out is None and (request.resume or request.settings.processes > 1):
        raise ValueError(
            "name the folder (--out) that holds, or is to hold, the runs of all seeds."
        )
    out = Path(request.out or by_time())
    if (out / "config.yaml").exists():
        raise RunError(
            f"{out} holds a single run: with seeds={request.seeds} name another folder, which will "
            "hold a run for each seed."
        )
    return out


def _with_baselines(request: Request) -> Result:
    """Train the student without the teacher first, if that is asked for; then distil."""
    if request.with_baselines:
        request = replace(request, out=request.out or by_time())
        baseline, told = _train_alone(request)
        request = replace(request, baseline=baseline, told=request.told or told)
    return carry_out(request)


def _tells(request: Request) -> bool:
    """Return whether a training tells of its data: one that was finished before does not."""
    return request.out is not None and not (request.resume and Run(request.out).finished())


def _train_alone(request: Request) -> tuple[Path, bool]:
    """Train the student of a distillation from labels alone, with the same settings.

    Returns:
        Its run folder, and whether it has told of the data.
    """
    run = Path(f"{request.out}-without-teacher")
    tell(f"training the student without the teacher in {run}")
    settings = request.settings
    alone = replace(
        request,
        teacher=None,
        student=copy.deepcopy(request.student),
        method=None,
        image_size=common_size(request.image_size, request.teacher, request.student),
        labels=True,
        teacher_cache=None,
        out=run,
        resume=True,
        overwrite=False,
        check=False,
        report=False,
        export=(),
        settings=replace(settings, task_weight=settings.task_weight or 1.0),
    )
    told = _tells(alone)
    try:
        carry_out(alone)
    except Interrupted as stopped:
        raise Interrupted(Path(request.out or ""), before=True) from stopped
    return run, told


def train(
    model: "Model",
    data: Any,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    validation_classes: float | None = None,
    split_seed: int = 0,
    image_size: int | None = None,
    on_broken: OnBroken = "skip",
    check: bool = True,
    export: Sequence[str] = (),
    callbacks: Sequence[Callback] = (),
    **settings: "Unpack[SettingsByName]",
) -> Result:
    """Train a model from labels: a teacher, or a baseline.

    Args:
        model: A built-in model (resnet20), another library's, path/to/file.py:factory, a run
            folder, to go on from its student, or a module.
        data: Data with labels, named as for `distill`.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        validation_classes: Share of the classes kept for validation instead, whole, for data
            whose point is new classes: the best epoch is then that of the highest recall@1.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or else
            theirs, up to 224.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
        check: Look at data and network before the training, and warn (docs/doctor.md).
        export: Formats that the student is exported in at the end, tried before the first step
            (docs/export.md).
        callbacks: Called after each step, epoch and validation (`asterism.engine.Callback`).
        **settings: See `asterism.settings.Settings`.

    Returns:
        The result, with the model ready to use.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    return carry_out(
        Request(
            student=model,
            data=data,
            out=out,
            resume=resume,
            overwrite=overwrite,
            validation_data=validation_data,
            test_data=test_data,
            validation_share=validation_share,
            validation_classes=validation_classes,
            split_seed=split_seed,
            image_size=image_size,
            on_broken=on_broken,
            check=check,
            export=tuple(export),
            callbacks=callbacks,
            settings=Settings(**settings),
        )
    )
