"""`export()`: a finished run's student in other libraries' formats."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from asterism.data import Data
from asterism.exporters import TOLERANCE, Exported, chosen, subject_of, write_exports
from asterism.exporters.folder import exported_names, refuse_used
from asterism.names import located
from asterism.run import Run
from asterism.student import load
from asterism.training import reopen_data
from asterism.words import tell


def export(
    run: str | Path,
    to: str | Sequence[str],
    *,
    out: str | Path | None = None,
    data: Any = None,
    factory: str | Callable[..., nn.Module] | None = None,
    aligned: bool = False,
    int8: bool = False,
    uint8: bool = False,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> list[Exported]:
    """Write a run's student in other libraries' formats, each compared with the student itself.

    What was written is loaded again by the format's own library, and both are given the same
    samples: 1, 7 and 64 rows of the run's data, and what goes wrong first (black and white images,
    empty, very long and unknown texts). Beyond the tolerance nothing is kept.

    Args:
        run: The run folder.
        to: Formats: onnx, pt2, state, sentence-transformers, model2vec, transformers, timm,
            openvino (docs/export.md). Each gets a folder of its name.
        out: Where these folders are made; by default `export` in the run folder.
        data: Data to compare on, as `distill` takes them; by default the run's own.
        factory: For a student built by your own code, see `asterism.load`.
        aligned: Export embeddings in the teacher's space, through the map of `asterism align`.
        int8: Bring the weights to 8 bits (onnx), and measure what that costs.
        uint8: Let images go in as bytes, 0 to 255, instead of floats in [0, 1] (onnx, openvino,
            pt2).
        opset: The version of ONNX's operators; by default the converter's own choice.
        tolerance: Largest difference from the student, as a share of its largest value.
        overwrite: Replace earlier exports.

    Returns:
        What was written, by format.

    Raises:
        FileNotFoundError: If there is no such run, or no map.
        ValueError: If a format is unknown or cannot hold the student, a library is missing, a
            folder is used, or a difference is beyond the tolerance.
    """
    exporters = chosen([to] if isinstance(to, str) else list(to), int8=int8, uint8=uint8)
    if not tolerance > 0:
        raise ValueError(f"--tolerance must be above 0; got {tolerance:g}.")
    folder = Run(run)
    place = folder.exports if out is None else Path(located(out))
    for exporter in exporters:
        made = place / exporter.name
        refuse_used(made, "an export", exported_names(made), overwrite=overwrite)
    student = load(run, factory=factory, aligned=aligned)
    if uint8 and not student.modality.pixels:
        raise ValueError(
            f"--uint8 is for images, and the student of {run} takes {student.modality.plural}."
        )
    opened, compared_on = _opened(folder, data)
    subject = subject_of(folder, student, data=opened, factory=factory, opset=opset, uint8=uint8)
    return write_exports(
        subject,
        exporters,
        place,
        data=opened,
        compared_on=compared_on,
        tolerance=tolerance,
        int8=int8,
    )


def _opened(folder: Run, data: Any) -> tuple[Data | None, str]:
    """Return the data to compare on, and whose rows they are, in words."""
    try:
        opened = reopen_data(folder, data)
    except (FileNotFoundError, ValueError) as error:
        if data is not None:
            raise
        # A run may have come from another machine, and is exported there without its data. The
        # reason names a place on this one, and stays here.
        tell(f"the export is compared on made-up rows: {error}")
        return None, "made-up rows, since the run's data were not there"
    return opened, "rows of the run's data" if data is None else "rows of the data that were named"
