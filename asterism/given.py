"""What a user gives to a trained student, samples or data, as a source in their order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from asterism.data import Source, brought, hub, open_source, size_of
from asterism.data.table import READERS
from asterism.modality import Modality
from asterism.names import located
from asterism.reading import picture_file
from asterism.types import Batch, Shape

# Files that hold many samples, beside those of a table.
ENDINGS = {*READERS, ".npz", ".txt"}


class Given(Source):
    """Samples as a user has them in Python: paths, pictures, arrays, texts."""

    def __init__(self, given: Sequence[Any], modality: Modality, shape: Shape) -> None:
        """Keep them; they are read when they are fetched.

        Args:
            given: The samples.
            modality: What the student takes.
            shape: Size of its samples.

        Raises:
            ValueError: If a path among many is that of a folder.
            FileNotFoundError: If there is no such file.
        """
        self.given, self.modality, self.shape = given, modality, shape
        paths = [each for each in given if isinstance(each, str | Path)]
        # Said here, and not by a process that decodes.
        for path in paths if modality.pixels else ():
            picture_file(path)
        self.in_memory = not modality.has_files or len(paths) < len(given)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.given)

    def fetch(self, rows: Sequence[int]) -> Batch:
        """Read samples; what cannot be read is an error, so that rows stay those that were given.

        Raises:
            ValueError: If something among them is no sample.
            OSError: If a file cannot be read.
        """
        try:
            samples = self.modality.read([self.given[row] for row in rows], self.shape)
        except (ValueError, OSError) as error:
            if get_worker_info() is None:
                raise
            return Batch(broken=(str(error).rstrip("."),))  # without the worker's traceback
        return Batch((samples,), torch.tensor(rows, dtype=torch.int64))


def source_of(given: Any, modality: Modality, shape: Shape) -> Source:
    """Return the source of what is given to a student: one sample, several, or data.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If it is neither, or the student does not take it.
    """
    if _is_data(given, modality):
        return source_for(given, modality, shape)
    return Given(modality.listed(given), modality, shape)


def source_for(data: Any, modality: Modality, shape: Shape) -> Source:
    """Open data for a student, pictures at its size and in its channels.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If they cannot be read, or the student does not take them.
    """
    return brought(open_source(data, image_size=size_of(modality, shape)), modality, shape)


def _is_data(given: Any, modality: Modality) -> bool:
    if not isinstance(given, str | Path):
        return isinstance(given, Dataset | DataLoader) or hub.is_dataset(given)
    if not modality.has_files:
        return isinstance(given, Path)  # a str is a text
    path = Path(located(given))
    return path.is_dir() or path.suffix.lower() in ENDINGS
