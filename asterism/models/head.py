"""An embedding head for any pooled network: a linear layer to as many columns as asked, unit rows.

As metric learning trains its networks (Park et al., CVPR 2019, 4.1: 16 to 128 columns).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from asterism.models.adapt import Wrapper
from asterism.models.modes import evaluating
from asterism.models.own import in_words
from asterism.models.spec import Spec
from asterism.relations import unit_rows
from asterism.types import Outputs, Samples


@dataclass(frozen=True)
class HeadOptions:
    """What stands behind a model's `?` for the head.

    Attributes:
        dim: Columns of the embedding; None for those of the network.
        unit: Whether rows have unit length.
    """

    dim: int | None
    unit: bool

    @classmethod
    def taken_out(cls, arguments: dict[str, Any], known: Callable[[str], bool]) -> "HeadOptions":
        """Take `dim` and `unit` out of a model's arguments, where it does not know them itself.

        Raises:
            ValueError: If `dim` is no number of columns, or `unit` neither true nor false.
        """
        given = [key for key in ("dim", "unit") if key in arguments]
        behind = "dim" in given and not known("dim")  # then rows get their length behind it
        mine = {k: arguments.pop(k) for k in given if not known(k) or (k == "unit" and behind)}
        dim, unit = mine.get("dim"), mine.get("unit", False)
        if dim is not None and (not isinstance(dim, int) or isinstance(dim, bool) or dim < 1):
            raise ValueError(f"dim must be a number of columns, as in ?dim=64; got {dim!r}.")
        if not isinstance(unit, bool):
            raise ValueError(f"unit must be true or false; got {unit!r}.")
        return cls(dim, unit)

    def on(self, model: nn.Module, spec: Spec) -> nn.Module:
        """Return a model with this head; the model itself where nothing is asked of one."""
        if self.dim is None and not self.unit:
            return model
        width = None if self.dim is None else _width(model, spec)
        layer = None if width is None or self.dim is None else nn.Linear(width, self.dim)
        return Headed(model, layer, unit=self.unit)


class Headed(nn.Module):
    """A model whose embedding goes through a head; its logits stay those of its classifier.

    Its state is that of the author's own module, under the author's names, and the head's
    (`embedding_head.weight`, `embedding_head.bias`).
    """

    def __init__(self, body: nn.Module, layer: nn.Linear | None, *, unit: bool) -> None:
        """Put a head on a model.

        Args:
            body: Returns `Outputs`.
            layer: Takes its embedding; None for the embedding itself.
            unit: Whether rows are brought to unit length.
        """
        super().__init__()
        self.body = body
        self.embedding_head = layer
        self.unit = unit
        self.register_state_dict_post_hook(_to_authors_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_from_authors_names)  # type: ignore[no-untyped-call]

    def forward(self, samples: Samples) -> Outputs:
        """Return the head's embedding `(n, dim)` and the classifier's logits."""
        embedding, logits = self.body(samples)
        if self.embedding_head is not None:
            embedding = self.embedding_head(embedding)
        return Outputs(unit_rows(embedding) if self.unit else embedding, logits)

    def own(self) -> str:
        """Return in front of which names the author's module is, `body.module.`."""
        place, module = "body.", self.body
        while isinstance(module, Wrapper):
            place, module = f"{place}module.", module.module
        return place


def _to_authors_names(headed: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    """Shorten the names of a state; what wrappers hold is no weight and is left out."""
    assert isinstance(headed, Headed)
    own = prefix + headed.own()
    for key in [key for key in state if key.startswith(f"{prefix}body.")]:
        value = state.pop(key)
        if key.startswith(own):
            state[prefix + key.removeprefix(own)] = value


def _from_authors_names(
    headed: nn.Module, state: dict[str, Any], prefix: str, *others: Any
) -> None:
    """Undo what `_to_authors_names` does, before torch compares names."""
    assert isinstance(headed, Headed)
    own = headed.own()
    head = f"{prefix}embedding_head."
    for key in [k for k in state if k.startswith(prefix) and not k.startswith(head)]:
        state[prefix + own + key.removeprefix(prefix)] = state.pop(key)
    for name, buffer in headed.named_buffers():
        if name.startswith("body.") and not name.startswith(own):
            state[prefix + name] = buffer


def _width(model: nn.Module, spec: Spec) -> int:
    """Return how many columns a model's embedding has, from a pass of two samples."""
    try:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        example = spec.takes.example(spec.shape)
        with evaluating(model):
            outputs = model(example.to(device) if isinstance(example, Tensor) else example)
    except Exception as error:
        what = spec.takes.described(spec.shape)
        raise ValueError(
            f"an embedding head needs the network's width from a pass of {what}, and it failed: "
            f"{in_words(error)}."
        ) from error
    return int(outputs.embedding.shape[1])
