"""What users call: each function builds a request and carries it out."""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from asterism.doctor import Finding
from asterism.doctor import check as check_training
from asterism.engine import Callback
from asterism.request import CacheRequest, OnBroken, Request
from asterism.result import Result
from asterism.settings import Accelerator, Precision, Settings, SettingsByName
from asterism.teachers import CacheState, common_size, make_cache
from asterism.training import by_time, carry_out, open_training, reopen, with_teaching
from asterism.verdict import assess

if TYPE_CHECKING:
    from typing import Unpack

    from asterism.request import Methods, Model

__all__ = ["distill", "embed", "evaluate", "examine", "train"]


def distill(
    teacher: "Model",
    student: "Model",
    data: Any,
    *,
    method: "Methods" = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
    split_seed: int = 0,
    image_size: int | None = None,
    labels: bool = True,
    on_broken: OnBroken = "skip",
    teacher_cache: str | Path | None = None,
    check: bool = True,
    report: bool = True,
    baseline: str | Path | None = None,
    with_baselines: bool = False,
    callbacks: Sequence[Callback] = (),
    **settings: "Unpack[SettingsByName]",
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: The teacher: a run folder, a built-in model with weights
            (resnet20?weights=FILE), another library's model (timm/…, torchvision/…, hf/…, st/…),
            path/to/file.py:factory, a module, a file of its outputs (docs/models.md), or a cache
            of them (docs/cache.md).
        student: The student, named likewise; a run folder's goes on from its weights. For texts
            text-transformer or text-static.
        data: digits, a folder of pictures, an .npz or .npy file, a table or a text file, a data
            set of Hugging Face, or a Dataset (docs/data.md).
        method: One method or several, whose terms add up. By default RKD with the paper's
            weights for classification (25, 50) + KD with labels, RKD without.
        out: Run folder; by default runs/ and the time.
        resume: Go on with the run in the folder.
        overwrite: Replace the run in the folder.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
        labels: Use labels, where the data have them, for training and for model selection.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
        teacher_cache: Folder in which the teacher's outputs on the training views are computed
            before training, as far as they are not there yet, and kept for later runs (any
            student, method or seed, the same view seed).
        check: Look at data and networks before the training, and warn (docs/doctor.md).
        report: Write report.html, report.json and report.md into the run folder.
        baseline: Run folder of the same student trained without the teacher, to be measured
            beside this one.
        with_baselines: Train that baseline first, in a folder beside this run's, if it is not
            there yet.
        callbacks: Called after each step, epoch and validation (`asterism.engine.Callback`).
        **settings: See `asterism.settings.Settings`.

    Returns:
        The result, with the student ready to use.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    request = Request(
        teacher=teacher,
        student=student,
        data=data,
        method=method,
        out=out,
        resume=resume,
        overwrite=overwrite,
        validation_data=validation_data,
        test_data=test_data,
        validation_share=validation_share,
        split_seed=split_seed,
        image_size=image_size,
        labels=labels,
        on_broken=on_broken,
        teacher_cache=teacher_cache,
        check=check,
        report=report,
        baseline=baseline,
        with_baselines=with_baselines,
        callbacks=callbacks,
        settings=Settings(**settings),
    )
    return carry_out_with_baselines(request)


def carry_out_with_baselines(request: Request) -> Result:
    """Train the student without the teacher first, if that is asked for; then distil."""
    if request.with_baselines:
        request = replace(request, out=request.out or by_time())
        request = replace(request, baseline=_train_alone(request))
    return carry_out(request)


def _train_alone(request: Request) -> Path:
    """Train the student of a distillation from labels alone, with the same settings."""
    run = Path(f"{request.out}-without-teacher")
    print(f"training the student without the teacher in {run}", file=sys.stderr)
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
        settings=replace(settings, task_weight=settings.task_weight or 1.0),
    )
    carry_out(alone)
    return run


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
    split_seed: int = 0,
    image_size: int | None = None,
    on_broken: OnBroken = "skip",
    check: bool = True,
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
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
        on_broken: Samples that cannot be read: skip and name them, or stop before training.
        check: Look at data and network before the training, and warn (docs/doctor.md).
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
            split_seed=split_seed,
            image_size=image_size,
            on_broken=on_broken,
            check=check,
            callbacks=callbacks,
            settings=Settings(**settings),
        )
    )


def examine(
    teacher: "Model | None",
    student: "Model",
    data: Any,
    *,
    method: "Methods" = None,
    out: str | Path | None = None,
    validation_data: Any = None,
    test_data: Any = None,
    validation_share: float = 0.1,
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
        out: The run folder that is meant: its disk is looked at.
        validation_data: Data for model selection; by default a share of the training data.
        test_data: Data read once, at the end.
        validation_share: Share of the training data kept for validation.
        split_seed: Seed of that split.
        image_size: Size to which pictures are brought; by default the larger model's own, or 32.
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
            out=out,
            validation_data=validation_data,
            test_data=test_data,
            validation_share=validation_share,
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
    return check_training(with_teaching(open_training(request)))


def embed(
    teacher: "Model",
    data: Any,
    *,
    out: str | Path,
    validation_data: Any = None,
    test_data: Any = None,
    image_size: int | None = None,
    views: int = 8,
    augment: Literal["crop", "vrm"] = "crop",
    view_seed: int = 0,
    padding: int | None = None,
    randaugment_operations: int = 2,
    randaugment_magnitude: int = 9,
    dtype: Literal["float16", "float32"] = "float16",
    precision: Precision = "32",
    batch_size: int = 256,
    shard_rows: int = 2048,
    processes: int = 1,
    workers: int | None = None,
    accelerator: Accelerator = "auto",
    verify_cache: int = 0,
) -> CacheState:
    """Run a teacher once over data and keep its outputs, for trainings without the teacher.

    The same call goes on where an earlier one was interrupted. Several at a time, on one machine
    or on machines that share the folder, share the work.

    Args:
        teacher: The teacher, named as for `distill`.
        data: The training data, named as for `distill`; all rows, those for validation too.
        out: Folder of the cache.
        validation_data: Validation data, if they are separate; their clean view is kept.
        test_data: Test data, likewise.
        image_size: Size to which pictures are brought; by default the teacher's own, or 32.
        views: Augmented views of each training image, beside the clean one; a text and an array
            have the clean one alone.
        augment: What the views are: crop (shifts and flips), or vrm (these, and of each a virtual
            one by RandAugment, as VRM needs).
        view_seed: Seed of the views.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        randaugment_operations: Operations of RandAugment on each virtual view.
        randaugment_magnitude: Their strength, from 0 to 30.
        dtype: How outputs are kept: float16 or float32.
        precision: What the teacher computes in: 32, bf16 or 16 (mixed).
        batch_size: Samples that go through the teacher together.
        shard_rows: Rows of a file; an interruption costs the work on one.
        processes: Processes that share the work, on a GPU each where there are several.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        accelerator: Where the teacher runs.
        verify_cache: When all is there, read all of it, and compute so many rows of each view
            again to compare (64 if no number is given).

    Returns:
        What the cache holds.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If something does not fit; the message says what, and the way out.
    """
    return make_cache(
        CacheRequest(
            teacher=teacher,
            data=data,
            out=out,
            validation_data=validation_data,
            test_data=test_data,
            image_size=image_size,
            views=views,
            augment=augment,
            view_seed=view_seed,
            padding=padding,
            randaugment_operations=randaugment_operations,
            randaugment_magnitude=randaugment_magnitude,
            dtype=dtype,
            precision=precision,
            batch_size=batch_size,
            shard_rows=shard_rows,
            processes=processes,
            workers=workers,
            accelerator=accelerator,
            verify_cache=verify_cache,
        )
    )


def evaluate(
    run: str | Path,
    *,
    data: Any = None,
    factory: str | Callable[..., nn.Module] | None = None,
    teacher: "Model | None" = None,
) -> Result:
    """Measure the student of a finished run again, beside its teacher.

    Args:
        run: The run folder.
        data: Other data to measure it on, as `distill` takes them; by default the run's own.
        factory: For a student built by your own code, see `asterism.load`.
        teacher: The teacher, as `distill` takes it, if it is your own code or has moved.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If its models or data cannot be opened any more.
    """
    opened = reopen(run, data=data, factory=factory, teacher=teacher)
    measured, _ = assess(opened.student, opened.teacher, opened.data)
    return Result(Path(run), opened.student, {**measured, "broken": opened.data.broken()})
