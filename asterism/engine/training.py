"""What is trained: everything that a training is made of, opened and found to fit together."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from asterism.data import Data, DataAccount
from asterism.engine.task import CrossEntropyTask, Task
from asterism.methods.base import Method
from asterism.request import Request
from asterism.settings import Settings
from asterism.teachers import Taught, Teacher
from asterism.types import Outputs, Samples
from asterism.views import Views

# What validation measures, from the student's outputs and the labels on the validation rows; its
# first entry, the larger the better, selects the best epoch.
Score = Callable[[Outputs, Tensor | None], dict[str, float]]


class Anchors(NamedTuple):
    """The anchor samples, clean, and what the teacher returns for them."""

    samples: Samples
    teacher: Outputs


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        request: What the user asked for, with what was left open filled in.
        data: The data.
        student: The network that is trained.
        teacher: Its teacher, or None.
        methods: The methods, set up.
        views: What makes the training views; None for samples that are taken as they come.
        use_labels: Whether labels are part of the objective.
        task: The loss with them.
        card: From what `asterism.load` builds the student again.
        cached: The teacher's outputs on the training data, where they are kept beside it.
        anchors: The anchor samples of methods that ask for them, or None.
        score: What validation measures; None until the training begins.
        guess: What a guess may reach of it: no epoch below is better than another.
        account: What was found in the data, and what is left out; None for a loop of one's own.
    """

    request: Request
    data: Data
    student: nn.Module
    teacher: Teacher | None
    methods: tuple[Method, ...]
    views: Views | None
    use_labels: bool
    task: Task = field(default_factory=CrossEntropyTask)
    card: dict[str, Any] = field(default_factory=dict)
    cached: Taught | None = None
    anchors: Anchors | None = None
    score: Score | None = None
    guess: float = -math.inf
    account: DataAccount | None = None

    @property
    def settings(self) -> Settings:
        """Return how to train."""
        return self.request.settings

    @property
    def taught(self) -> Taught | None:
        """Return the teacher's outputs on the training data; None without a teacher."""
        if self.cached is not None or self.teacher is None:
            return self.cached
        return self.teacher.on(self.data.source)
