"""`Distillation`: the loss of a distillation, for a training loop of one's own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from asterism.distributed import shard_sizes
from asterism.engine.objective import Objective, by_view
from asterism.methods.base import Method, listed
from asterism.models import Spec, build, evaluating
from asterism.types import Batch, Outputs, Samples, join_views

Self = TypeVar("Self", bound="Distillation")


class Distillation(nn.Module):
    r"""Student, frozen teacher and methods as one module: samples in, named terms out.

    For a training loop that is not asterism's: plain PyTorch, `DistributedDataParallel`,
    accelerate, another library's trainer. Add the terms up and call `backward`; train
    `parameters()`, in which the heads of methods are and the teacher is not.

    On several ranks the outputs of all of them are gathered before the methods see them, with exact
    gradients: where a wrapper then *averages* the gradients over the ranks, as DDP does, they are
    those of one process with all samples. The task is scaled accordingly; do not multiply anything
    by the number of ranks. Wrap the whole `Distillation` in DDP, with `find_unused_parameters=True`
    if the student has parameters that no term uses, as a classifier without labels.

    The teacher is in eval mode always, under no-grad, and neither in `state_dict()` nor in
    `parameters()`; `.to()` moves it. It may be anything of a model: `Outputs`, a pair, one tensor.

    A loop that runs a network itself gives its outputs instead, `student=Outputs(…)`; without a
    student this module is the methods alone. Their heads see the same rows on every rank, and so
    have the same gradient whether or not anybody averages it.

    Attributes:
        student: The network that is trained; None if each call is given its outputs.
        methods: The methods, set up.

    Examples:
        >>> import asterism
        >>> student, teacher = nn.Linear(8, 4), nn.Linear(8, 16)
        >>> step = Distillation(student, teacher, [asterism.RKD()], example=torch.rand(2, 8))
        >>> sorted(step(torch.rand(5, 8)))
        ['angle', 'distance']
    """

    def __init__(
        self,
        student: nn.Module | None,
        teacher: nn.Module | None,
        methods: Method | Sequence[Method],
        *,
        example: Samples | tuple[Outputs, Outputs],
        task_weight: float = 1.0,
        rows: int | None = None,
        classes: int | None = None,
        local: bool = False,
    ) -> None:
        """Try both networks, and set the methods up.

        Args:
            student: The network that is trained: takes samples, returns `Outputs`, a pair
                (embedding, logits) or a tensor. None if each call is given the student's outputs.
            teacher: Its teacher, likewise; None if each call is given the teacher's outputs.
            methods: One method or several.
            example: Some samples as both networks take them, or what the untrained student and the
                teacher return for some, to learn widths from; a few thousand for methods that need
                a sample.
            task_weight: Factor of the cross-entropy, for calls with a target.
            rows: Number of training samples, for methods with a memory of them.
            classes: Number of classes, to tell logits from an embedding where a network returns a
                single tensor.
            local: Whether methods see the samples of this rank only.

        Raises:
            ValueError: If a network returns something else, or a method needs what is not there.
        """
        super().__init__()
        spec = Spec(classes, None)
        self.student = None if student is None else build(student, spec)
        # In a list: no submodule, so neither trained nor saved.
        self._teacher = [] if teacher is None else [build(teacher, spec)]
        for network in self._teacher:
            network.eval().requires_grad_(False)
        chosen = listed(methods)
        self._methods = tuple(chosen)
        self.objective = Objective(chosen, task_weight=task_weight, train_views=1, local=local)
        self._set_up(chosen, example, rows)

    def _set_up(
        self,
        methods: Sequence[Method],
        example: Samples | tuple[Outputs, Outputs],
        rows: int | None,
    ) -> None:
        student, teacher = example if isinstance(example, tuple) else self._tried(example)
        for method in methods:
            if "anchors" in method.needs:
                raise ValueError(
                    f"{type(method).__name__} compares with fixed anchor samples, which a loop of "
                    "one's own has to give: call the method itself, with Batch(anchors=…)."
                )
            known = {"sample": (student, teacher)} if "sample" in method.needs else {}
            method.setup(
                student_dim=student.embedding.shape[1],
                teacher_dim=teacher.embedding.shape[1],
                rows=rows,
                **known,
            )

    @torch.no_grad()
    def _tried(self, example: Samples) -> tuple[Outputs, Outputs]:
        """Return what both networks make of some samples, clean and in eval mode."""
        if self.student is None:
            raise ValueError("without a student, example is (Outputs, Outputs): both networks'.")
        with evaluating(self.student):
            student: Outputs = self.student(example)
        return student, self._teacher[0](example) if self._teacher else student

    @property
    def methods(self) -> nn.ModuleList:
        """Return the methods."""
        return self.objective.methods

    def forward(
        self,
        *views: Samples,
        target: Tensor | None = None,
        index: Tensor | None = None,
        student: Outputs | None = None,
        teacher: Outputs | None = None,
    ) -> dict[str, Tensor]:
        """Return the weighted terms by name.

        Args:
            views: The samples of this rank, in as many views as the methods compare; none where
                both networks' outputs are known.
            target: Class numbers, shape `(n,)`; with them the cross-entropy is a term, `task`.
            index: Numbers of the samples in the data, for methods that remember samples.
            student: The student's outputs, one view after the other, where they are known.
            teacher: The teacher's, likewise.

        Raises:
            ValueError: If a network and its outputs are missing, a method lacks the numbers of the
                samples, or there is nothing to train on.
        """
        outputs = self._outputs("student", self.student, views) if student is None else student
        taught = self._taught(views) if teacher is None else teacher
        count = len(views) or max(self.objective.train_views, *(m.views for m in self._methods))
        n = len(outputs.embedding) // count
        device = outputs.embedding.device
        if index is None:
            self._refuse_without_index()
            index = torch.arange(n, device=device)
        batch = Batch((), index, target)
        return self.objective.terms(
            by_view([outputs], count), by_view([taught], count), batch, shard_sizes(n, device)
        )

    @torch.no_grad()
    def _taught(self, views: Sequence[Samples]) -> Outputs:
        return self._outputs("teacher", self._teacher[0] if self._teacher else None, views)

    def _outputs(self, role: str, network: nn.Module | None, views: Sequence[Samples]) -> Outputs:
        if network is None or not views:
            missing = f"there is no {role}" if network is None else f"the {role} has no samples"
            raise ValueError(f"{missing}: give its outputs, {role}=Outputs(…).")
        outputs: Outputs = network(join_views(views))
        return outputs

    def _refuse_without_index(self) -> None:
        for method in self._methods:
            if "index" in method.needs:
                raise ValueError(
                    f"{type(method).__name__} remembers each sample by its number in the data: "
                    "give index=…, shape (n,)."
                )

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], *args: Any, **options: Any) -> Self:
        """Move the teacher along, which is no submodule."""
        for network in self._teacher:
            network._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, *args, **options)  # type: ignore[no-untyped-call]
        return self
