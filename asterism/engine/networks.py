"""Student and teacher on the views of a batch."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from asterism.augment import Views, as_input
from asterism.data import Source
from asterism.data.known import Lookup
from asterism.engine.encoding import Encoded
from asterism.engine.objective import by_view
from asterism.engine.settings import Settings
from asterism.methods.base import Method
from asterism.models.modes import evaluating
from asterism.types import (
    Batch,
    Outputs,
    Samples,
    join_outputs,
    join_views,
    on_device,
    outputs_on_device,
)


def training_views(source: Source, methods: Sequence[Method], settings: Settings) -> Views | None:
    """Return what makes the training views; None for samples that are taken as they come.

    Raises:
        ValueError: If virtual views are asked for of images that come augmented.
    """
    virtual = max([settings.trained_views, *(method.views for method in methods)]) - 1
    if virtual and source.augmented:
        raise ValueError(
            "virtual views are made of uint8 images; this dataset gives float images, which are "
            "taken as they come."
        )
    if source.image_shape is None or source.augmented:
        return None
    eighth = max(1, min(source.image_shape[1:]) // 8)
    padding = eighth if settings.padding is None else settings.padding
    strength = settings.randaugment_operations, settings.randaugment_magnitude
    return Views(virtual, settings.view_seed, padding, source.flip, *strength)


class Networks:
    """Runs both networks on the training views, chunk by chunk.

    No module: the teacher is not trained, not switched to train mode, not in the checkpoint.

    Attributes:
        seconds: Time spent on making views.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        *,
        settings: Settings,
        views: Views | None,
        known: Lookup | None,
        anchors: tuple[Samples, Outputs] | None,
    ) -> None:
        """Put the parts together.

        Args:
            student: The network that is trained.
            teacher: Its teacher, or None.
            settings: How to train.
            views: What makes the training views; None leaves samples as they come.
            known: The teacher's outputs where they need not be computed: no teacher is run then.
            anchors: The anchor samples, clean, and what the teacher returns for them.
        """
        self.student = student
        self.run_student = torch.compile(student) if settings.compile else student
        live = teacher is not None and known is None
        self.teacher = [teacher.eval().requires_grad_(False)] if live else []  # type: ignore[union-attr]
        self.batch_size, self.channels_last = settings.batch_size, settings.channels_last
        self.views, self.known, self.anchors = views, known, anchors
        self.view_count = settings.view_count
        self.seconds = 0.0

    def to(self, device: torch.device) -> None:
        """Move student, teacher and anchors."""
        for module in [self.student, *self.teacher]:
            module.to(device)
            if self.channels_last:
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.anchors is not None:
            samples, taught = self.anchors
            self.anchors = (on_device(samples, device), outputs_on_device(taught, device))

    def encode(
        self, batch: Batch, epoch: int, key: tuple[int, ...], *, eagerly: bool = False
    ) -> tuple[Encoded, list[Outputs], list[Outputs], Batch]:
        """Return both networks' outputs on each view, and the batch with the anchors' outputs.

        Args:
            batch: Samples as they come from the source.
            epoch: Number of the epoch, and so of the views.
            key: Seed of the random numbers that the student draws.
            eagerly: Whether to run the student as it is even if it is compiled: a compiled one's
                graph serves for a single backward pass.

        Returns:
            The student's outputs as they take gradients; on each view of the samples the student's
            and the teacher's (none without a teacher); and what methods may know of the batch.
        """
        run: Callable[[Samples], Outputs] = self.student if eagerly else self.run_student
        size = self.batch_size
        chunks = [slice(i, i + size) for i in range(0, len(batch.index), size)]
        taught: list[Outputs] = []
        number = epoch % self.view_count if self.view_count else epoch

        def encode(chunk: slice) -> Outputs:
            views = self._views(batch, chunk, number)
            outputs = run(join_views(views))
            if len(taught) < len(chunks):  # not when it is computed again
                taught.extend(self._taught(views, batch.index[chunk], number))
            return outputs

        def encode_nobody() -> Outputs:
            # This rank could read none of its samples: no rows, but as wide as the other ranks'.
            view = batch.views[0]
            none = view.new_zeros(1, *view.shape[1:]) if isinstance(view, Tensor) else ["a"]
            stranger = as_input(none)
            taught.extend(map(_no_rows, self._taught((stranger,), batch.index[:0], number)))
            with evaluating(self.student):
                return _no_rows(self.student(stranger))

        parts: list[Callable[[], Outputs]] = [partial(encode, chunk) for chunk in chunks]
        parts = parts or [encode_nobody]
        given: Samples = [] if self.anchors is None else self.anchors[0]
        anchors = [given[i : i + size] for i in range(0, len(given), size)]
        encoded = Encoded(self.student, [*parts, *(partial(run, x) for x in anchors)], key=key)
        views = len(batch.views) if self.views is None else 1 + self.views.virtual
        student = by_view(encoded.outputs[: len(parts)], views)
        teacher = by_view(taught, views) if taught else []
        described = None
        if self.anchors is not None:
            described = (join_outputs(encoded.outputs[len(parts) :]), self.anchors[1])
        return encoded, student, teacher, Batch((), batch.index, batch.target, described)

    @torch.no_grad()
    def _taught(self, views: tuple[Samples, ...], index: Tensor, number: int) -> Sequence[Outputs]:
        """Return the teacher's outputs, one view after the other; nothing without a teacher."""
        if self.known is not None:
            kinds = range(len(views))
            return [join_outputs([self.known.view(kind, number, index) for kind in kinds])]
        return [teacher(join_views(views)) for teacher in self.teacher]

    def _views(self, batch: Batch, chunk: slice, number: int) -> tuple[Samples, ...]:
        begun = time.perf_counter()
        samples = batch.views[0][chunk]
        if self.views is None or isinstance(samples, list):
            views: tuple[Samples, ...] = tuple(as_input(view[chunk]) for view in batch.views)
        else:
            views = self.views(samples, batch.index[chunk], number)
        self.seconds += time.perf_counter() - begun
        return views


def _no_rows(outputs: Outputs) -> Outputs:
    return Outputs(outputs.embedding[:0], None if outputs.logits is None else outputs.logits[:0])
