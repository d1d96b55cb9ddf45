"""Recall of the teacher's index when the student searches it: unmapped, rotated, mapped."""

from torch import Tensor

from asterism.measures import compatibility, procrustes, ridge
from asterism.verdict.outputs import Observed
from asterism.verdict.table import Notes, Values

WAYS = ("as it is", "rotated", "linear map")
KS = (1, 10)
# Below so many times chance nobody would call it a search.
NEAR_CHANCE = 5


def compatibility_values(
    student: Observed, teacher: Observed, rows: Tensor
) -> tuple[Values, Notes]:
    """Search the teacher's index with the student, as it is and mapped.

    Args:
        student: What the student makes of the data.
        teacher: What the teacher makes of them; its evaluation rows are the index.
        rows: Which samples are queries.

    Returns:
        The values, and by name what must be said about them in words.
    """
    learnt = student.learnt.embedding, teacher.learnt.embedding
    own = student.outputs.embedding
    index = teacher.outputs.embedding
    queries: dict[str, Tensor] = {}
    if own.shape[1] == index.shape[1]:
        queries["as it is"] = own
    if len(learnt[0]):
        queries["rotated"] = procrustes(*learnt)(own)
        queries["linear map"] = ridge(*learnt)(own)
    values = Values()
    notes = Notes()
    for way in WAYS:
        item, alike = f"own item, {way}", f"same class, {way}"
        if way not in queries:
            values |= {(name, k): None for name in (item, alike) for k in KS}
            why = (
                "there are no training rows to fit a map"
                if own.shape[1] == index.shape[1] or way != "as it is"
                else f"the student has {own.shape[1]} columns and the teacher {index.shape[1]}, so "
                "it cannot search the teacher's index without a map (asterism align fits one)"
            )
            notes[item] = f"Not measured: {why}."
            continue
        measured = compatibility(queries[way], index, teacher.target, ks=KS, rows=rows)
        values |= {(item, k): x for k, x in measured.item_recall.items()}
        values |= {(alike, k): x for k, x in (measured.class_recall or {}).items()}
        top = measured.item_recall[1]
        chance = 1 / max(1, len(index))
        if top is not None and top < NEAR_CHANCE * chance:
            notes[item] = f"As good as chance ({100 * chance:.2g} %). " + (
                "Relations fix how samples lie to each other, not where: a student of "
                "relations alone cannot search the teacher's index without a map (asterism "
                "align fits one)."
                if way == "as it is"
                else "No such map brings the student near the teacher's index."
            )
    return values, notes
