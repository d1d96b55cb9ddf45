"""Who embeds the queries: a student, in its own index or through its map in its teacher's."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from asterism.index.index import Index
from asterism.index.searching import Floats
from asterism.models import weights_fingerprint
from asterism.run import Run
from asterism.student import Student, load, run_of
from asterism.training.provenance import recorded


def asker(
    index: Index,
    run: str | Path | None = None,
    *,
    aligned: bool = False,
    factory: str | Callable[..., nn.Module] | None = None,
) -> Student:
    """Return the student that embeds queries to an index.

    Args:
        index: The index.
        run: Its run folder, or an exported `state`; by default what the index was made of.
        aligned: Whether the index holds vectors of the student's teacher, which the map of
            `asterism align` leads to.
        factory: For a student built by your own code, see `asterism.load`.

    Raises:
        FileNotFoundError: If there is no such run, or no map.
        ValueError: If the index holds vectors of another network, or of another width.
    """
    made_of = index.card.made_of
    if run is None and run_of(made_of) is None:
        raise ValueError(
            f"{index.folder} was made of {made_of}, which is no run folder: name the student that "
            "embeds the query, --student RUN, with --aligned if the vectors are its teacher's."
        )
    student = load(made_of if run is None else run, factory=factory, aligned=aligned)
    known = index.card.network
    if aligned and run is not None:
        taught = recorded(Run(run)).get("teacher") if (Path(run) / "config.yaml").exists() else None
        if taught and known and taught != known:
            raise ValueError(
                f"the map of {run} leads into the space of another network than the one that "
                f"{index.folder} was made of (fingerprints {taught} and {known})."
            )
    elif known and weights_fingerprint(student) != known:
        raise ValueError(
            f"{index.folder} holds vectors of another network than the student of "
            f"{made_of if run is None else run}: if that is its teacher, search --aligned; "
            "otherwise index the data with this student."
        )
    return student


def embedded(index: Index, student: Student, queries: Sequence[Any]) -> Floats:
    """Return the vectors of queries.

    Args:
        index: The index that they are for.
        student: Who embeds them.
        queries: Texts, paths of pictures, or arrays, as the student takes them.

    Raises:
        ValueError: If they are none, or the student's vectors have another width than the index.
        OSError: If a file cannot be read.
    """
    vectors: Floats = np.asarray(student.embed(queries).embedding.float().cpu())
    if vectors.shape[1] != index.card.width:
        way_out = "" if student.aligner is not None else ": its teacher's index needs --aligned"
        raise ValueError(
            f"the student's vectors have {vectors.shape[1]} columns, and {index.folder} holds "
            f"vectors of {index.card.width}{way_out}."
        )
    return vectors
