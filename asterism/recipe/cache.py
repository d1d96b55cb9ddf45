"""`cache()`: a teacher run once over data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asterism.request import CacheRequest
from asterism.settings import Accelerator, Precision
from asterism.teachers import CacheState, make_cache

if TYPE_CHECKING:
    from asterism.request import Model


def cache(
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
    crop_area: tuple[float, ...] = (),
    crop_ratio: float = 4 / 3,
    color_jitter: float = 0.0,
    dtype: Literal["float16", "float32"] = "float16",
    precision: Precision = "32",
    batch_size: int = 256,
    shard_rows: int | None = None,
    processes: int = 1,
    workers: int | None = None,
    accelerator: Accelerator = "auto",
    verify_cache: int = 0,
    part: str = "1/1",
    finish: bool = False,
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
        image_size: Size to which pictures are brought; by default the teacher's own, or else
            theirs, up to 224.
        views: Augmented views of each training image, beside the clean one; a text and an array
            have the clean one alone.
        augment: What the views are: crop (shifts and flips), or vrm (these, and of each a virtual
            one by RandAugment, as VRM needs).
        view_seed: Seed of the views.
        padding: Largest shift of a view in pixels; by default an eighth of the image.
        randaugment_operations: Operations of RandAugment on each virtual view.
        randaugment_magnitude: Their strength, from 0 to 30.
        crop_area: Smallest and largest share of the picture, for random resized crops instead of
            shifts, as of a training.
        crop_ratio: Largest ratio of the sides of such a part.
        color_jitter: Strength, up to 1, of random changes of brightness, contrast and saturation.
        dtype: How outputs are kept: float16 or float32.
        precision: What the teacher computes in: 32, bf16 or 16 (mixed).
        batch_size: Samples that go through the teacher together.
        shard_rows: Rows of a file, what an interruption costs: 2,048, 16,384 above 10 million.
        processes: Processes that share the work, on a GPU each where there are several.
        workers: Processes that decode pictures; by default 0 for data in memory, else the cores.
        accelerator: Where the teacher runs.
        verify_cache: At the end read all, and compute so many rows (64) of each view again.
        part: `i/n`: the i-th of n parts of the files alone, for n machines that share no locks.
        finish: When all parts are there: read and check everything, and seal it.

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
            crop_area=crop_area,
            crop_ratio=crop_ratio,
            color_jitter=color_jitter,
            dtype=dtype,
            precision=precision,
            batch_size=batch_size,
            shard_rows=shard_rows,
            processes=processes,
            workers=workers,
            accelerator=accelerator,
            verify_cache=verify_cache,
            part=part,
            finish=finish,
        )
    )
