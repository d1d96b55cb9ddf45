"""A cache made in one process or several: a teacher run once over data."""

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from asterism.data import Data, Source, open_data
from asterism.names import part_of
from asterism.request import CacheRequest
from asterism.storage import Remote, place
from asterism.teachers.cache import Cache, CacheState, seal
from asterism.teachers.description import keep_card, keep_tokens
from asterism.teachers.filler import Filler, verify
from asterism.teachers.folder import COMPARED, begin
from asterism.teachers.making import fill, manifest_of, shard_rows, sources_of
from asterism.teachers.manifest import Manifest, read_manifest
from asterism.teachers.open import common_size, open_teacher
from asterism.teachers.teacher import LiveTeacher
from asterism.types import Samples, as_input, on_device
from asterism.words import tell


def make_cache(request: CacheRequest) -> CacheState:
    """Run a teacher once over data and keep its outputs; see `asterism.cache`."""
    part_of(request.part, 1)  # before anything is opened
    if request.part != "1/1" and (request.finish or request.verify_cache):
        raise ValueError("--finish and --verify-cache are for all parts: leave --part out.")
    if request.finish:
        return _finish(request)
    if request.processes == 1:
        return _work(request)
    if isinstance(place(request.out), Remote):
        raise ValueError(
            f"several processes share a cache by locks, and {request.out} has none: run one "
            f"command for each, --part 1/{request.processes} and so on, then --finish."
        )
    with _helpers(request):
        return _work(request)


def _work(request: CacheRequest, number: int = 0) -> CacheState:
    """Do what there is to do; several processes do the same, and each leaves the others theirs.

    Args:
        request: What is to be made.
        number: Number of the process; the first one tells and verifies.
    """
    data, teacher = _open(request)
    device = _device(request, number)
    sources, share = sources_of(data), request.part
    wanted = _wanted(request, data, teacher)
    cache = begin(place(request.out), wanted, teacher, sources, device, share)
    whole = share == "1/1" and not number
    teacher.to(device)
    if whole:  # first: a cache with all outputs has what a student begins with
        keep_tokens(cache, teacher)
    filler = Filler(cache, teacher.network, device=device, share=share, after=_stop_without_parent)
    fill(filler, sources, workers=request.workers, processes=request.processes, tell=not number)
    if whole:  # last: nobody else is at work
        keep_card(cache, teacher, _some(list(sources.values())[-1], device))
    if request.verify_cache and not number:
        cache.check()
        verify(filler, sources, rows=request.verify_cache)
    return cache.state()


def _finish(request: CacheRequest) -> CacheState:
    """Check what several parts have written, add what the teacher says of itself, and seal it."""
    data, teacher = _open(request)
    folder, device, sources = place(request.out), _device(request), sources_of(data)
    wanted, known = _wanted(request, data, teacher), read_manifest(folder)
    known.refuse_changes(wanted, folder)
    cache = Cache(folder, known)
    state = cache.state()
    if not state.complete or known.joined(wanted) != known:
        raise ValueError(
            f"{folder} is not complete, {state.written} of {state.shards} files are there: the "
            "same command without --finish, or with the --part that is missing, goes on."
        )
    teacher.to(device)
    filler = Filler(cache, teacher.network, device=device)
    verify(filler, sources, rows=request.verify_cache or COMPARED)
    keep_tokens(cache, teacher)
    keep_card(cache, teacher, _some(list(sources.values())[-1], device))
    seal(cache)
    return state


def _wanted(request: CacheRequest, data: Data, teacher: LiveTeacher) -> Manifest:
    """Return the manifest of what is asked for."""
    names = {
        "teacher": request.teacher,
        "training": request.data,
        "validation": request.validation_data,
        "test": request.test_data or "digits",
    }
    virtual = 1 if request.augment == "vrm" else 0
    return manifest_of(
        teacher,
        data,
        names=names,
        views=data.source.views(request.settings, virtual=virtual),
        count=request.views,
        dtype=request.dtype,
        precision=request.precision,
        batch_size=request.batch_size,
        shard_rows=request.shard_rows or shard_rows(place(request.out), data),
    )


def _device(request: CacheRequest, number: int = 0) -> torch.device:
    device = request.settings.device
    if device.type == "cuda":
        return torch.device("cuda", number % torch.cuda.device_count())
    return device


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
