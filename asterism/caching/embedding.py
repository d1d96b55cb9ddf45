"""`embed()`: run a teacher once over data, in one process or several."""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from asterism.caching.beginning import begin
from asterism.caching.checking import verify
from asterism.caching.filling import Filler
from asterism.caching.making import (
    BATCH_SIZE,
    SHARD_ROWS,
    fill,
    manifest_of,
    sources_of,
)
from asterism.data import Data, KnownTeacher, open_data
from asterism.data.cache import CacheState
from asterism.engine import Settings, training_views
from asterism.fitting import Model, common_size, open_teacher


def embed(
    teacher: Model,
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
    precision: Literal["32", "bf16", "16"] = "32",
    batch_size: int = BATCH_SIZE,
    shard_rows: int = SHARD_ROWS,
    processes: int = 1,
    workers: int | None = None,
    accelerator: Literal["auto", "cpu", "gpu"] = "auto",
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
        views: Augmented views of each training image, beside the clean one; a text has the clean
            one alone.
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
    choices = dict(locals())
    for name in ("views", "batch_size", "shard_rows", "processes"):
        if choices[name] < 1:
            raise ValueError(f"{name} must be at least 1; got {choices[name]}.")
    if verify_cache < 0:
        raise ValueError(f"verify_cache must not be negative; got {verify_cache}.")
    if processes == 1:
        return _work(choices)
    with _helpers(choices):
        return _work(choices)


def _work(choices: dict[str, Any], number: int = 0) -> CacheState:
    """Do what there is to do; several processes do the same, and each leaves the others theirs.

    Args:
        choices: The arguments of `embed`.
        number: Number of the process; the first one tells and verifies.
    """
    data, teacher = _open(choices)
    made = {key: choices[key] for key in ("dtype", "precision", "batch_size", "shard_rows")}
    how = "view_seed padding randaugment_operations randaugment_magnitude accelerator workers"
    settings = Settings(**{name: choices[name] for name in how.split()})
    views = training_views(data.source, [], settings)
    if views is not None and choices["augment"] == "vrm":
        views = replace(views, virtual=1)
    names = {"teacher": choices["teacher"], "training": choices["data"]}
    names |= {"validation": choices["validation_data"], "test": choices["test_data"] or "digits"}
    wanted = manifest_of(teacher, data, names=names, views=views, count=choices["views"], **made)
    device = settings.device
    if device.type == "cuda":
        device = torch.device("cuda", number % torch.cuda.device_count())
    sources = sources_of(data)
    cache = begin(Path(choices["out"]), wanted, teacher, sources, device)
    options = {"device": device, "workers": choices["workers"], "processes": choices["processes"]}
    fill(cache, teacher, sources, **options, tell=not number, after=_stop_without_parent)
    if choices["verify_cache"] and not number:
        cache.check()
        verify(Filler(cache, teacher, device=device), sources, rows=choices["verify_cache"])
    return cache.state()


def _open(choices: dict[str, Any]) -> tuple[Data, nn.Module]:
    data = open_data(
        choices["data"],
        validation=choices["validation_data"],
        test=choices["test_data"],
        image_size=common_size(choices["image_size"], choices["teacher"]),
    )
    teacher = open_teacher(choices["teacher"], data)
    if isinstance(teacher, KnownTeacher):
        raise ValueError(
            f"{teacher.place} has a teacher's outputs already: name the teacher itself."
        )
    return data, teacher


@contextmanager
def _helpers(choices: dict[str, Any]) -> Iterator[None]:
    """Let other processes help; this one and they share the cores."""
    threads = torch.get_num_threads()
    each = max(1, threads // choices["processes"])
    # Not forked: threads and GPUs do not survive that.
    spawn = multiprocessing.get_context("spawn")
    helpers = [
        spawn.Process(target=_help, args=(choices, number, each))
        for number in range(1, choices["processes"])
    ]
    torch.set_num_threads(each)
    try:
        for helper in helpers:
            _start(helper)
        yield
        for helper in helpers:
            helper.join()
    finally:
        torch.set_num_threads(threads)
        for helper in helpers:
            if helper.pid is not None:
                helper.terminate()


def _start(helper: Any) -> None:
    try:
        helper.start()
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            "several processes must each open teacher and data: give both by name, not as objects "
            f"({error})."
        ) from error


def _help(choices: dict[str, Any], number: int, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        _work(choices, number)
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        print(f"asterism embed, process {number + 1}: {error}", file=sys.stderr)


def _stop_without_parent(unwritten: int) -> None:
    """End a helper whose first process was killed: nobody waits for what it does."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)
