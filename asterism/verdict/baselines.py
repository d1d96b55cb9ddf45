"""Baselines that need no training."""

from asterism.measures import principal_components, random_projection
from asterism.verdict.outputs import Observed


def reductions(teacher: Observed, width: int) -> dict[str, Observed]:
    """Return the teacher's embedding brought to a width without training anything.

    There are none at the teacher's width or beyond: they would be the teacher itself.
    """
    learnt = teacher.learnt.embedding
    if width >= learnt.shape[1]:
        return {}
    return {
        "pca": teacher.mapped(principal_components(learnt, width)),
        "random projection": teacher.mapped(random_projection(learnt.shape[1], width)),
    }
