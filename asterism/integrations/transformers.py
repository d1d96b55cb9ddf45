"""`transformers.Trainer` with a teacher and methods."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asterism.distributed import broadcast, mean_over_ranks
from asterism.engine import Distillation
from asterism.methods.base import Method, listed
from asterism.models import evaluating
from asterism.models.adapt import Adapted
from asterism.models.hub.saved import pooled
from asterism.models.text import attended
from asterism.types import Outputs, join_outputs, outputs_on_device

# What of a checkpoint belongs to the methods: heads, banks, fixed maps.
FILE = "methods.safetensors"
# Training rows that methods which look at a sample get, and others; and so many at a time.
SAMPLE, FEW, AT_ONCE = 4000, 2, 64
# What stands before the names of a batch that are for the teacher.
TAUGHT = "teacher_"

# The embedding `(n, d)` of what a network returned for some inputs.
Embed = Callable[[Any, Mapping[str, Any]], Tensor]


class ClearHeads(transformers.TrainerCallback):
    """Clears the gradients of heads, which the Trainer's `model.zero_grad()` does not reach."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Clear what was left by an evaluation of the user's own."""
        given["optimizer"].zero_grad()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Clear those of this step."""
        given["optimizer"].zero_grad()


class KeepsMethods:
    """A trainer of the transformers library whose checkpoints hold heads and banks, too.

    They lie in `methods.safetensors` beside the student, which is saved as ever.
    """

    args: Any
    model: nn.Module
    state: Any

    def __init__(self, *given: Any, **options: Any) -> None:
        """Make the trainer."""
        super().__init__(*given, **options)
        self.add_callback(ClearHeads())  # type: ignore[attr-defined]

    def kept(self) -> nn.Module:
        """Return the module in which heads and banks are."""
        raise NotImplementedError

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict=state_dict)  # type: ignore[misc]
        tensors = {k: v.detach().clone().contiguous() for k, v in self._own().items()}
        if self.args.should_save and tensors:
            save_file(tensors, Path(output_dir or self.args.output_dir) / FILE)

    def _load_from_checkpoint(self, folder: str, *rest: Any) -> None:
        super()._load_from_checkpoint(folder, *rest)  # type: ignore[misc]
        self._restore(folder)

    def _restore(self, folder: str | Path) -> None:
        own = self._own()
        if not own:
            return
        file = Path(folder) / FILE
        if not file.is_file():
            raise FileNotFoundError(
                f"{folder} has no {FILE}, the heads and banks of its methods: it was written by "
                "another trainer. Begin anew from its student."
            )
        found = load_file(file)
        wrong = sorted(found.keys() ^ own.keys())
        wrong += [k for k in found if k in own and found[k].shape != own[k].shape]
        if wrong:
            raise ValueError(
                f"{file} is of other methods: {wrong[0]} does not fit. Name those that the "
                "training was begun with."
            )
        with torch.no_grad():
            for name, tensor in found.items():
                own[name].copy_(tensor)

    def _own(self) -> dict[str, Tensor]:
        """Return the tensors that are not the student's, by name."""
        students = {id(x) for x in self.model.state_dict(keep_vars=True).values()}
        every = self.kept().state_dict(keep_vars=True)
        return {k: v for k, v in every.items() if id(v) not in students}


class DistillTrainer(KeepsMethods, transformers.Trainer):
    """`transformers.Trainer` whose loss is the student's own and the terms of methods.

    Everything else is the Trainer's: arguments, collator, evaluation, checkpoints, which hold the
    student as `from_pretrained` reads it and the methods' heads and banks beside it. Logs have each
    term by name. The student's own loss, as the model computes it of `labels`, is the term `task`.

    The teacher gets what the student gets, but for columns whose names begin with `teacher_`: if
    there are any, it gets these alone, without that beginning (`teacher_input_ids`). Without a
    teacher the columns are its outputs, `teacher_embedding` and `teacher_logits`. A column `index`
    numbers the samples, for methods that remember them.

    On several processes relations see the samples of all of them, with exact gradients. With
    gradient accumulation they see one batch of all processes at a time. Methods of two views (VRM)
    and fixed anchors (RRKD with anchors) are refused: the Trainer hands out one view of a batch.

    Attributes:
        distillation: The methods, set up; `distillation.methods[i].aligner()` maps a student into
            the teacher's space, for methods that fix one.
    """

    def __init__(
        self,
        model: nn.Module,
        args: Any = None,
        *,
        methods: Method | Sequence[Method],
        teacher: nn.Module | None = None,
        task_weight: float = 1.0,
        embed: Embed | None = None,
        **options: Any,
    ) -> None:
        """Try both networks on training samples, and set the methods up.

        Args:
            model: The student, a model of the library or any that is called as one.
            args: As the Trainer's.
            methods: One method or several.
            teacher: The teacher, likewise; None where columns hold its outputs.
            task_weight: Factor of the student's own loss.
            embed: What the embedding is, of a network's output and its inputs. By default what
                enters the classifier, if there is one; else the mean of all tokens that are no
                padding, the first token of an image, or the pooled map.
            options: As the Trainer's; `train_dataset` is needed.

        Raises:
            ValueError: If a network returns something else, or a method needs what is not there.
        """
        super().__init__(model=model, args=args, **options)
        if self.args.n_gpu > 1 or self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                "relations across several devices need a process for each and the whole student in "
                "it: start with torchrun or accelerate launch, without FSDP or DeepSpeed."
            )
        # The loss is a mean over the batch: the Trainer divides by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.loss_is_scaled_for_ga = False
        self.task_weight = task_weight
        self.embed = embed or embedding_of
        self._student = _adapted(self.model)
        self._teacher = None if teacher is None else _adapted(teacher)
        if self._teacher is not None:
            self._teacher.eval().requires_grad_(False).to(self.args.device)
        self._terms: dict[str, list[Tensor]] = {}
        chosen = listed(methods)
        refuse_views(chosen, "transformers.Trainer")
        example = self._example(SAMPLE if any("sample" in m.needs for m in chosen) else FEW)
        rows = len(self.train_dataset) if hasattr(self.train_dataset, "__len__") else None
        made = Distillation(None, None, chosen, example=example, task_weight=0.0, rows=rows)
        self.distillation = made.to(self.args.device)
        broadcast(self.distillation)

    def kept(self) -> nn.Module:
        """Return the methods."""
        return self.distillation

    @torch.no_grad()
    def _example(self, count: int) -> tuple[Outputs, Outputs]:
        """Return what both networks make of the first training samples."""
        if self.train_dataset is None:
            raise ValueError("DistillTrainer needs a train_dataset, to learn widths from.")
        rows = list(itertools.islice(iter(self.train_dataset), count))
        collate = self._get_collator_with_removed_columns(self.data_collator)
        students, teachers = [], []
        network = self.model.to(self.args.device)
        with evaluating(self._student):
            for begin in range(0, len(rows), AT_ONCE):
                batch = self._prepare_inputs(collate(rows[begin : begin + AT_ONCE]))
                own, taught = _parted(batch)
                own.pop("index", None)
                own.pop("labels", None)
                students.append(self._student.of(partial(self._run, network, own)))
                teachers.append(self._taught(own, taught))
        return join_outputs(students), join_outputs(teachers)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the student's own loss and the terms as one; arguments as the Trainer's."""
        own, taught = _parted(inputs)
        index = own.pop("index", None)
        labels = own.get("labels")
        held: list[Any] = []

        def run() -> Any:
            if labels is None:
                held.extend((None, model(**own)))
            else:
                held.extend(super(DistillTrainer, self).compute_loss(model, own, True))
            return self._plain(held[1], own)

        student = self._student.of(run)
        task, outputs = held
        numbers = labels is not None and labels.ndim == 1 and not labels.is_floating_point()
        self.distillation.train(model.training)
        terms = self.distillation(
            student=student,
            teacher=self._taught({k: v for k, v in own.items() if k != "labels"}, taught),
            target=labels if numbers else None,
            index=index,
        )
        if task is not None:
            terms = {"task": self.task_weight * task, **terms}
        if model.training:
            for name, value in terms.items():
                self._terms.setdefault(name, []).append(value.detach())
        loss = torch.stack(list(terms.values())).sum()
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], *rest: Any, **options: Any) -> None:
        """Log the mean of each term since the last time beside the loss."""
        if "loss" in logs:
            means = {k: mean_over_ranks(torch.stack(v).mean()) for k, v in self._terms.items()}
            logs = {**logs, **{k: float(mean) for k, mean in means.items()}}
            self._terms.clear()
        super().log(logs, *rest, **options)

    def create_optimizer(self, *rest: Any) -> Any:
        """Return the optimiser, with the heads of the methods in a group of their own."""
        optimizer = super().create_optimizer(*rest)
        known = {id(p) for group in optimizer.param_groups for p in group["params"]}
        heads = [p for p in self.distillation.parameters() if p.requires_grad]
        if new := [p for p in heads if id(p) not in known]:
            optimizer.add_param_group({"params": new, "weight_decay": self.args.weight_decay})
        return optimizer

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *rest: Any, **more: Any):  # type: ignore[no-untyped-def]
        """Run the student alone where there are no labels, without the teacher's columns."""
        if not any(name in inputs for name in self.label_names):
            inputs = {k: v for k, v in _parted(inputs)[0].items() if k != "index"}
        return super().prediction_step(model, inputs, *rest, **more)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        self._restore(self.state.best_model_checkpoint)

    def _restore(self, folder: str | Path) -> None:
        super()._restore(folder)
        if isinstance(self.model, transformers.PreTrainedModel):
            # Some models are saved under other names than they have (ViT in transformers 5), and
            # the Trainer leaves those weights as they are; from_pretrained knows both.
            model = self.model
            saved = type(model).from_pretrained(folder, config=model.config, dtype=model.dtype)
            model.load_state_dict(saved.state_dict())

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        named = getattr(self.train_dataset, "column_names", None) or []
        ours = [name for name in named if name.startswith(TAUGHT) or name == "index"]
        self._signature_columns += [x for x in ours if x not in self._signature_columns]

    def _run(self, network: nn.Module, inputs: Mapping[str, Any]) -> Any:
        return self._plain(network(**inputs), inputs)

    def _plain(self, output: Any, inputs: Mapping[str, Any]) -> Any:
        """Return of a network's output what `Adapted` reads."""
        logits = getattr(output, "logits", None)
        if self.embed is embedding_of and logits is not None:
            return logits  # and the embedding is what entered their layer
        return Outputs(self.embed(output, inputs), logits)

    @torch.no_grad()
    def _taught(self, own: dict[str, Any], taught: dict[str, Any]) -> Outputs:
        network = self._teacher
        if network is not None:
            given = taught or own
            return network.of(partial(self._run, network.module, given))
        if "embedding" not in taught:
            raise ValueError(
                "there is no teacher: name one, teacher=…, or give its outputs in the columns "
                "teacher_embedding and, for methods that compare them, teacher_logits."
            )
        outputs = Outputs(taught["embedding"], taught.get("logits"))
        return outputs_on_device(outputs, self.args.device)


def embedding_of(output: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Return the embedding `(n, d)` of an encoder's output."""
    last: Tensor | None = getattr(output, "last_hidden_state", None)
    if last is None:
        raise ValueError(
            f"nothing says what the embedding of a {type(output).__name__} is: give embed=…, a "
            "function of the output and the inputs."
        )
    mask = inputs.get("attention_mask")
    if mask is not None:
        return pooled(last, attended(mask.bool()), "mean")
    pooler: Tensor | None = getattr(output, "pooler_output", None)
    if last.ndim == 4:
        return last.mean((2, 3)) if pooler is None else pooler.flatten(1)
    return last[:, 0]


def _adapted(network: nn.Module) -> Adapted:
    return Adapted(network, classes=getattr(getattr(network, "config", None), "num_labels", None))


def _parted(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the student's part of a batch, and the teacher's without what marks it."""
    own = {k: v for k, v in inputs.items() if not k.startswith(TAUGHT)}
    return own, {k.removeprefix(TAUGHT): v for k, v in inputs.items() if k not in own}


def refuse_views(methods: Sequence[Method], trainer: str) -> None:
    """Raise a ValueError for a method of several views, which a trainer does not hand out."""
    for method in methods:
        if method.views > 1:
            raise ValueError(
                f"{type(method).__name__} compares {method.views} views of each sample, and "
                f"{trainer} hands out one: take asterism.Distillation in a loop of your own."
            )
