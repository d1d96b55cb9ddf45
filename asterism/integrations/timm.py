"""A task of timm's training script: its criterion, and methods of a teacher."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.task import TrainingTask
from timm.task.distillation import DistillationTeacher
from timm.utils import unwrap_model
from torch import Tensor, nn

from asterism.engine import Distillation
from asterism.methods.base import Method, listed
from asterism.models import evaluating
from asterism.models.adapt import Adapted
from asterism.types import Outputs


class DistillTask(TrainingTask):
    """A student's own criterion and the terms of methods, in the form of timm's tasks.

    The embedding of both networks is what enters their classifier. The teacher gets the images in
    its own normalisation. In DDP (`prepare_distributed`) relations see the images of all ranks.
    The task's state in a checkpoint is that of heads and banks.

    Targets that are mixed (mixup, cutmix) are no classes, and methods that need them refuse. timm
    hands out one view without numbers: VRM, CRD and fixed anchors are refused.

    Attributes:
        teacher: The teacher, as timm wraps it.
        trainable_module: Student and heads; what DDP wraps.
    """

    def __init__(
        self,
        student_model: nn.Module,
        teacher_model: nn.Module | DistillationTeacher,
        methods: Method | Sequence[Method],
        criterion: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        task_loss_weight: float = 1.0,
        example: Tensor | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Try both networks, and set the methods up.

        Args:
            student_model: A model of timm.
            teacher_model: Another one; with its weights, as of `timm.create_model`.
            methods: One method or several.
            criterion: The student's own loss; by default the cross-entropy.
            task_loss_weight: Factor of that loss.
            example: Two images or more, for a student that is not given those of its configuration.
            device: Where the task runs.
            dtype: Its floating-point type.

        Raises:
            ValueError: If a method needs what timm does not hand out.
        """
        super().__init__(device=device, dtype=dtype, verbose=False)
        student = unwrap_model(student_model)
        if not isinstance(teacher_model, DistillationTeacher):
            teacher_model = DistillationTeacher(teacher_model, device=device, dtype=dtype)
        self.teacher = teacher_model.eval().requires_grad_(False)
        self.criterion = criterion or nn.CrossEntropyLoss()
        self.task_loss_weight = task_loss_weight
        self._read_teacher = [Adapted(self.teacher.model, classes=student.num_classes)]
        self._read_teacher[0].eval()
        for name in ("mean", "std"):
            values = torch.tensor(student.pretrained_cfg[name], device=self.device)
            values = values.to(self.dtype).view(1, -1, 1, 1)
            self.register_buffer(f"student_{name}", values, persistent=False)
        chosen = listed(methods)
        if example is None:
            example = torch.zeros(2, *student.pretrained_cfg["input_size"])
        images = example.to(self.device, self.dtype)
        self.trainable_module: nn.Module = self._set_up(student_model, chosen, images)

    def _set_up(self, student: nn.Module, methods: Sequence[Method], images: Tensor) -> "Trainable":
        for method in methods:
            missing = method.needs & {"index", "sample"}
            if method.views > 1 or missing:
                raise ValueError(
                    f"{type(method).__name__} needs {', '.join(sorted(missing)) or 'two views'}, "
                    "and timm's tasks get a batch of images alone: take RKD, RRD, DIST or KD, or "
                    "asterism.Distillation in a loop of your own."
                )
        made = Trainable(student, unwrap_model(student).num_classes)
        with evaluating(made.student):
            example = (made.student(images), self._taught(images))
        made.distillation = Distillation(None, None, methods, example=example, task_weight=0.0)
        made.distillation.to(self.device, self.dtype)
        return made

    @torch.no_grad()
    def _taught(self, images: Tensor) -> Outputs:
        images = self.teacher.normalize_input(images, self.student_mean, self.student_std)
        outputs: Outputs = self._read_teacher[0](images.detach())
        return outputs

    def train(self, mode: bool = True) -> "DistillTask":
        """Set the mode of the student and the heads; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def prepare_distributed(self, device_ids: Any = None, **options: Any) -> "DistillTask":
        """Wrap student and heads in DistributedDataParallel."""
        ddp = nn.parallel.DistributedDataParallel
        self.trainable_module = ddp(self.trainable_module, device_ids=device_ids, **options)
        return self

    def get_eval_model(self, module: nn.Module | None = None, ema: bool = False) -> Any:
        """Return the student alone."""
        module = self.get_trainable_module(ema=ema) if module is None else module
        inner: Any = unwrap_model(module)
        return inner.student.module if isinstance(inner, Trainable) else inner

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Any]:
        """Return heads and banks."""
        module = self.get_trainable_module(ema=ema) if module is None else module
        inner: Any = unwrap_model(module)
        state: dict[str, Any] = inner.distillation.state_dict()
        return state

    def load_task_state(
        self,
        state: dict[str, Any] | None,
        strict: bool = True,
        module: nn.Module | None = None,
        ema: bool = False,
    ) -> None:
        """Load heads and banks."""
        module = self.get_trainable_module(ema=ema) if module is None else module
        inner: Any = unwrap_model(module)
        inner.distillation.load_state_dict(state or {}, strict=strict)

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return `loss`, the student's `output`, the `task_loss` and the terms by name."""
        classes = target if target.ndim == 1 and not target.is_floating_point() else None
        output, terms = self.trainable_module(input, self._taught(input), classes)
        task = self.criterion(output, target)
        loss = self.task_loss_weight * task + torch.stack(list(terms.values())).sum()
        return {"loss": loss, "output": output, "task_loss": task, **terms}


class Trainable(nn.Module):
    """Student and heads."""

    distillation: Distillation

    def __init__(self, student: nn.Module, classes: int) -> None:
        """Wrap a student."""
        super().__init__()
        self.student = Adapted(student, classes=classes)

    def forward(
        self, images: Tensor, taught: Outputs, target: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the student's scores and the terms by name."""
        outputs = self.student(images)
        return outputs.logits, self.distillation(student=outputs, teacher=taught, target=target)
