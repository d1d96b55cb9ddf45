"""The engine: one training loop; the only package that knows `accelerate`."""

from asterism.engine.distillation import Distillation as Distillation
from asterism.engine.loop import Fitted as Fitted
from asterism.engine.loop import fit as fit
from asterism.engine.processes import Preempted as Preempted
from asterism.engine.recording import Callback as Callback
from asterism.engine.recording import Moment as Moment
from asterism.engine.task import make_task as make_task
from asterism.engine.training import Anchors as Anchors
from asterism.engine.training import Score as Score
from asterism.engine.training import Training as Training

__all__ = [
    "Anchors",
    "Callback",
    "Distillation",
    "Fitted",
    "Moment",
    "Preempted",
    "Score",
    "Training",
    "fit",
    "make_task",
]
