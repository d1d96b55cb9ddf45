"""Tests for asterism/verdict/prefixes.py: the first columns by themselves."""

import pytest
import torch
import torch.nn.functional as F

from asterism.measures import fidelity, retrieval
from asterism.types import Outputs
from asterism.verdict.outputs import Observed
from asterism.verdict.prefixes import KEPT, RECALL, prefix_values

ROWS, QUERIES = 60, torch.arange(60)


def seen(rows, *, labels=True):
    target = torch.arange(ROWS) % 4 if labels else None
    return Observed(Outputs(rows), target, torch.arange(ROWS), Outputs(rows[:0]), None)


@pytest.mark.parametrize("unit", [False, True])
def test_they_are_searched_as_an_index_of_these_columns(unit, embeddings):
    rows = embeddings(ROWS, 40).float()
    rows = F.normalize(rows) if unit else rows
    student, teacher = seen(rows), seen(embeddings(ROWS, 9, seed=1).float())
    found = prefix_values(student, teacher, QUERIES)
    assert set(found) == {(name, k) for name in (RECALL, KEPT) for k in (16, 32)}
    for k in (16, 32):
        cut = F.normalize(rows[:, :k]) if unit else rows[:, :k]
        assert found[RECALL, k] == retrieval(cut, student.target, ks=(1,)).recall[1]
        whole = fidelity(Outputs(cut), teacher.outputs, ks=(10,))
        assert found[KEPT, k] == whole.neighbour_overlap[10]


def test_nothing_is_said_of_a_narrow_student_or_of_what_is_not_known(embeddings):
    assert prefix_values(seen(embeddings(ROWS, 16)), None, QUERIES) == {}
    assert prefix_values(seen(embeddings(ROWS, 20), labels=False), None, QUERIES) == {}
    few = prefix_values(seen(embeddings(ROWS, 20)), None, QUERIES[:7])
    assert set(few) == {(RECALL, 16)}
