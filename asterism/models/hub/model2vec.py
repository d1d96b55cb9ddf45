"""`model2vec/FOLDER` or `model2vec/ORG/NAME`: a vector per token, as Model2Vec saves them.

A teacher whose embedding is what that library's `encode` returns, and a student that begins as it.
Argument: `truncate` (columns; the first ones say most). The library itself is not needed.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from asterism.modality import TEXT
from asterism.models.adapt import Wrapper
from asterism.models.hub import load_library, no_arguments_left, not_fetched
from asterism.models.hub.saved import chosen_columns, read_json
from asterism.models.spec import Spec
from asterism.models.text import StaticText
from asterism.models.tokens import Tokeniser
from asterism.types import Outputs

TAKES = (TEXT,)
WAY_OUT = "Without a network, name a local folder, model2vec/path/to/folder."
# Tokens of a text where the folder names no number, and where it says that there is no limit.
LONGEST = 512
ENDLESS = 2**31 - 1
# More columns than any of them has: what a run card claims is believed up to here.
WIDEST = 2**16


class KnownTokens(Tokeniser):
    """A tokeniser that leaves out what its vocabulary does not know."""

    def __call__(self, texts: Any) -> list[list[int]]:
        """Return the numbers of the tokens of each text, without the one for unknown ones."""
        unknown = self.unknown()
        return [[i for i in one if i != unknown] for one in super().__call__(texts)]

    def unknown(self) -> int | None:
        """Return the number of the token that stands for what is not known."""
        model = self.tokenizer.model
        if hasattr(model, "unk_token"):
            named = model.unk_token
            return None if named is None else self.tokenizer.token_to_id(named)
        unknown: int | None = json.loads(self.json)["model"].get("unk_id")  # Unigram does not tell
        return unknown


class StaticModel(Wrapper):
    """The mean of a text's vectors, where the folder says so brought to unit length.

    Attributes:
        card: What a run card must keep of the model besides its name.
    """

    module: StaticText
    card: dict[str, Any]

    def __init__(self, module: StaticText, *, unit: bool) -> None:
        """Wrap the mean."""
        super().__init__(module)
        self.unit = unit

    def extra_repr(self) -> str:
        """Return what makes other embeddings of the same vectors: caches tell teachers by it."""
        return f"unit={self.unit}"

    def forward(self, texts: list[str]) -> Outputs:
        """Return embedding and logits of texts; zeros for a text without known tokens."""
        embedding, logits = self.module(texts)
        return Outputs(self._finished(embedding), logits)

    @property
    def tokeniser(self) -> Tokeniser:
        """Return its tokeniser."""
        return self.module.tokeniser

    def encode(self, numbers: Tensor, mask: Tensor) -> Outputs:
        """Return what `forward` does, of tokens' numbers and a mask, both `(n, length)`."""
        known = self.tokeniser
        unknown = known.unknown() if isinstance(known, KnownTokens) else None
        embedding, logits = self.module.encode(
            numbers, mask if unknown is None else mask & (numbers != unknown)
        )
        return Outputs(self._finished(embedding), logits)

    def of_tokens(self, numbers: Tensor) -> Tensor:
        """Return embeddings `(n, d)` of texts of equal length, their tokens' numbers `(n, t)`."""
        return self._finished(self.module.of_tokens(numbers))

    def _finished(self, embedding: Tensor) -> Tensor:
        return nn.functional.normalize(embedding) if self.unit else embedding


def build(name: str, arguments: dict[str, Any], spec: Spec) -> StaticModel:
    """Return a model with its tokeniser inside.

    Args:
        name: A folder that Model2Vec saved, or the name of one on the hub.
        arguments: See above.
        spec: What the data are; with `config`, no vectors are read.

    Raises:
        ValueError: If it cannot be fetched or read.
    """
    place = f"model2vec/{name}"
    arguments.pop("pretrained", None)
    columns = chosen_columns(arguments, None)
    no_arguments_left(place, arguments)
    table: Tensor | None = None
    if spec.config is not None:
        config, tokenizer = _checked(spec.config, place), spec.tokenizer
    else:
        table, tokenizer, config = _folder(name, place, columns)
    if tokenizer is None:
        raise ValueError(f"{place} needs its tokenizer.json.")
    length = config["max_length"]
    network = StaticText(
        classes=None if spec.own_classifier else spec.classes,
        tokenizer=tokenizer,
        width=config["width"],
        start="random",
        max_length=length,
    )
    network.tokeniser = KnownTokens(tokenizer, max_length=length, special=False)
    if table is not None:
        if len(table) < network.tokeniser.size:
            raise ValueError(
                f"{place} cannot be read: it has {len(table)} vectors for "
                f"{network.tokeniser.size} tokens."
            )
        network.tokens.weight.data.copy_(table[: network.tokeniser.size])
    model = StaticModel(network, unit=config["unit"])
    model.card = config
    return model


def _folder(name: str, place: str, columns: int | None) -> tuple[Tensor, str, dict[str, Any]]:
    """Return the vectors by token, the content of the tokenizer.json, and how they are used."""
    folder = Path(name) if Path(name).is_dir() else _fetched(name, place)
    try:
        settings = read_json(lambda file: folder / file, "config.json", dict)
        tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
        table = _table(load_file(folder / "model.safetensors"))
    except (IndexError, KeyError, OSError, SafetensorError, ValueError) as error:
        raise ValueError(f"{place} cannot be read: {' '.join(str(error).split())}.") from error
    if columns is not None and columns > table.shape[1]:
        raise ValueError(
            f"truncate must be at most {table.shape[1]}, the width of {place}; got {columns}."
        )
    table = table[:, :columns]
    length = settings.get("max_length", LONGEST)
    config = {
        "width": table.shape[1],
        "unit": bool(settings.get("normalize", False)),
        "max_length": ENDLESS if length is None else length,
    }
    return table, tokenizer, _checked(config, place)


def _table(arrays: dict[str, Tensor]) -> Tensor:
    """Return the vector of each token, float32: many may share one, each with its own weight."""
    if "embeddings" not in arrays:
        raise ValueError("model.safetensors holds no `embeddings`")
    table, mapping, weights = (arrays.get(name) for name in ("embeddings", "mapping", "weights"))
    assert table is not None
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"`embeddings` must be of shape (n, d); they are {tuple(table.shape)}")
    if mapping is not None:
        table = table[mapping.long()]
    table = table.float()
    if weights is not None:
        if weights.shape != (len(table),):
            raise ValueError(f"there are {tuple(weights.shape)} weights for {len(table)} tokens")
        table = table * weights.float()[:, None]
    return table


def _checked(config: dict[str, Any], place: str) -> dict[str, Any]:
    """Return how vectors are used, as a folder or a run card of whoever says."""
    known: dict[str, Any] = {name: config.get(name) for name in ("width", "unit", "max_length")}
    for name, most in (("width", WIDEST), ("max_length", ENDLESS)):
        if type(known[name]) is not int or not 0 < known[name] <= most:
            raise ValueError(f"{place} is damaged: its {name} is {known[name]!r}.")
    return {**known, "unit": known["unit"] is True}


def _fetched(name: str, place: str) -> Path:
    """Return where the hub's library keeps a model, fetched if it is not there."""
    hub = load_library("huggingface_hub", "hf")
    try:
        patterns = ["config.json", "tokenizer.json", "model.safetensors"]
        return Path(hub.snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # of the hub, of the network: a dozen kinds
        raise not_fetched(place, error, WAY_OUT) from error


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return None: texts have no size."""
    return None
