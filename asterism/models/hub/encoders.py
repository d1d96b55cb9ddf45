"""Encoders of the transformers library, pooled to one embedding per sample."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from asterism.models.hub.saved import first_columns, pooled
from asterism.models.text import attended
from asterism.models.tokens import Tokeniser, by_length
from asterism.types import Outputs


class ImageEncoder(nn.Module):
    """Tokens or maps of an image model, pooled; possibly a new classifier on top.

    Attributes:
        module: The library's model.
        classifier: None, or the new classifier.
    """

    def __init__(self, module: nn.Module, *, pooling: str | None, resized: bool) -> None:
        """Wrap a model.

        Args:
            module: Takes `pixel_values`.
            pooling: `cls`, `mean` or `pooler`; by default `cls` of tokens, `pooler` of maps.
            resized: Whether the images are not of the size that the model was made for.
        """
        super().__init__()
        self.module = module
        self.pooling = pooling
        self.options = stretched(module, resized)
        self.classifier: nn.Module | None = None

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits of prepared images."""
        output = self.module(pixel_values=images, **self.options)
        last: Tensor = output.last_hidden_state
        pooling = self.pooling or ("pooler" if last.ndim == 4 else "cls")
        if pooling == "pooler":
            embedding = output.pooler_output.flatten(1)
        elif pooling == "mean":
            embedding = last.mean((2, 3) if last.ndim == 4 else 1)
        elif last.ndim == 4:
            raise ValueError("this model gives maps, not tokens: pooling is mean or pooler.")
        else:
            embedding = last[:, 0]
        return Outputs(embedding, self.classifier(embedding) if self.classifier else None)


class TextEncoder(nn.Module):
    """Tokens of a text model, pooled; possibly a classifier, its own or a new one.

    Attributes:
        module: The library's model.
        tokeniser: Texts to tokens.
        classifier: None, or the new classifier.
        card: What a run card must keep of the model besides its name.
    """

    card: dict[str, Any]

    def __init__(
        self,
        module: nn.Module,
        tokeniser: Tokeniser,
        *,
        pooling: str = "mean",
        normalise: bool = False,
        prompt: str = "",
        truncate: int | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            module: Takes `input_ids` and `attention_mask`.
            tokeniser: Texts to tokens.
            pooling: `mean`, `cls`, `max`, `lasttoken` or `pooler`.
            normalise: Whether embeddings get unit length.
            prompt: What stands before each text.
            truncate: Columns that are kept of embeddings, of unit length before; None for all.
        """
        super().__init__()
        self.module = module
        self.tokeniser = tokeniser
        self.pooling = pooling
        self.normalise = normalise
        self.prompt = prompt
        self.truncate = truncate
        self.classifier: nn.Module | None = None

    def extra_repr(self) -> str:
        """Return what makes other embeddings of the same weights: caches tell teachers by it."""
        plain = {"pooling": "mean", "normalise": False, "prompt": "", "truncate": None}
        used = {name: getattr(self, name) for name in plain}
        return ", ".join(f"{k}={v!r}" for k, v in used.items() if v != plain[k])

    def forward(self, texts: list[str]) -> Outputs:
        """Return embedding and logits of texts."""
        return by_length(texts, self._encode)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        numbers = self.tokeniser.marked(numbers, self.prompt)
        numbers = numbers.to(next(self.module.parameters()).device)
        return self.encode(numbers, torch.ones_like(numbers, dtype=torch.bool)).embedding

    def _encode(self, texts: list[str]) -> Outputs:
        device = next(self.module.parameters()).device
        return self.encode(*self.tokeniser.padded([self.prompt + t for t in texts], device))

    def encode(self, numbers: Tensor, mask: Tensor) -> Outputs:
        """Return what `forward` does, of tokens' numbers and a mask, both `(n, length)`."""
        mask = attended(mask)
        output = self.module(
            input_ids=numbers, attention_mask=mask.long(), output_hidden_states=True
        )
        # A model with a classifier gives its last layer among the hidden states only.
        last = output.get("last_hidden_state", output.hidden_states[-1])
        if self.pooling == "pooler":
            embedding: Tensor = output.pooler_output
        else:
            embedding = pooled(last, mask, self.pooling)
        if self.normalise:
            embedding = nn.functional.normalize(embedding)
        embedding = first_columns(embedding, self.truncate)
        return Outputs(
            embedding, self.classifier(embedding) if self.classifier else output.get("logits")
        )


class ImageLogits(nn.Module):
    """The class scores of an image classifier of the library."""

    def __init__(self, module: nn.Module, *, resized: bool) -> None:
        super().__init__()
        self.module = module
        self.options = stretched(module, resized)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of prepared images."""
        logits: Tensor = self.module(pixel_values=images, **self.options).logits
        return logits


class Tower(nn.Module):
    """One half of a model that embeds images and texts in one space, as CLIP does."""

    def __init__(self, module: Any, part: str) -> None:
        super().__init__()
        self.module = module
        self.part = part
        self.config = module.config

    def forward(self, **inputs: Any) -> Any:
        """Return the library's own output, whose `pooler_output` is in the common space."""
        inputs.pop("output_hidden_states", None)
        run = self.module.get_image_features if self.part == "image" else None
        output = (run or self.module.get_text_features)(**inputs)
        return output


def stretched(module: nn.Module, resized: bool) -> dict[str, Any]:
    """Return the option that fits position embeddings to another size, where there is one."""
    takes = "interpolate_pos_encoding" in inspect.signature(module.forward).parameters
    return {"interpolate_pos_encoding": True} if resized and takes else {}


@torch.no_grad()
def add_classifier(encoder: ImageEncoder | TextEncoder, sample: Any, classes: int) -> None:
    """Put a new classifier on top, as wide as the embedding of a sample."""
    encoder.eval()
    width = encoder(sample).embedding.shape[1]
    encoder.classifier = nn.Linear(width, classes)
