"""What the first columns of an embedding are worth by themselves, as an index of few columns."""

import torch
from torch import Tensor

from asterism.measures import retrieval
from asterism.measures.fidelity import neighbourhoods
from asterism.relations.directions import unit_rows
from asterism.verdict.outputs import Observed
from asterism.verdict.table import Values

RECALL, KEPT = "recall@1 by first columns", "ten neighbours kept by first columns"
NARROWEST = 16
QUERIES = 500


def prefix_values(student: Observed, teacher: Observed | None, rows: Tensor) -> Values:
    """Search with the first 16, 32, 64, … columns of the student; nothing where there are no more.

    Rows of unit length have it again after the cut, as those who keep such an index do.

    Args:
        student: What the student makes of the data.
        teacher: What the teacher makes of them, or None.
        rows: Which samples are queries; some 500 of them, evenly, are.

    Returns:
        With labels the recall@1, with a teacher the share of its ten neighbours (in all its
        columns) that is kept; `k` is the number of columns.
    """
    whole = student.outputs.embedding
    lengths = whole.norm(dim=1)
    unit = bool(torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3))
    queries = rows[:: max(1, len(rows) // QUERIES)]
    values = Values()
    width = NARROWEST
    while width < whole.shape[1]:
        first = unit_rows(whole[:, :width]) if unit else whole[:, :width]
        if student.target is not None:
            found = retrieval(first, student.target, ks=(1,), rows=queries)
            values[RECALL, width] = found.recall[1]
        if teacher is not None:
            near = neighbourhoods(first, teacher.outputs.embedding, k=11, rows=queries)
            values[KEPT, width] = near.kept(10)
        width *= 2
    return values
