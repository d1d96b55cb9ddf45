"""The loss of a step: the task's and the methods' terms, over the samples of all ranks."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from asterism.distributed import gather_rows, ranks
from asterism.engine.task import CrossEntropyTask, Task
from asterism.engine.training import Training
from asterism.methods.base import Method
from asterism.models import in_own_code
from asterism.types import Batch, Outputs, join_outputs

# What the engine calls its own terms.
OWN_TERMS = ("task", "loss", "gradient")


class Objective(nn.Module):
    """What is minimised: the loss with the labels and the terms of the methods.

    Attributes:
        methods: The methods, set up.
        loss: The loss with the labels.
    """

    def __init__(
        self,
        methods: Sequence[Method],
        *,
        task_weight: float,
        train_views: int,
        local: bool,
        loss: Task | None = None,
        prefixes: Sequence[int] = (),
    ) -> None:
        """Name the terms.

        Args:
            methods: The methods, set up.
            task_weight: Factor of the loss with the labels.
            train_views: How many views the task and the methods of one view see, as more samples.
            local: Whether methods see the samples of this rank only.
            loss: The loss with the labels; by default cross-entropy.
            prefixes: Numbers of first columns of the student that are trained by themselves, too.
        """
        super().__init__()
        self.methods = nn.ModuleList(methods)
        self.loss = loss or CrossEntropyTask()
        self.named = list(zip(methods, _term_names(methods), strict=True))
        self.task_weight = task_weight
        self.train_views = train_views
        self.local = local
        self.prefixes = tuple(prefixes)

    def terms(
        self,
        student: Sequence[Outputs],
        teacher: Sequence[Outputs],
        batch: Batch,
        sizes: Sequence[int],
    ) -> dict[str, Tensor]:
        """Return all terms by name, the task's first; arguments as for `relations`.

        Raises:
            ValueError: If there is none, or a method returns something else.
        """
        relations = self.relations(student, teacher, batch, sizes) if teacher else {}
        task = self.task(student, batch.target, sizes)
        terms = relations if task is None else {"task": task, **relations}
        if not terms:
            raise ValueError("nothing to train on: no label is used and no method is given.")
        return terms

    def task(
        self, student: Sequence[Outputs], target: Tensor | None, sizes: Sequence[int]
    ) -> Tensor | None:
        """Return the weighted loss with the labels; None without labels or what it is of.

        Of a loss of scores it is this rank's share, scaled so that the mean of the shares over the
        ranks is the mean over all samples; of one of embeddings that of the rows of all ranks, as
        the methods' terms.

        Args:
            student: The student's outputs on each view of this rank's samples.
            target: Their class numbers.
            sizes: How many samples each rank has.
        """
        seen = student[: self.train_views]
        if target is None or not self.task_weight:
            return None
        if not self.loss.of_scores:
            if not self.local:
                seen = [_gathered(view, sizes) for view in seen]
                target = gather_rows(target, sizes)
            rows, classes = join_outputs(seen), target.repeat(len(seen))
            each = [self.loss(shortened, classes) for shortened in self._shortened(rows)]
            return self.task_weight * torch.stack(each).mean()
        if seen[0].logits is None:
            return None
        losses: Tensor = self.loss(join_outputs(seen), target.repeat(len(seen)))
        return self.task_weight * ranks() * losses.sum() / (sum(sizes) * len(seen))

    def relations(
        self,
        student: Sequence[Outputs],
        teacher: Sequence[Outputs],
        batch: Batch,
        sizes: Sequence[int],
    ) -> dict[str, Tensor]:
        """Return the methods' terms by name.

        Args:
            student: The student's outputs on each view of this rank's samples.
            teacher: The teacher's.
            batch: Their target and index, and the anchors.
            sizes: How many samples each rank has.

        Raises:
            ValueError: If a method returns something else, or one of the user's own fails.
        """
        target = batch.target
        index = batch.index
        if not self.local:
            student, teacher = ([_gathered(v, sizes) for v in x] for x in (student, teacher))
            target = None if target is None else gather_rows(target, sizes)
            index = gather_rows(index, sizes)
        terms: dict[str, Tensor] = {}
        for method, names in self.named:
            # A method of one view takes all that are trained on; others ask for theirs.
            repeats = self.train_views if method.views == 1 else 1
            count = repeats * method.views
            seen = Batch(
                (),
                index.repeat(repeats),
                None if target is None else target.repeat(repeats),
                batch.anchors,
            )
            outputs = join_outputs(student[:count]), join_outputs(teacher[:count])
            own = self._terms_of(method, *outputs, seen)
            terms |= {names.format(name): value for name, value in own.items()}
        return terms

    def _terms_of(
        self, method: Method, student: Outputs, teacher: Outputs, batch: Batch
    ) -> dict[str, Tensor]:
        """Return a method's terms: of all columns and of the first ones, the mean."""
        whole = "logits" in method.needs  # it compares scores, which have no prefixes
        known = None if batch.anchors is None else self._shortened(batch.anchors[0])
        widths: list[dict[str, Tensor]] = []
        for i, seen in enumerate([student] if whole else self._shortened(student)):
            if known is not None and batch.anchors is not None:
                batch = replace(batch, anchors=(known[i], batch.anchors[1]))
            with in_own_code(method):
                own = method(seen, teacher, batch)
            _check_terms(method, own)
            widths.append(own)
        if len(widths) == 1:
            return widths[0]
        return {name: torch.stack([each[name] for each in widths]).mean() for name in widths[0]}

    def _shortened(self, outputs: Outputs) -> list[Outputs]:
        """Return outputs with all columns, and for each prefix with all others zero.

        Distances, angles and cosines of rows do not see columns of zeros, and heads and maps go on
        finding as many columns as they were made for.
        """
        columns = torch.arange(outputs.embedding.shape[1], device=outputs.embedding.device)
        kept = [outputs.embedding * (columns < width) for width in self.prefixes]
        return [outputs, *(outputs._replace(embedding=embedding) for embedding in kept)]


def objective_of(training: Training, methods: Sequence[Method] | None = None) -> Objective:
    """Return the objective of a training, with its methods or copies of them."""
    settings = training.settings
    return Objective(
        training.methods if methods is None else methods,
        task_weight=settings.task_weight if training.use_labels else 0.0,
        train_views=settings.trained_views,
        local=settings.relation_scope == "local",
        loss=training.task if methods is None else copy.deepcopy(training.task),
        prefixes=settings.prefixes,
    )


def by_view(parts: Sequence[Outputs], views: int) -> list[Outputs]:
    """Return the outputs of each view of all samples.

    Args:
        parts: Outputs of some samples each, one view after the other.
        views: Number of views.
    """
    split = [[_chunk(x, views) for x in part] for part in parts]
    return [
        join_outputs([Outputs(embeddings[v], logits[v]) for embeddings, logits in split])  # type: ignore[arg-type]
        for v in range(views)
    ]


def _chunk(rows: Tensor | None, views: int) -> Sequence[Tensor | None]:
    return [None] * views if rows is None else rows.tensor_split(views)


def _gathered(outputs: Outputs, sizes: Sequence[int]) -> Outputs:
    return Outputs(*(None if x is None else gather_rows(x, sizes) for x in outputs))  # type: ignore[arg-type]


def _check_terms(method: Method, returned: Any) -> None:
    terms = returned if isinstance(returned, Mapping) else {}
    scalars = [isinstance(value, Tensor) and value.ndim == 0 for value in terms.values()]
    if not isinstance(returned, Mapping) or not all(scalars):
        got = {name: _kind(value) for name, value in terms.items()} or _kind(returned)
        raise ValueError(
            f"{type(method).__name__}.forward must return a dict of scalar tensors by name, "
            f"{{'relation': loss}} say; got {got}."
        )
    if taken := [name for name in OWN_TERMS if name in terms]:
        raise ValueError(
            f"{type(method).__name__} has a term named {taken[0]!r}, which is one of the engine's "
            f"own ({', '.join(OWN_TERMS)}): give it another name."
        )


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return type(value).__name__


def _term_names(methods: Sequence[Method]) -> list[str]:
    """Return patterns for the names of terms: several methods need their own name in front."""
    if len(methods) < 2:
        return ["{}"] * len(methods)
    classes = [type(method).__name__.lower() for method in methods]
    return [
        f"{name}{'' if classes.count(name) == 1 else classes[:i].count(name) + 1}/{{}}"
        for i, name in enumerate(classes)
    ]
