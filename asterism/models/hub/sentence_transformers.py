"""`st/ORG/NAME` or `st/FOLDER`: models of texts of the sentence-transformers library.

Teachers only; arguments: `max_length` (the model's own). Embedding: what the library's `encode`
returns, without a prompt. Weights are read from safetensors only, and no code that a model brings
is run.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asterism.modality import TEXT
from asterism.models.hub import load_library, no_arguments_left, not_fetched
from asterism.models.spec import Spec
from asterism.models.tokens import Tokeniser, by_length
from asterism.types import Outputs

TAKES = (TEXT,)
WAY_OUT = "Without a network, name a local folder, st/path/to/folder."


class SentenceModel(nn.Module):
    """A model of the library, from texts to embeddings.

    Attributes:
        tokeniser: Its tokens, for a student; None if it has no tokenizer.json.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.module = module
        own: Any = getattr(module, "tokenizer", None)
        length = module.max_seq_length or 512
        self.tokeniser = (
            Tokeniser(own.backend_tokenizer.to_str(), max_length=length)
            if getattr(own, "is_fast", False)
            else None
        )

    def forward(self, texts: list[str]) -> Outputs:
        """Return the embeddings of texts."""
        return by_length(texts, self._encode)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        assert self.tokeniser is not None
        numbers = self.tokeniser.marked(numbers).to(next(self.module.parameters()).device)
        features = {"input_ids": numbers, "attention_mask": torch.ones_like(numbers)}
        embedding: Tensor = self.module(features)["sentence_embedding"]
        return embedding

    def _encode(self, texts: list[str]) -> Outputs:
        device = next(self.module.parameters()).device
        features = self.module.preprocess(texts)
        features = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in features.items()}
        embedding: Tensor = self.module(features)["sentence_embedding"]
        return Outputs(embedding)


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
    length = arguments.pop("max_length", None)
    no_arguments_left(f"st/{name}", arguments)
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
            raise ValueError(f"st/{name} cannot be read: {' '.join(str(error).split())}") from error
        raise not_fetched(f"st/{name}", error, WAY_OUT) from error
    if length is not None:
        module.max_seq_length = int(length)
    return SentenceModel(module.float())


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return None: texts have no size."""
    return None
