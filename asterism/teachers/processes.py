"""A cache made in one process or several: a teacher run once over data."""

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from asterism.data import Data, Source, open_data
from asterism.request import CacheRequest
from asterism.teachers.cache import CacheState
from asterism.teachers.description import keep_card, keep_tokens
from asterism.teachers.filler import Filler, verify
from asterism.teachers.folder import begin
from asterism.teachers.making import fill, manifest_of, sources_of
from asterism.teachers.open import common_size, open_teacher
from asterism.teachers.teacher import LiveTeacher
from asterism.types import Samples, as_input, on_device
from asterism.words import tell


def make_cache(request: CacheRequest) -> CacheState:
    """Run a teacher once over data and keep its outputs; see `asterism.cache`."""
    if request.processes == 1:
        return _work(request)
    with _helpers(request):
        return _work(request)


def _work(request: CacheRequest, number: int = 0) -> CacheState:
    """Do what there is to do; several processes do the same, and each leaves the others theirs.

    Args:
        request: What is to be made.
        number: Number of the process; the first one tells and verifies.
    """
    data, teacher = _open(request)
    settings = request.settings
    virtual = 1 if request.augment == "vrm" else 0
    views = data.source.views(settings, virtual=virtual)
    names = {
        "teacher": request.teacher,
        "training": request.data,
        "validation": request.validation_data,
        "test": request.test_data or "digits",
    }
    wanted = manifest_of(
        teacher,
        data,
        names=names,
        views=views,
        count=request.views,
        dtype=request.dtype,
        precision=request.precision,
        batch_size=request.batch_size,
        shard_rows=request.shard_rows,
    )
    device = settings.device
    if device.type == "cuda":
        device = torch.device("cuda", number % torch.cuda.device_count())
    sources = sources_of(data)
    cache = begin(Path(request.out), wanted, teacher, sources, device)
    teacher.to(device)
    if not number:  # first: a cache with all outputs has what a student begins with
        keep_tokens(cache, teacher)
    fill(
        cache,
        teacher,
        sources,
        device=device,
        workers=request.workers,
        processes=request.processes,
        tell=not number,
        after=_stop_without_parent,
    )
    if not number:  # last: nobody else is at work
        keep_card(cache, teacher, _some(list(sources.values())[-1], device))
    if request.verify_cache and not number:
        cache.check()
        filler = Filler(cache, teacher.network, device=device)
        verify(filler, sources, rows=request.verify_cache)
    return cache.state()


def _some(source: Source, device: torch.device) -> Samples:
    """Return the first samples of a source, as models take them."""
    rows = list(range(min(64, len(source))))
    return on_device(as_input(source.__getitems__(rows).views[0]), device)


def _open(request: CacheRequest) -> tuple[Data, LiveTeacher]:
    data = open_data(
        request.data,
        validation=request.validation_data,
        test=request.test_data,
        image_size=common_size(request.image_size, request.teacher),
    )
    teacher = open_teacher(request.teacher, data)
    if not isinstance(teacher, LiveTeacher):
        raise ValueError(
            f"{teacher.place} has a teacher's outputs already: name the teacher itself."
        )
    return data, teacher


@contextmanager
def _helpers(request: CacheRequest) -> Iterator[None]:
    """Let other processes help; this one and they share the cores."""
    threads = torch.get_num_threads()
    each = max(1, threads // request.processes)
    # Not forked: threads and GPUs do not survive that.
    spawn = multiprocessing.get_context("spawn")
    helpers = [
        spawn.Process(target=_help, args=(request, number, each))
        for number in range(1, request.processes)
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


def _help(request: CacheRequest, number: int, threads: int) -> None:
    torch.set_num_threads(threads)
    try:
        _work(request, number)
    except KeyboardInterrupt:
        pass
    except (ValueError, OSError) as error:
        tell(f"asterism cache, process {number + 1}: {error}")


def _stop_without_parent(unwritten: int) -> None:
    """End a helper whose first process was killed: nobody waits for what it does."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)
