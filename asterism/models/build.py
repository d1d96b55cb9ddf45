"""`build(name)`: a model by name, with its arguments and weights."""

import difflib
import hashlib
import inspect
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor, nn

from asterism.modality import ARRAY, IMAGE, TEXT
from asterism.models import deep_resnet, mobile, resnet, small, text, vgg, vit, wide_resnet
from asterism.models.adapt import Adapted, Wrapper
from asterism.models.head import HeadOptions
from asterism.models.hub import LIBRARIES, Prepared, build_hub, hub_size, is_hub_name
from asterism.models.own import import_factory, in_words
from asterism.models.published import (
    MOST_NAMED,
    is_of_torch,
    matched,
    read_weights,
    stated_statistics,
)
from asterism.models.spec import Spec
from asterism.models.tokens import read_tokeniser, tokeniser_of
from asterism.names import split_name

IMAGE_MODELS: dict[str, Callable[..., nn.Module]] = (
    resnet.MODELS
    | deep_resnet.MODELS
    | wide_resnet.MODELS
    | vgg.MODELS
    | mobile.MODELS
    | vit.MODELS
    | small.MODELS
)
BUILT_IN = IMAGE_MODELS | text.MODELS
# What each modality's samples can be given to.
MODELS_OF = {IMAGE: IMAGE_MODELS, TEXT: text.MODELS, ARRAY: {"mlp": IMAGE_MODELS["mlp"]}}
# Arguments that are names of files or modules, even where they look like numbers.
NAMES = ("weights", "tokenizer", "embedding")


def named(text: str) -> tuple[str, dict[str, Any]]:
    """Return the model's name and its arguments, of `NAME?key=value&…`."""
    base, given = split_name(text)
    return base, {key: value if key in NAMES else _value(value) for key, value in given.items()}


def _value(text: str) -> Any:
    """Return what YAML makes of a text; of what it takes for a date, or cannot read, the text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return text if isinstance(value, date) else value


def build(
    name: str | Path | nn.Module | Callable[..., nn.Module],
    spec: Spec,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Return a model that takes images in [0, 1], arrays or texts, and returns `Outputs`.

    Args:
        name: A built-in model (`resnet20`), another library's (`timm/resnet18`, see docs/models.md)
            or `path/to/file.py:factory`, each with arguments (`?weights=PATH&key=value`), or a
            module or factory itself. Arguments other than `weights` (a file, see `load_weights`),
            `embedding` (a submodule, see `Adapted`) and, where the factory does not ask for them,
            `dim` and `unit` (see `Headed`) go to the factory, as do `classes`, `shape` (of images
            also as `image_shape`), `mean` and `std` if it asks for them.
        spec: What the model needs to know about the data.
        arguments: More arguments for a name or a factory; those in the name come first.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is no such model, or arguments or weights do not fit it.
    """
    if isinstance(name, nn.Module):
        return name if _is_native(name) else Adapted(name, classes=spec.classes)
    name = str(name) if isinstance(name, Path) else name
    base, given = named(name) if isinstance(name, str) else ("the factory", {})
    arguments = dict(arguments or {}) | given
    weights = arguments.pop("weights", None)
    embedding = arguments.pop("embedding", None)
    stated = stated_statistics(arguments, spec) if base in IMAGE_MODELS else None
    spec = stated or spec
    own = name if not isinstance(name, str) else import_factory(base) if ".py:" in base else None
    head = HeadOptions.taken_out(arguments, partial(_takes, own or BUILT_IN.get(base)))
    if own is not None:
        model = _from_factory(own, spec, arguments, base, embedding)
    elif base in BUILT_IN:
        model = _built_in(base, spec, arguments)
    elif is_hub_name(base):
        model = build_hub(base, arguments, spec)
    else:
        near = difflib.get_close_matches(base, BUILT_IN, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(
            f"unknown model {base!r}: choose from {', '.join(BUILT_IN)}, "
            f"{', '.join(f'{library}/…' for library in LIBRARIES)}, path/to/file.py:factory, a run "
            f"folder or, as a teacher, a file or a cache of its outputs{hint}."
        )
    model = head.on(model, spec)
    if weights is not None:
        place = Path(weights)
        file = place / "student.safetensors" if place.is_dir() else place
        new_head = not spec.own_classifier
        load_weights(model, file, base, stated=stated is not None, new_head=new_head)
    return model


def unweighted(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model whose weights are loaded afterwards: nothing is fetched."""
    once = {"weights", "start", "tokenizer"} if name in text.MODELS else {"weights"}
    kept = {key: value for key, value in arguments.items() if key not in once}
    return {**kept, "pretrained": False} if is_hub_name(name) else kept


def input_size(model: Any) -> int | None:
    """Return the height and width that a model, or one of this name, works at; None if any."""
    if isinstance(model, nn.Module):
        return next((m.size for m in model.modules() if isinstance(m, Prepared)), None)
    base, arguments = named(str(model)) if isinstance(model, str | Path) else ("", {})
    return hub_size(base, arguments) if is_hub_name(base) else None


def load_weights(
    model: nn.Module, file: Path, name: str, *, stated: bool = False, new_head: bool = False
) -> None:
    """Load a file of weights into a model, strictly.

    On the meta device only the shapes are compared.

    Args:
        model: The model.
        file: A safetensors file, or one of torch (`asterism.models.published`).
        name: Name of the model.
        stated: Whether the model has the statistics that it was trained with, if the file lacks
            them.
        new_head: Whether an embedding head that the file lacks may begin anew.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or its tensors do not fit the model.
    """
    given = read_weights(file)
    inner = _inner(model)
    wanted = inner.state_dict()
    options = {"ordered": is_of_torch(file), "stated": stated, "new_head": new_head}
    state = matched(given, wanted, name, **options)
    problems = [f"{key} is missing" for key in wanted if key not in state]
    problems += [f"{key} is unknown to the model" for key in state if key not in wanted]
    problems += [
        f"{key} has the shape {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and not _fits(state[key], wanted[key])
    ]
    if problems:
        rest = len(problems) - MOST_NAMED
        more = f" (and {rest} more)" if rest > 0 else ""
        raise ValueError(f"{file} does not fit {name}: {'; '.join(problems[:MOST_NAMED])}{more}.")
    if all(x.device.type != "meta" for x in wanted.values()):
        inner.load_state_dict(state)


def _fits(given: Tensor, wanted: Tensor) -> bool:
    # Old checkpoints keep single numbers, as counters, in one-element lists; torch takes them.
    return given.shape == wanted.shape or (wanted.ndim == 0 and given.shape == (1,))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights under the names that the model's own author gave them."""
    inner = _inner(model)
    return {key: value.detach().cpu().contiguous() for key, value in inner.state_dict().items()}


def weights_fingerprint(model: nn.Module) -> str:
    """Return a short hash of a model's weights by name."""
    digest = hashlib.sha256()
    for name, value in sorted(weights_of(model).items()):
        digest.update(name.encode())
        digest.update(value.float().numpy().tobytes())
    return digest.hexdigest()[:16]


def _inner(model: nn.Module) -> nn.Module:
    while isinstance(model, Wrapper):
        model = model.module
    return model


def _is_native(module: nn.Module) -> bool:
    return type(module).__module__.startswith("asterism.")


def _takes(factory: Callable[..., Any] | None, argument: str) -> bool:
    parameters = {} if factory is None else inspect.signature(factory).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _built_in(base: str, spec: Spec, arguments: dict[str, Any]) -> nn.Module:
    fitting = MODELS_OF[spec.takes]
    if base not in fitting:
        made_for = next(m.plural for m, known in MODELS_OF.items() if base in known)
        raise ValueError(
            f"{base} takes {made_for}, and the data are {spec.takes.plural}: choose from "
            f"{', '.join(fitting)}, or path/to/file.py:factory."
        )
    factory = BUILT_IN[base]
    known = spec.arguments()
    if "tokenizer" in arguments:
        arguments["tokenizer"] = read_tokeniser(Path(str(arguments["tokenizer"])))
    elif spec.takes is TEXT and spec.tokenizer is None and (taken := tokeniser_of(spec.teacher)):
        known["tokenizer"] = taken.json
    asked = inspect.signature(factory).parameters
    try:
        return factory(**({k: v for k, v in known.items() if k in asked} | arguments))
    except TypeError as error:
        raise ValueError(f"{base} takes no such argument: {error}.") from error


def _from_factory(
    factory: Callable[..., Any],
    spec: Spec,
    arguments: dict[str, Any],
    name: str,
    embedding: str | None,
) -> nn.Module:
    parameters = inspect.signature(factory).parameters
    unknown = [key for key in arguments if not _takes(factory, key)]
    if unknown:
        raise ValueError(f"{name} takes no argument {unknown[0]!r}.")
    known = spec.arguments().items()
    offered = {k: v for k, v in known if k in parameters and v is not None}
    try:
        module = factory(**(offered | arguments))
    except Exception as error:
        raise ValueError(f"{name} failed: {in_words(error)}.") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module; got {type(module).__name__}.")
    return Adapted(module, classes=spec.classes, embedding=embedding)
