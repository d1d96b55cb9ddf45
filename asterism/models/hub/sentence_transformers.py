"""`st/ORG/NAME` or `st/FOLDER`: models of texts of the sentence-transformers library.

Teachers only. Embedding: what the library's `encode` returns, with the prompt, the pooling and the
columns that were saved with the model. Arguments: `prompt` or `prompt_name` (one of the model's
own), `truncate` (columns), `max_length` (tokens). Weights are read from safetensors only, and no
code that a model brings is run.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.modality import TEXT
from asterism.models.hub import load_library, no_arguments_left, not_fetched
from asterism.models.hub.saved import (
    chosen_columns,
    chosen_length,
    chosen_prompt,
    first_columns,
)
from asterism.models.spec import Spec
from asterism.models.tokens import Tokeniser, by_length
from asterism.types import Outputs

TAKES = (TEXT,)
# Tokens of a text where a model names no number, and where it takes any.
LONGEST = 512
ENDLESS = 2**31 - 1
WAY_OUT = "Without a network, name a local folder, st/path/to/folder."


class SentenceModel(nn.Module):
    """A model of the library, from texts to embeddings.

    Attributes:
        tokeniser: Its tokens, for a student; None if it has no tokenizer.json.
    """

    def __init__(self, module: Any, *, prompt: str = "", truncate: int | None = None) -> None:
        """Wrap a model.

        Args:
            module: The library's.
            prompt: What stands before each text.
            truncate: Columns of the embedding that are kept; None for all.
        """
        super().__init__()
        self.module = module
        self.prompt = prompt
        self.truncate = truncate
        self.tokeniser = _tokeniser(module)

    def extra_repr(self) -> str:
        """Return what makes other embeddings of the same weights: caches tell teachers by it."""
        used = {"prompt": self.prompt, "truncate": self.truncate}
        return ", ".join(f"{name}={value!r}" for name, value in used.items() if value)

    def forward(self, texts: list[str]) -> Outputs:
        """Return the embeddings of texts."""
        return by_length(texts, self._encode)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        assert self.tokeniser is not None
        numbers = self.tokeniser.marked(numbers, self.prompt)
        # Beside the tokens a pooling may have to know how long the prompt is.
        given = self.module.preprocess(["a"], prompt=self.prompt)
        features = {k: v for k, v in given.items() if not isinstance(v, Tensor)}
        if "offsets" in given:  # tokens of all texts in one row, and where each text begins
            begins = torch.arange(len(numbers)) * numbers.shape[1]
            features |= {"input_ids": numbers.flatten(), "offsets": begins}
        else:
            features |= {"input_ids": numbers, "attention_mask": torch.ones_like(numbers)}
        return self._embed(features)

    def _encode(self, texts: list[str]) -> Outputs:
        return Outputs(self._embed(self.module.preprocess(texts, prompt=self.prompt)))

    def _embed(self, features: dict[str, Any]) -> Tensor:
        device = next(self.module.parameters()).device
        features = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}
        embedding: Tensor = self.module(features)["sentence_embedding"]
        return first_columns(embedding, self.truncate)


def _tokeniser(module: Any) -> Tokeniser | None:
    """Return a model's tokeniser, for a student; None if it is not of the tokenizers library."""
    own: Any = getattr(module, "tokenizer", None)
    if getattr(own, "is_fast", False):
        return Tokeniser(
            own.backend_tokenizer.to_str(), max_length=module.max_seq_length or LONGEST
        )
    if hasattr(own, "to_str"):  # of vectors of tokens, which read a text to its end, unmarked
        return Tokeniser(own.to_str(), max_length=ENDLESS, special=False)
    return None


def build(name: str, arguments: dict[str, Any], spec: Spec) -> SentenceModel:
    """Return a model with its tokeniser inside.

    Args:
        name: Its name on the hub, or a folder.
        arguments: See above.
        spec: What the data are.

    Raises:
        ValueError: If it cannot be fetched or read, or is to be a student.
    """
    if not spec.own_classifier:
        raise ValueError(
            f"st/{name} is a teacher; as a student name its encoder, "
            f"hf/{name}?pooling=mean&normalise=true, or text-transformer or text-static."
        )
    library = load_library("sentence_transformers", "st")
    place = f"st/{name}"
    local = Path(name).is_dir()
    try:
        module = library.SentenceTransformer(
            name,
            device="cpu",
            trust_remote_code=False,
            local_files_only=local,
            model_kwargs={"use_safetensors": True},
        )
    except Exception as error:  # of the library, of the hub, of the network: a dozen kinds
        if local:
            raise ValueError(f"{place} cannot be read: {' '.join(str(error).split())}") from error
        raise not_fetched(place, error, WAY_OUT) from error
    _shorten(module, place, arguments)
    prompt = chosen_prompt(place, arguments, module.prompts, module.default_prompt_name)
    columns = chosen_columns(arguments, module.truncate_dim)
    no_arguments_left(place, arguments)
    return SentenceModel(module.float(), prompt=prompt, truncate=columns)


def _shorten(module: Any, place: str, arguments: dict[str, Any]) -> None:
    """Cut texts off where they are to be, or where the model has no place for more."""
    own = module.max_seq_length
    if own is not None and own > ENDLESS:
        if "max_length" in arguments:
            raise ValueError(f"{place} reads texts to their end: leave max_length out.")
        return
    length = chosen_length(place, arguments, module, own or LONGEST)
    if length != own:
        module.max_seq_length = length


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return None: texts have no size."""
    return None
