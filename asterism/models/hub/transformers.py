"""`hf/ORG/NAME` or `hf/FOLDER`: encoders of images or texts of the transformers library.

Arguments: `pretrained` (true), `classes`, and

- for images `image_size` (the model's own) and `pooling`: `cls` (the first token), `mean` (of all
  tokens, or of the map) or `pooler` (the model's own). By default `cls` where the model gives
  tokens, `pooler` where it gives a map.
- for texts `pooling`: `mean` (of all tokens that are no padding), `cls`, `max`, `lasttoken` or
  `pooler`; `normalise`, `prompt` or `prompt_name`, `truncate` (columns) and `max_length`. What is
  not given is as sentence-transformers saved it beside the weights, and without such files `mean`,
  false, none, all, and the tokeniser's own length, at most 512. What of it only that library does
  is said.

A teacher with a classifier keeps it; of images its embedding is then what enters the classifier.
Of a model of images and texts (CLIP) the half that fits the data is used, in their common space.
Weights are read from safetensors only, and no code that a model brings is run.
"""

import contextlib
import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.distributed import is_first
from asterism.modality import IMAGE, TEXT
from asterism.models.adapt import Adapted
from asterism.models.hub import Prepared, load_library, no_arguments_left, not_fetched
from asterism.models.hub.encoders import (
    ImageEncoder,
    ImageLogits,
    TextEncoder,
    Tower,
    add_classifier,
)
from asterism.models.hub.saved import POOLINGS as TEXT_POOLINGS
from asterism.models.hub.saved import (
    Saved,
    chosen_columns,
    chosen_length,
    chosen_prompt,
    read_saved,
)
from asterism.models.spec import Spec
from asterism.models.tokens import Tokeniser
from asterism.types import Kind
from asterism.words import tell

TAKES = (IMAGE, TEXT)
WAY_OUT = "Without a network, name a local folder, hf/path/to/folder."
POOLINGS = ("cls", "mean", "pooler")
LONGEST = 512
NAMES_CODE = {
    "auto_map", "attn_implementation", "_attn_implementation", "_attn_implementation_internal",
    "experts_implementation", "_experts_implementation", "quantization_config",
}  # fmt: skip
# Statistics of a model that comes without a description of its preprocessing.
PLAIN = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def build(name: str, arguments: dict[str, Any], spec: Spec) -> nn.Module:
    """Return an encoder with its own preprocessing or tokeniser inside.

    Args:
        name: Its name on the hub, or a folder written by `save_pretrained`.
        arguments: See above.
        spec: What the data are; with `config`, nothing is fetched and no weights are loaded.

    Raises:
        ValueError: If it cannot be fetched or read, or does not fit the data.
    """
    library = load_library("transformers", "hf")
    if spec.config is not None and "use" in spec.config:  # what a student began with
        arguments = {k: v for k, v in arguments.items() if k != "prompt_name"} | spec.config["use"]
    pooling = arguments.pop("pooling", None)
    poolings = (*TEXT_POOLINGS, "pooler") if spec.takes is TEXT else POOLINGS
    if pooling not in (None, *poolings):
        raise ValueError(f"pooling is one of {', '.join(poolings)}; got {pooling}.")
    classes = arguments.pop("classes", spec.classes)
    pretrained = arguments.pop("pretrained", True) and spec.config is None
    config = _config(library, name, spec)
    keeps = spec.own_classifier and classes == spec.classes
    model, classifies = _model(
        library, name, config, spec.takes.name, pretrained=pretrained, keep=keeps, pooling=pooling
    )
    pooler: Any = getattr(model, "pooler", None)
    if pooling != "pooler" and pooler is not None and any(True for _ in pooler.parameters()):
        setattr(model, "pooler", None)  # noqa: B010 (unused, and many checkpoints lack its weights)
    if hasattr(model, f"get_{spec.takes.name}_features"):
        model = Tower(model, spec.takes.name)
        pooling = "pooler"
    new_classes = None if keeps else classes
    made: Any  # a module with names beside its tensors
    if spec.takes is TEXT:
        made = _text(library, name, arguments, spec, model, config, pooling, new_classes)
    else:
        made = _image(name, arguments, spec, model, config, pooling, new_classes, classifies)
    if classifies and (names := _class_names(config)):
        made.classes = names  # by which they are matched with the data's
    encoder: nn.Module = made
    return encoder


def _class_names(config: Any) -> tuple[str, ...] | None:
    """Return the names of a classifier's classes; None where nobody named them."""
    names = tuple(str(name) for _, name in sorted(config.id2label.items()))
    return None if all(name.startswith("LABEL_") for name in names) else names


def _image(
    name: str,
    arguments: dict[str, Any],
    spec: Spec,
    model: nn.Module,
    config: Any,
    pooling: str | None,
    classes: int | None,
    classifies: bool,
) -> Prepared:
    """Return an image model with its own size and statistics; `classes` of a new classifier."""
    kept = spec.config and spec.config["preprocessing"]
    preprocessing = kept or _preprocessing(name, say=True)
    own = _size(config, preprocessing)
    size = int(arguments.pop("image_size", own or 224))
    no_arguments_left(f"hf/{name}", arguments)
    resized = own is not None and size != own
    if classifies:
        inner: nn.Module = Adapted(ImageLogits(model, resized=resized), classes=config.num_labels)
    else:
        inner = ImageEncoder(model, pooling=pooling, resized=resized)
        if classes:
            add_classifier(inner, torch.zeros(1, 3, size, size), classes)
    prepared = Prepared(
        inner, size=size, mean=preprocessing["image_mean"], std=preprocessing["image_std"]
    )
    prepared.card = {"model": json.loads(config.to_json_string()), "preprocessing": preprocessing}
    return prepared


def _text(
    library: Any,
    name: str,
    arguments: dict[str, Any],
    spec: Spec,
    model: nn.Module,
    config: Any,
    pooling: str | None,
    classes: int | None,
) -> TextEncoder:
    """Return a text model, used as it was saved; `classes` of a new classifier."""
    place = f"hf/{name}"
    as_saved = _saved(name) if spec.config is None else Saved()
    text, own_length = _tokenizer(library, name, config, spec)
    length = chosen_length(place, arguments, model, as_saved.max_length or own_length)
    use: dict[str, Any] = {
        "pooling": pooling or as_saved.pooling or "mean",
        "normalise": bool(arguments.pop("normalise", as_saved.normalise)),
        "prompt": chosen_prompt(place, arguments, as_saved.prompts, as_saved.default),
        "truncate": chosen_columns(arguments, as_saved.truncate),
    }
    no_arguments_left(place, arguments)
    if as_saved.other and not pooling and is_first():
        other = ", ".join(as_saved.other)
        tell(f"{place} was saved with {other}: only st/{name} does that.")
    encoder = TextEncoder(model, Tokeniser(text, max_length=length), **use)
    if classes:
        add_classifier(encoder, ["a"], classes)
    known = {"model": json.loads(config.to_json_string()), "max_length": own_length}
    encoder.card = {**known, "use": {**use, "max_length": length}}
    return encoder


def _saved(name: str) -> Saved:
    """Return what sentence-transformers saved beside a model."""
    utilities = load_library("transformers.utils", "hf")
    quiet = ("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors")
    try:
        return read_saved(partial(utilities.cached_file, name, **dict.fromkeys(quiet, False)))
    except ValueError as error:
        raise ValueError(f"hf/{name} cannot be read: {error}.") from error


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return the height and width that the model works at; None for a model of texts."""
    if "image_size" in arguments:
        return int(arguments["image_size"])
    library = load_library("transformers", "hf")
    return _size(_config(library, name, Spec(None, None)), _preprocessing(name))


def _config(library: Any, name: str, spec: Spec) -> Any:
    if spec.config is not None:
        return library.AutoConfig.for_model(**_harmless(spec.config["model"]))
    with _reported(library, name):
        return library.AutoConfig.from_pretrained(name, trust_remote_code=False)


def _harmless(config: Any) -> Any:
    """Return a configuration from a run card without what would import or fetch something."""
    if isinstance(config, dict):
        return {k: _harmless(v) for k, v in config.items() if k not in NAMES_CODE}
    return config


def _model(
    library: Any,
    name: str,
    config: Any,
    kind: Kind,
    *,
    pretrained: bool,
    keep: bool,
    pooling: str | None,
) -> tuple[nn.Module, bool]:
    """Return the library's model, and whether it classifies."""
    task = "ForImageClassification" if kind == "image" else "ForSequenceClassification"
    made_as = config.architectures or ()
    classifies = (
        keep and (pooling is None or kind == "text") and any(a.endswith(task) for a in made_as)
    )
    auto = getattr(library, f"AutoModel{task}" if classifies else "AutoModel")
    with _reported(library, name):
        if not pretrained:
            return auto.from_config(config), classifies
        model, loading_info = auto.from_pretrained(
            name,
            config=config,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    missing = [k for k in loading_info["missing_keys"] if pooling == "pooler" or "pooler" not in k]
    if missing:
        raise ValueError(f"hf/{name} has no weights for {sorted(missing)[0]}.")
    return model, classifies


def _preprocessing(name: str, *, say: bool = False) -> dict[str, Any]:
    """Return mean, standard deviation and size from the model's preprocessor_config.json.

    They are those of images in [0, 1], whatever the file's own scale is.
    """
    utilities = load_library("transformers.utils", "hf")
    file = utilities.cached_file(
        name, "preprocessor_config.json", _raise_exceptions_for_missing_entries=False
    )
    given: dict[str, Any] = {} if file is None else json.loads(Path(file).read_text())
    if not given.get("do_normalize", not given or "image_mean" in given):
        given |= {"image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    if say and given.get("do_flip_channel_order") and is_first():
        tell(
            f"hf/{name} was saved with channels in the order blue, green, red, and is given red, "
            "green, blue: as a teacher it is not what it was."
        )
    kept = ("image_mean", "image_std", "size", "crop_size")
    used = PLAIN | {key: given[key] for key in kept if given.get(key) is not None}
    scaled = given.get("do_rescale", True)
    scale = 255 * (given.get("rescale_factor", 1 / 255) if scaled else 1)
    shift = 1 if scaled and (given.get("rescale_offset") or given.get("offset")) else 0
    if shift or not math.isclose(scale, 1):
        used["image_mean"] = [(mean + shift) / scale for mean in used["image_mean"]]
        used["image_std"] = [std / scale for std in used["image_std"]]
    return used


def _size(config: Any, preprocessing: dict[str, Any]) -> int | None:
    """Return the size that the weights were made for, or else that of the preprocessing."""
    for size in (
        getattr(config, "image_size", None),
        getattr(getattr(config, "vision_config", None), "image_size", None),
        preprocessing.get("crop_size"),
        preprocessing.get("size"),
    ):
        if isinstance(size, dict):
            size = size.get("height", size.get("shortest_edge"))
        if isinstance(size, list | tuple):
            size = size[0]
        if isinstance(size, int):
            return size
    return None


def _tokenizer(library: Any, name: str, config: Any, spec: Spec) -> tuple[str, int]:
    """Return the content of the tokenizer.json and the longest text in tokens."""
    if spec.config is not None:
        if spec.tokenizer is None:
            raise ValueError(f"hf/{name} needs its tokenizer.json.")
        return spec.tokenizer, spec.config["max_length"]
    with _reported(library, name):
        tokenizer = library.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise ValueError(f"hf/{name} has no tokenizer.json, and other tokenisers are not read.")
    places = getattr(config, "max_position_embeddings", None) or LONGEST
    own = min(tokenizer.model_max_length, places, LONGEST)
    return str(tokenizer.backend_tokenizer.to_str()), own


@contextlib.contextmanager
def _reported(library: Any, name: str) -> Iterator[None]:
    """Say what goes wrong in one sentence, and keep bars and advice off the screen."""
    logging = library.utils.logging
    before = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except Exception as error:  # of transformers, of the hub, of the network: a dozen kinds
        if Path(name).is_dir():
            reason = " ".join(str(error).split())
            raise ValueError(f"hf/{name} cannot be read: {reason}") from error
        raise not_fetched(f"hf/{name}", error, WAY_OUT) from error
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
