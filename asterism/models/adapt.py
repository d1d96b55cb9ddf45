"""Anyone's own module as a model that returns `Outputs`."""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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


class Adapted(Wrapper):
    """Bring what a module returns into the form of `Outputs`.

    Accepted are `Outputs`, a pair (embedding, logits) and a single tensor. A single tensor as wide
    as there are classes is taken for logits, and the embedding is then what enters the last
    linear layer of that width; any other single tensor is the embedding. `embedding` names the
    submodule whose output is the embedding instead.
    """

    def __init__(
        self, module: nn.Module, *, classes: int | None = None, embedding: str | None = None
    ) -> None:
        """Wrap a module.

        Args:
            module: Takes images in [0, 1], or texts; preparing them is its own business.
            classes: Number of classes of the data, if they have labels.
            embedding: Name of the submodule whose output is the embedding.

        Raises:
            ValueError: If there is no such submodule.
        """
        super().__init__(module)
        self.classes = classes
        self.embedding = embedding
        if embedding is not None and embedding not in dict(module.named_modules()):
            names = (name for name, _ in module.named_modules() if name)
            raise ValueError(
                f"the model has no submodule {embedding!r} to take the embedding from: choose from "
                f"{', '.join(names)}."
            )

    def forward(self, samples: Samples) -> Outputs:
        """Return embedding and logits."""
        seen: list[Tensor] = []
        # A hook for this call only: the module stays as its owner made it.
        watched = self._watch(seen)
        try:
            output = self.module(samples)
        finally:
            if watched is not None:
                watched.remove()
        named = seen[-1] if seen and self.embedding is not None else None
        before = seen[-1] if seen and self.embedding is None else None
        if isinstance(output, Outputs):
            outputs = output
        elif isinstance(output, tuple | list) and len(output) == 2:
            outputs = Outputs(*output)
        elif not isinstance(output, Tensor):
            raise ValueError(
                "a model must return a tensor, a pair (embedding, logits) or asterism.Outputs; "
                f"this one returned {type(output).__name__}."
            )
        elif self.classes and output.ndim == 2 and output.shape[1] == self.classes:
            outputs = Outputs(output if before is None else before, output)
        else:
            outputs = Outputs(output)
        embedding = outputs.embedding if named is None else named
        if embedding.ndim == 4:
            embedding = embedding.mean((2, 3))  # a feature map: average pool
        return Outputs(torch.flatten(embedding, 1), outputs.logits)

    def _watch(self, seen: list[Tensor]) -> RemovableHandle | None:
        """Collect the output of the named submodule, or what enters the last classifier."""
        if self.embedding is not None:
            module = self.module.get_submodule(self.embedding)
            return module.register_forward_hook(lambda module, args, output: seen.append(output))
        layers = [m for m in self.module.modules() if isinstance(m, nn.Linear)]
        heads = [layer for layer in layers if layer.out_features == self.classes]
        if not heads:
            return None
        return heads[-1].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
