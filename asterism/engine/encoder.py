"""Student and teacher on the views of a batch, chunk by chunk."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from asterism.engine.encoded import Encoded, Part
from asterism.engine.objective import by_view
from asterism.engine.training import Anchors, Training
from asterism.models import evaluating
from asterism.types import (
    Batch,
    Outputs,
    Samples,
    as_input,
    join_outputs,
    join_views,
    on_device,
    outputs_on_device,
)

Network = Callable[[Samples], Outputs]


class Passed(NamedTuple):
    """What both networks made of a batch.

    Attributes:
        encoded: The student's outputs as they take gradients.
        student: The student's outputs on each view of the samples.
        teacher: The teacher's; none without a teacher.
        batch: What methods may know of the batch, with the anchors' outputs.
    """

    encoded: Encoded
    student: list[Outputs]
    teacher: list[Outputs]
    batch: Batch


class Encoder:
    """Runs both networks on the training views.

    No module: the teacher is not trained, not switched to train mode, not in the checkpoint.

    Attributes:
        student: The network that is trained.
        seconds: Time spent on making views.
    """

    def __init__(self, training: Training, student: nn.Module, device: torch.device) -> None:
        """Move both networks and the anchors to a device.

        Args:
            training: What is trained.
            student: Its student, or a copy of it.
            device: Where the training runs.
        """
        settings = training.settings
        self.student = student.to(device)
        if settings.channels_last:
            self.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if training.teacher is not None:
            training.teacher.to(device, channels_last=settings.channels_last)
        self.compiled: nn.Module = torch.compile(student) if settings.compile else student  # type: ignore[assignment]
        self.taught = training.taught
        self.views = training.views
        self.anchors = training.anchors and Anchors(
            on_device(training.anchors.samples, device),
            outputs_on_device(training.anchors.teacher, device),
        )
        self.size = settings.batch_size
        self.view_count = settings.view_count
        self.seconds = 0.0

    def encode(
        self, batch: Batch, number: int, key: tuple[int, ...], *, eagerly: bool = False
    ) -> Passed:
        """Return both networks' outputs on each view, and the batch with the anchors' outputs.

        Args:
            batch: Samples as they come from the source.
            number: Number of the pass over the data, and so of the views.
            key: Seed of the random numbers that the student draws.
            eagerly: Whether to run the student as it is even if it is compiled: a compiled one's
                graph serves for a single backward pass.
        """
        run: Network = self.student if eagerly else self.compiled
        number = number % self.view_count if self.view_count else number
        rows = range(0, len(batch.index), self.size)
        chunks = [Chunk(self, batch, slice(i, i + self.size), number) for i in rows]
        chunks = chunks or [Nobody(self, batch, number)]
        parts: list[Part] = [partial(chunk, run) for chunk in chunks]
        if self.anchors is not None:
            given = self.anchors.samples
            parts += [
                partial(run, given[i : i + self.size]) for i in range(0, len(given), self.size)
            ]
        encoded = Encoded(self.student, parts, key=key)
        views = len(batch.views) if self.views is None else 1 + self.views.virtual
        taught = [chunk.taught for chunk in chunks if chunk.taught is not None]
        anchors = None
        if self.anchors is not None:
            described = join_outputs(encoded.outputs[len(chunks) :])
            anchors = (described, self.anchors.teacher)
        return Passed(
            encoded,
            student=by_view(encoded.outputs[: len(chunks)], views),
            teacher=by_view(taught, views) if taught else [],
            batch=Batch((), batch.index, batch.target, anchors),
        )

    def views_of(self, batch: Batch, rows: slice, number: int) -> tuple[Samples, ...]:
        """Return the views of some samples of a batch."""
        begun = time.perf_counter()
        if self.views is None:
            views = tuple(as_input(view[rows]) for view in batch.views)
        else:
            images = torch.as_tensor(batch.views[0])[rows]
            views = self.views(images, batch.index[rows], number)
        self.seconds += time.perf_counter() - begun
        return views


class Chunk:
    """Some samples of a batch, in all their views.

    Attributes:
        taught: The teacher's outputs on them, once the student has been run; None without one.
    """

    def __init__(self, encoder: Encoder, batch: Batch, rows: slice, number: int) -> None:
        """Point at some rows of a batch."""
        self.encoder = encoder
        self.batch = batch
        self.rows = rows
        self.number = number
        self.taught: Outputs | None = None

    def __call__(self, run: Network) -> Outputs:
        """Return the student's outputs, and keep the teacher's of the first time."""
        views = self.encoder.views_of(self.batch, self.rows, self.number)
        outputs = run(join_views(views))
        self.teach(self.batch.index[self.rows], views)
        return outputs

    def teach(self, index: Tensor, views: Sequence[Samples]) -> None:
        """Keep the teacher's outputs, unless they are known or there is no teacher."""
        if self.taught is None and self.encoder.taught is not None:
            with torch.no_grad():
                self.taught = self.encoder.taught.views(self.number, index, views)


class Nobody(Chunk):
    """A rank that could read none of its samples: no rows, but as wide as the other ranks'."""

    def __init__(self, encoder: Encoder, batch: Batch, number: int) -> None:
        """Point at no row of a batch."""
        super().__init__(encoder, batch, slice(0, 0), number)

    def __call__(self, run: Network) -> Outputs:
        """Return no outputs."""
        view = self.batch.views[0]
        none = view.new_zeros(1, *view.shape[1:]) if isinstance(view, Tensor) else ["a"]
        stranger = as_input(none)
        self.teach(self.batch.index, (stranger,))
        if self.taught is not None:
            self.taught = _no_rows(self.taught)
        with evaluating(self.encoder.student):
            return _no_rows(self.encoder.student(stranger))


def _no_rows(outputs: Outputs) -> Outputs:
    return Outputs(outputs.embedding[:0], None if outputs.logits is None else outputs.logits[:0])
