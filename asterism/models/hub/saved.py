"""How a model of texts is used, after what sentence-transformers saved beside its weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from asterism.models.text import mean_over

# Returns where a file of a model is, by its name there; None if it has none.
Find = Callable[[str], str | Path | None]
# How tokens become one embedding, in the library's words; several at once are not known here.
POOLINGS = ("cls", "mean", "max", "lasttoken")
# How older versions of the library say so: a flag for each way.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
# Steps that change nothing here: the encoder itself, and what acts in training alone.
PLAIN = ("Transformer", "Dropout")


@dataclass(frozen=True)
class Saved:
    """What a model's own files say of its use.

    Attributes:
        pooling: One of `POOLINGS`; None where nothing is said.
        normalise: Whether embeddings get unit length.
        prompts: What may stand before a text, by name.
        default: The name of the prompt that is used where none is asked for.
        truncate: Columns of the embedding that are kept.
        max_length: Longest text in tokens.
        other: What else is said, in words: nobody here does it.
    """

    pooling: str | None = None
    normalise: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default: str | None = None
    truncate: int | None = None
    max_length: int | None = None
    other: tuple[str, ...] = ()


def read_saved(find: Find) -> Saved:
    """Return what the files beside a model's weights say; nothing of what is not there.

    Raises:
        ValueError: If a file is damaged.
    """
    try:
        return _read(find)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"modules.json is damaged: {error!r}") from error


def _read(find: Find) -> Saved:
    modules = read_json(find, "modules.json", list)
    if not modules:
        return Saved()
    use: dict[str, Any] = {"normalise": False}
    other: list[str] = []
    for module in modules:
        kind = str(module["type"]).rpartition(".")[2]
        if kind == "Pooling":
            settings = read_json(find, f"{module['path']}/config.json", dict)
            modes = _modes(settings)
            use["pooling"] = modes[0] if len(modes) == 1 and modes[0] in POOLINGS else None
            other += [f"pooling by {' and '.join(modes)}"] * (use["pooling"] is None)
            other += ["a prompt left out of the pooling"] * (
                settings.get("include_prompt") is False
            )
        elif kind == "Normalize":
            use["normalise"] = True
        elif kind not in PLAIN:
            other.append(f"a layer {kind}")
    read = read_json(find, "sentence_bert_config.json", dict)
    other += ["texts in lower case"] * (read.get("do_lower_case") is True)
    length = read.get("max_seq_length")
    general = read_json(find, "config_sentence_transformers.json", dict)
    return Saved(
        **use,
        prompts={str(k): str(v) for k, v in (general.get("prompts") or {}).items()},
        default=general.get("default_prompt_name"),
        truncate=general.get("truncate_dim"),
        max_length=length if type(length) is int and length > 0 else None,
        other=tuple(other),
    )


def chosen_prompt(
    name: str, arguments: dict[str, Any], prompts: Mapping[str, str], default: str | None
) -> str:
    """Return what stands before each text, and take `prompt` and `prompt_name` from arguments.

    Raises:
        ValueError: If both are given, or there is no prompt of this name.
    """
    written, asked = arguments.pop("prompt", None), arguments.pop("prompt_name", None)
    if written is not None and asked is not None:
        raise ValueError(f"{name} takes a prompt or a prompt_name, not both.")
    if written is not None:
        return str(written)
    if asked is None:
        return prompts.get(default, "") if default else ""
    if asked not in prompts:
        known = f"has the prompts {', '.join(prompts)}" if prompts else "has no prompts"
        raise ValueError(f"{name} {known}, not {asked!r}: name one, or write it, ?prompt=TEXT.")
    return prompts[asked]


def chosen_columns(arguments: dict[str, Any], saved: int | None) -> int | None:
    """Return how many columns are kept, and take `truncate` from arguments; None for all.

    Raises:
        ValueError: If it is no number of columns.
    """
    columns = arguments.pop("truncate", saved)
    if columns is not None and (type(columns) is not int or columns < 1):
        raise ValueError(f"truncate must be a number of columns, 1 or more; got {columns!r}.")
    return columns


def first_columns(embedding: Tensor, columns: int | None) -> Tensor:
    """Return the first columns of embeddings `(n, d)`.

    Raises:
        ValueError: If there are fewer.
    """
    if columns is not None and columns > embedding.shape[1]:
        width = embedding.shape[1]
        raise ValueError(f"truncate must be at most {width}, the width there is; got {columns}")
    return embedding[:, :columns]


def chosen_length(name: str, arguments: dict[str, Any], module: nn.Module, own: int) -> int:
    """Return how many tokens of a text are read, and take `max_length` from arguments.

    Args:
        name: The model's name, for messages.
        arguments: What stood behind it.
        module: The model.
        own: What its own files say.

    Raises:
        ValueError: If it has no places for as many as are asked for.
    """
    asked, places = arguments.pop("max_length", None), places_of(module)
    if asked is None:
        return own if places is None else min(own, places)
    if type(asked) is not int or asked < 1:
        raise ValueError(f"max_length must be a number of tokens, 1 or more; got {asked!r}.")
    if places is not None and asked > places:
        raise ValueError(
            f"{name} has places for {places} tokens of a text: max_length must be at most that; "
            f"got {asked}."
        )
    return asked


def places_of(module: nn.Module) -> int | None:
    """Return how many tokens of a text a network has places for; None if for any number.

    RoBERTa and its kin count places from the number of their token for padding, plus one: 514
    rows of the table are 512 places.
    """
    for name, table in module.named_modules():
        if name.rpartition(".")[2] == "position_embeddings" and isinstance(table, nn.Embedding):
            unused = 0 if table.padding_idx is None else table.padding_idx + 1
            return table.num_embeddings - unused
    return None


def pooled(tokens: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Return one embedding `(n, d)` of the tokens of each text.

    Args:
        tokens: Shape `(n, length, d)`, padding behind them.
        mask: Shape `(n, length)`; true for at least one token of each text.
        pooling: One of `POOLINGS`.
    """
    if pooling == "cls":
        return tokens[:, 0]
    if pooling == "lasttoken":
        return tokens[torch.arange(len(tokens)), mask.sum(1) - 1]
    if pooling == "max":
        return tokens.masked_fill(~mask[:, :, None], -torch.inf).amax(1)
    return mean_over(tokens, mask)


def _modes(settings: dict[str, Any]) -> list[str]:
    modes = settings.get("pooling_mode") or [
        way for flag, way in FLAGS.items() if settings.get(flag)
    ]
    return [str(mode) for mode in ([modes] if isinstance(modes, str) else modes)] or ["mean"]


def read_json(find: Find, name: str, kind: type) -> Any:
    """Return the content of a file, of a model that may be a stranger's; empty if there is none."""
    inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
    file = find(name) if inside else None
    if file is None:
        return kind()
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is damaged: {error}") from error
    if not isinstance(content, kind):
        raise ValueError(f"{name} is damaged: it holds no {kind.__name__}")
    return content
