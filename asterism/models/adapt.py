"""Anyone's own module as a model that returns `Outputs`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from asterism.modality.image import GREY
from asterism.types import Outputs, Samples


class Wrapper(nn.Module):
    """A model around another one, whose weights keep the names that their author gave them.

    Attributes:
        module: The other one.
    """

    def __init__(self, module: nn.Module) -> None:
        """Wrap a module."""
        super().__init__()
        self.module = module


class OutputError(ValueError):
    """A module's output that is none of a model; the message says why, and the way out."""


class Channels(Wrapper):
    """Give a model its own number of channels: grey images of colours, or grey ones repeated.

    Attributes:
        channels: How many the model takes: 1 or 3.
    """

    def __init__(self, module: nn.Module, channels: int) -> None:
        """Wrap a model."""
        super().__init__(module)
        self.channels = channels

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits of images of one or three channels."""
        if self.channels == 1 and images.shape[1] == 3:
            weights = images.new_tensor(GREY).view(1, 3, 1, 1)
            images = (images * weights).sum(1, keepdim=True)
        elif self.channels == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        outputs: Outputs = self.module(images)
        return outputs


class Scored(NamedTuple):
    """One pass through a linear layer as wide as there are classes."""

    layer: str
    entered: Tensor
    left: Tensor


class Form(NamedTuple):
    """What a module returns in eval mode, by which it is known what it returns in train mode.

    Attributes:
        alone: Whether it is one tensor, and so neither a pair nor `Outputs`.
        width: Columns of the scores; of the embedding, where there are no scores.
        layer: The linear layer whose output the scores are, if they are one's.
    """

    alone: bool
    width: int
    layer: str | None


class Adapted(Wrapper):
    """Bring what a module returns into the form of `Outputs`.

    Accepted are `Outputs`, a pair (embedding, logits), the names `logits` and `embedding` in a dict
    or a named tuple, a single tensor, and the two forms of distillation code, (scores, dict of
    features) and ([features], scores). A single tensor as wide as there are classes is taken for
    logits, and the embedding is then what enters the linear layer that they come from; any other
    single tensor is the embedding. `embedding` names the submodule whose output is the embedding
    instead.

    A module that returns more in train mode, as an auxiliary classifier, gives what it gives in
    eval mode: the output of the same layer, or else the only one of its width. If that does not say
    which, it is refused.
    """

    def __init__(
        self, module: nn.Module, *, classes: int | None = None, embedding: str | None = None
    ) -> None:
        """Wrap a module.

        Args:
            module: Takes images in [0, 1], or texts; preparing them is its own business. It gets
                images of its own, which it may change in place.
            classes: Number of classes of the data, if they have labels.
            embedding: Name of the submodule whose output is the embedding.

        Raises:
            ValueError: If there is no such submodule.
        """
        super().__init__(module)
        self.classes = classes
        self.embedding = embedding
        self.form: Form | None = None
        if embedding is not None and embedding not in dict(module.named_modules()):
            names = (name for name, _ in module.named_modules() if name)
            raise ValueError(
                f"the model has no submodule {embedding!r} to take the embedding from: choose from "
                f"{', '.join(names)}."
            )

    def forward(self, samples: Samples) -> Outputs:
        """Return embedding and logits.

        Raises:
            ValueError: If the module returns something else.
        """
        given = samples.clone() if isinstance(samples, Tensor) else list(samples)
        return self.of(lambda: self.module(given))

    def of(self, run: Callable[[], Any]) -> Outputs:
        """Return embedding and logits of what a call of the module returns, however it is called.

        Args:
            run: Calls the module once, or what is wrapped around it, and returns its output.

        Raises:
            ValueError: If that is something else.
        """
        passes: list[Scored] = []
        named: list[Any] = []
        with self._watching(passes, named):
            output = run()
        embedding, logits = self._read(output, passes)
        embedding = named[-1] if named else embedding
        if not isinstance(embedding, Tensor) or embedding.ndim < 2:
            raise _unreadable(embedding)
        if logits is not None and logits.ndim != 2:
            raise _unreadable(output)
        if not all(x is None or x.is_floating_point() for x in (embedding, logits)):
            raise OutputError(
                "a model must return floating-point numbers; this one returned "
                f"{described(output)} of {embedding.dtype if logits is None else logits.dtype}."
            )
        if embedding.ndim == 4:
            embedding = embedding.mean((2, 3))  # a feature map: average pool
        return Outputs(torch.flatten(embedding, 1), logits)

    @contextmanager
    def _watching(self, passes: list[Scored], named: list[Any]) -> Iterator[None]:
        """Note the passes through classifiers, and what leaves the named submodule."""

        def note(name: str, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor):
                passes.append(Scored(name, args[0], output))

        # Hooks for this call only: the module stays as its owner made it.
        hooks = []
        for name, layer in self.module.named_modules():
            if name == self.embedding:
                hooks.append(layer.register_forward_hook(lambda m, args, out: named.append(out)))
            if isinstance(layer, nn.Linear) and layer.out_features == self.classes:
                hooks.append(
                    layer.register_forward_hook(
                        lambda m, args, out, name=name: note(name, args, out)
                    )
                )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _read(self, output: Any, passes: Sequence[Scored]) -> tuple[Any, Any]:
        """Return embedding and logits, and keep the form of what is returned in eval mode."""
        output = self._by_names(output)
        if self.training and self.form is not None:
            output = _main(output, passes, self.form)
        if alone := isinstance(output, Tensor):
            source = _source(output, passes, self.form) if self._is_scores(output) else None
            before = output if source is None else source.entered
            embedding, logits = before, output if self._is_scores(output) else None
        else:
            embedding, logits = self._pair(output, passes)
        if not self.training:
            wide = embedding if logits is None else logits
            layer = next((run.layer for run in passes if run.left is logits), None)
            form = Form(alone, wide.shape[-1], layer)
            if form != self.form:  # a compiled module takes each assignment for a change
                self.form = form
        return embedding, logits

    def _by_names(self, output: Any) -> Any:
        """Return what goes by the names of `Outputs` as such, and what stands alone by itself."""
        if isinstance(output, Outputs | Tensor):
            return output
        fields = _fields(output)
        logits = fields.get("logits")
        if "embedding" in fields:
            return Outputs(fields["embedding"], logits)
        if logits is not None:
            return logits if self._is_scores(logits) else Outputs(logits, logits)
        if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
            # (scores, dict of features), as distillation code has it
            if all(not isinstance(x, Tensor) and x is not None for x in output[1:]):
                return output[0]
        return output

    def _pair(self, output: Any, passes: Sequence[Scored]) -> tuple[Tensor, Tensor | None]:
        """Return embedding and logits of a pair, or say what is wrong with it."""
        if not isinstance(output, tuple | list) or len(output) != 2:
            raise _unreadable(output)
        embedding, logits = output
        if isinstance(embedding, tuple | list) and embedding:
            embedding = embedding[-1]  # ([features], scores), as distillation code has it
        if not isinstance(embedding, Tensor) or not isinstance(logits, Tensor | None):
            raise _unreadable(output)
        if isinstance(output, Outputs) or not self._is_scores(embedding):
            return embedding, logits
        if not self._is_scores(logits):
            raise OutputError(
                "a model must return a pair as (embedding, logits); this one has it the other way "
                f"round: {described(output)}, of {self.classes} classes. Return "
                "asterism.Outputs(embedding, logits)."
            )
        if all(any(run.left is x for run in passes) for x in (embedding, logits)):
            raise OutputError(
                f"a model must say which scores are its main ones; this one returned those of two "
                f"classifiers, {described(output)}: return asterism.Outputs(embedding, logits)."
            )
        return embedding, logits

    def _is_scores(self, output: Any) -> TypeGuard[Tensor]:
        wide = isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] == self.classes
        return bool(self.classes) and wide


def described(output: Any) -> str:
    """Return in words what a module returned: shapes of tensors, types of all else.

    Examples:
        >>> described((torch.zeros(2, 10), {"pooled": torch.zeros(2, 64)}))
        'a tuple of a tensor (2, 10) and a dict (pooled)'
    """
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} ({', '.join(map(str, output))})"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {' and '.join(map(described, output)) or 'nothing'}"
    return f"a {type(output).__name__}"


def _unreadable(output: Any) -> OutputError:
    return OutputError(
        "a model must return a tensor, a pair (embedding, logits) or asterism.Outputs; this one "
        f"returned {described(output)}."
    )


def _fields(output: Any) -> Mapping[str, Any]:
    """Return what an object holds by name: a dict, a named tuple, a dataclass."""
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        fields: dict[str, Any] = output._asdict()
        return fields
    return vars(output) if is_dataclass(output) else {}


def _source(logits: Any, passes: Sequence[Scored], form: Form | None) -> Scored | None:
    """Return the pass that gave scores; where none did, the last one through their layer."""
    known = [run for run in passes if run.left is logits]
    if not known and form is not None:
        known = [run for run in passes if run.layer == form.layer]
    known = known or list(passes)
    return known[-1] if known else None


def _main(output: Any, passes: Sequence[Scored], form: Form) -> Any:
    """Return of what comes in train mode that which comes in eval mode.

    Raises:
        ValueError: If that cannot be seen.
    """
    if isinstance(output, Outputs | Tensor) or not isinstance(output, tuple | list | Mapping):
        return output
    several = list(output.values()) if isinstance(output, Mapping) else output
    wide = [x for x in several if isinstance(x, Tensor) and x.shape[1:] == (form.width,)]
    left = [run.left for run in passes if run.layer == form.layer]
    main = [x for x in wide if any(x is scores for scores in left)] or wide
    if not form.alone:  # (embedding, logits), and more behind
        longer = len(several) > 2 and any(several[1] is x for x in main)
        return several[:2] if longer else output
    if len(main) != 1:
        raise OutputError(
            f"a model must give in train mode what it gives in eval mode, which is one tensor "
            f"{form.width} wide; this one returned {described(output)}, and nothing says which of "
            "them it is: return asterism.Outputs(embedding, logits) in both."
        )
    return main[0]
