"""`build(name)`: a model by name, with its arguments and weights."""

import inspect
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn
from torch.nn.parameter import is_lazy

from asterism.modality import ARRAY, IMAGE, TEXT
from asterism.models import deep_resnet, mobile, resnet, small, text, vgg, vit, wide_resnet
from asterism.models.adapt import Adapted
from asterism.models.head import HeadOptions
from asterism.models.hub import LIBRARIES, Prepared, build_hub, hub_size, is_hub_name
from asterism.models.modes import in_mode, keeping_buffers
from asterism.models.own import import_factory, in_words
from asterism.models.published import stated_statistics
from asterism.models.spec import Spec
from asterism.models.tokens import read_tokeniser
from asterism.models.weights import load_weights
from asterism.names import (
    is_path,
    joined_name,
    meant,
    nearest,
    nothing_at,
    refuse_arguments,
    split_name,
)

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
# Arguments that are names or texts, even where they look like something else.
NAMES = ("weights", "tokenizer", "embedding", "prompt", "prompt_name")
# What factories get from the data (`Spec.arguments`), which a user has no need to say.
FROM_DATA = frozenset("classes shape image_shape mean std teacher vocabulary".split())
# The kinds of arguments that built-in models have, and how they are called.
KINDS: dict[Any, tuple[Any, str]] = {
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    bool: (bool, "true or false"),
}


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
        return name if _is_native(name) else _filled(Adapted(name, classes=spec.classes), spec)
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
        raise _unknown(base, spec)
    model = head.on(model, spec)
    if weights is not None:
        place = Path(weights)
        file = place / "student.safetensors" if place.is_dir() else place
        new_head = not spec.own_classifier
        load_weights(model, file, base, spec, stated=stated is not None, new_head=new_head)
    return model


def _unknown(base: str, spec: Spec) -> Exception:
    """Return the error for a name that is no model's: of a path, or of one of a model."""
    library, slash, _ = base.partition("/")
    if slash and library in LIBRARIES:
        return ValueError(f"{base} names no model: write {library}/NAME.")
    if slash and (near := nearest(library, LIBRARIES)) and not Path(library).exists():
        return ValueError(f"there is no library {library!r} (did you mean {near}/…?).")
    others = (
        f"{', '.join(f'{library}/…' for library in LIBRARIES)}, path/to/file.py:factory, a run "
        "folder or, as a teacher, a file or a cache of its outputs"
    )
    if Path(base).exists():
        return ValueError(f"{base} is no model: name one of `asterism list`, {others}.")
    if is_path(base):
        return FileNotFoundError(f"{nothing_at(base)}: name one of `asterism list`, {others}.")
    fitting = ", ".join(MODELS_OF[spec.takes])
    return ValueError(f"unknown model {base!r}{meant(base, BUILT_IN)}: name {fitting}, {others}.")


def with_unit_rows(name: Any) -> Any:
    """Return what names a student whose rows have unit length, as its teacher's have.

    Only a built-in model for texts is asked for them, and only where `unit` is not said.

    Examples:
        >>> with_unit_rows("text-static?width=64"), with_unit_rows("resnet20")
        ('text-static?width=64&unit=true', 'resnet20')
    """
    base, given = split_name(name) if isinstance(name, str) else ("", {})
    return (
        joined_name(base, given | {"unit": given.get("unit", "true")})
        if base in text.MODELS
        else name
    )


def arguments_of(name: str) -> dict[str, inspect.Parameter]:
    """Return the arguments of a built-in model that a user may set (`NAME?key=value`)."""
    given = inspect.signature(BUILT_IN[name]).parameters
    return {key: given[key] for key in given if key not in FROM_DATA}


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
    typed = {key: str(value) for key, value in arguments.items()}
    if "tokenizer" in arguments:
        arguments["tokenizer"] = read_tokeniser(Path(str(arguments["tokenizer"])))
    asked = inspect.signature(factory).parameters
    if unknown := arguments.keys() - asked.keys():
        refuse_arguments(base, unknown, [*arguments_of(base), "dim", "unit", "weights"])
    for key, value in arguments.items():
        _refuse_kind(f"{base}?{key}", value, asked[key].annotation)
    try:
        return factory(**({k: v for k, v in known.items() if k in asked} | arguments))
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        if not arguments:
            raise
        how = joined_name(base, typed)
        raise ValueError(f"{how} cannot be built: {in_words(error)}.") from error


def _refuse_kind(place: str, value: Any, declared: Any) -> None:
    """Raise a ValueError for an argument's value of another kind than the one that is declared."""
    if declared not in KINDS:
        return
    kind, words = KINDS[declared]
    fits = isinstance(value, kind) and (declared is bool or not isinstance(value, bool))
    if not fits:
        raise ValueError(f"{place} takes {words}; got {value!r}.")
    if declared is int and value < 1:
        raise ValueError(f"{place} must be at least 1; got {value}.")


def _from_factory(
    factory: Callable[..., Any],
    spec: Spec,
    arguments: dict[str, Any],
    name: str,
    embedding: str | None,
) -> nn.Module:
    parameters = inspect.signature(factory).parameters
    own = [key for key in parameters if key not in FROM_DATA]
    unknown = {key for key in arguments if not _takes(factory, key)}
    refuse_arguments(name, unknown, [*own, "dim", "unit", "weights"])
    known = spec.arguments().items()
    offered = {k: v for k, v in known if k in parameters and v is not None}
    try:
        module = factory(**(offered | arguments))
    except Exception as error:
        raise ValueError(f"{name} failed: {in_words(error)}.") from error
    if not isinstance(module, nn.Module):
        raise ValueError(f"{name} must return a torch.nn.Module; got {type(module).__name__}.")
    return _filled(Adapted(module, classes=spec.classes, embedding=embedding), spec)


def _filled(model: nn.Module, spec: Spec) -> nn.Module:
    """Return a model whose lazy layers have their widths, by a dry pass if there are any.

    Layers that only train mode runs, as auxiliary classifiers, are filled in train mode.
    """
    if spec.shape is None and spec.modality is None:
        return model  # of samples that only the caller knows
    for training in (False, True):
        if not any(map(is_lazy, (*model.parameters(), *model.buffers()))):
            break
        try:
            with torch.no_grad(), keeping_buffers(model), in_mode(model, training=training):
                model(spec.takes.example(spec.shape))
        except Exception as error:
            what = spec.takes.described(spec.shape)
            raise ValueError(
                f"the lazy layers of a model get their widths from a pass of {what}, and it "
                f"failed: {in_words(error)}."
            ) from error
    return model
