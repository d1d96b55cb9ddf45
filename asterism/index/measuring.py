"""What a student finds in its teacher's index, beside what the teacher finds there itself."""

from dataclasses import dataclass

import numpy as np
import torch

from asterism.data import Source, brought
from asterism.index.index import Index
from asterism.index.searching import without
from asterism.student import Student
from asterism.verdict import encoder_of, outputs_on

QUERIES, K = 1_000, 10
SEED = 0


@dataclass(frozen=True)
class Reach:
    """What queries with a student find in an index of another network's vectors.

    A query is a sample that the index has, too; its own row counts where `own_item` says so, and
    nowhere else.

    Attributes:
        queries: How many there were.
        own_item: Share of queries whose own row comes first.
        own_item_among_ten: Share of queries whose own row is among the first ten.
        neighbours: Share of the ten nearest rows of the index's own vector that the student finds
            among its ten.
        own_class: Share of queries whose nearest other row is of their class, with the student's
            vectors and with the index's own; None without labels.
    """

    queries: int
    own_item: float
    own_item_among_ten: float
    neighbours: float
    own_class: tuple[float, float] | None


def reach(index: Index, student: Student, source: Source) -> Reach:
    """Search an index with a student's vectors of up to 1,000 of its samples, drawn by a seed.

    Args:
        index: The index, of another network's vectors as a rule.
        student: Who embeds the queries, into the space of the index.
        source: The data that the index was made of.

    Raises:
        ValueError: If no row of the index is one of the data, there is one row alone, or the
            student does not take the data.
    """
    assert index.rows is not None
    if len(index) < 2:
        raise ValueError(f"{index.folder} has one row, beside which there is nothing to find.")
    source = brought(source, student.modality, student.shape)
    there = np.flatnonzero(index.rows >= 0)
    chosen = np.sort(np.random.default_rng(SEED).permutation(there)[:QUERIES])
    position = {int(index.rows[p]): int(p) for p in chosen}
    asked = outputs_on(encoder_of(student), source, torch.tensor([*position], dtype=torch.int64))
    if not len(asked.index):
        raise ValueError(f"{index.folder} has no row that is one of the data.")
    own = np.array([position[row] for row in asked.index.tolist()])
    hits = index.search(asked.outputs.embedding.numpy(), K + 1)
    found, others = hits.positions, without(own, hits).positions
    taught_others = index.near(own.tolist(), K).positions
    kept = [
        np.isin(want[want >= 0], have).mean() if (want >= 0).any() else 1.0
        for have, want in zip(others, taught_others, strict=True)
    ]
    classes = None
    if source.targets is not None:
        # Number −1, of what is no row of the data, is of no class.
        target = np.append(source.targets.numpy(), -1)
        rows = np.append(index.rows, -1)
        first = (
            target[rows[near[:, 0]]] == target[asked.index.numpy()]
            for near in (others, taught_others)
        )
        student_share, index_share = (float(same.mean()) for same in first)
        classes = (student_share, index_share)
    return Reach(
        len(own),
        float((found[:, 0] == own).mean()),
        float((found[:, :K] == own[:, None]).any(1).mean()),
        float(np.mean(kept)),
        classes,
    )
