"""Anyone's own module as a model that returns `Outputs`."""

from typing import Any

import torch
from torch import Tensor, nn

from asterism.types import Outputs


class Adapted(nn.Module):
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
            module: Takes images in [0, 1]; normalising them is its own business.
            classes: Number of classes of the data, if they have labels.
            embedding: Name of the submodule whose output is the embedding.

        Raises:
            ValueError: If there is no such submodule.
        """
        super().__init__()
        self.module = module
        self.classes = classes
        self.seen: dict[str, Tensor] = {}
        if embedding is not None:
            names = dict(module.named_modules())
            if embedding not in names:
                raise ValueError(
                    f"the model has no submodule {embedding!r} to take the embedding from: choose "
                    f"from {', '.join(name for name in names if name)}."
                )
            names[embedding].register_forward_hook(self._keep_output)
        elif classes:
            linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
            heads = [m for m in linear if m.out_features == classes]
            if heads:
                heads[-1].register_forward_pre_hook(self._keep_input)

    def _keep_output(self, module: nn.Module, args: Any, output: Any) -> None:
        self.seen["embedding"] = output

    def _keep_input(self, module: nn.Module, args: Any) -> None:
        self.seen["before the classifier"] = args[0]

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits."""
        self.seen.clear()
        output = self.module(images)
        named = self.seen.get("embedding")
        before = self.seen.get("before the classifier")
        self.seen.clear()
        if isinstance(output, Outputs):
            found = output
        elif isinstance(output, tuple | list) and len(output) == 2:
            found = Outputs(*output)
        elif not isinstance(output, Tensor):
            raise ValueError(
                "a model must return a tensor, a pair (embedding, logits) or asterism.Outputs; "
                f"this one returned {type(output).__name__}."
            )
        elif self.classes and output.ndim == 2 and output.shape[1] == self.classes:
            found = Outputs(output if before is None else before, output)
        else:
            found = Outputs(output)
        embedding = found.embedding if named is None else named
        if embedding.ndim == 4:
            embedding = embedding.mean((2, 3))  # a feature map: average pool
        return Outputs(torch.flatten(embedding, 1), found.logits)
