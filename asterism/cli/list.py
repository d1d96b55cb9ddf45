"""`asterism list`."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_type_hints

import torch

from asterism import methods
from asterism.cli.help import entry, value_of
from asterism.cli.mistakes import UsageError
from asterism.cli.parser import Parser
from asterism.losses import LOSSES
from asterism.models import BUILT_IN, MODELS_OF, Spec, arguments_of, build
from asterism.models.hub import LIBRARIES
from asterism.models.published import STATISTICS
from asterism.names import meant
from asterism.options import help_of, said_of
from asterism.words import listing

DATA = {
    "digits": "scikit-learn's 8x8 digits, built in",
    "FOLDER": "pictures, FOLDER/CLASS/*.jpg with labels or FOLDER/*.jpg without",
    "FILE.npz": "x: uint8 images (n, h, w[, c]) or float arrays (n, …), y: class numbers "
    "(optional); ?kind=array for floats that look like images",
    "FILE.npy": "float arrays (n, …), without labels",
    "FILE.csv": "a table of texts, of pictures' paths or of arrays, also .tsv, .jsonl, .parquet; "
    "?text=COLUMN or ?image=COLUMN or ?array=COLUMN, &label=COLUMN, &id=COLUMN",
    "FILE.txt": "texts, one per line",
    "hf/NAME": "a data set of Hugging Face, also a folder of save_to_disk; ?split=train, "
    "&config=NAME, and columns as of a table",
}
OTHERS = {
    "path/to/file.py:factory": "your own module; ?key=value are the factory's arguments",
    **{f"{library}/NAME": f"a model of {file}" for library, file in LIBRARIES.items()},
    "runs/NAME": "the student of an earlier run",
    "FILE.npy, FILE.npz, …": "a teacher that is only its outputs, or FOLDER, a cache of them",
}
# Around 32×32 pictures in colour, what the literature's networks are made for.
USUAL = Spec(10, (3, 32, 32))


# What every model takes beside arguments of its own, and every model of images (docs/models.md).
SHARED = {
    "dim=N": "Columns of an embedding head on what it pools.",
    "unit=true|false": "Whether rows are brought to unit length. (default false)",
    "weights=FILE": "A safetensors file, a run folder, or what torch saved (.pth, .pt, .ckpt).",
}
OF_IMAGES = {
    "normalised=NAME": "With such weights: the data whose mean and deviation they are used to, "
    f"{', '.join(STATISTICS)}.",
    "mean=… std=…": "Or these themselves, of images in [0, 1], as 0.5,0.5,0.5.",
}


def run(arguments: Sequence[str]) -> None:
    """Print what can be named on the command line, or what one name means."""
    parser = Parser(prog="asterism list")
    parser.add_argument("names", type=str, nargs="*", help="Names to show: resnet20 RKD timm.")
    names = parser.parse_args(list(arguments)).names or []
    for name in names:
        print(_page(name.partition("?")[0]))
    if not names:
        print("\n\n".join([*(section() for section in SECTIONS.values()), SEE]))


def kind_of(name: str) -> str | None:
    """Return in words of which kind a name is; None if it is not known."""
    if name in methods.__all__:
        return "a method"
    if name in LOSSES:
        return "a loss"
    if name in BUILT_IN:
        return "a model"
    return "a library of models" if name in LIBRARIES else "data" if name in DATA else None


def _methods() -> str:
    entries = [entry(name, _first(getattr(methods, name))) for name in methods.__all__]
    return "\n".join(["methods (--method NAME)", *entries])


def _losses() -> str:
    entries = [entry(name, _first(kind)) for name, kind in LOSSES.items()]
    return "\n".join(["losses with the labels (--loss NAME?key=value&key=value)", *entries])


def _models() -> str:
    named = {**_families(), **OTHERS}
    head = "models (--teacher, --student; NAME?key=value&weights=FILE)"
    return "\n".join([head, *(entry(name, what) for name, what in named.items())])


def _data() -> str:
    head = "data (--data, --validation-data, --test-data)"
    return "\n".join([head, *(entry(name, what) for name, what in DATA.items())])


SECTIONS = {"methods": _methods, "losses": _losses, "models": _models, "data": _data}
SEE = "`asterism list NAME` shows what one is, and its arguments."


def _families() -> dict[str, str]:
    """Return the built-in models that are of one kind together, with what they are."""
    families: dict[Any, list[str]] = {}
    for name, factory in BUILT_IN.items():
        families.setdefault(_class(factory), []).append(name)
    found = {}
    for kind, names in families.items():
        own = [f"?{key}=" for key in arguments_of(names[0])]
        takes = f" {' '.join(own)}" if own else ""
        found[", ".join(names)] = f"{_first(kind)}{takes} (for {_takes(names[0])})"
    return found


def _takes(name: str) -> str:
    return listing([kind.plural for kind, known in MODELS_OF.items() if name in known])


def _page(name: str) -> str:
    """Return what one name means.

    Raises:
        UsageError: If nothing has it.
    """
    library = name.partition("/")[0]
    if name in SECTIONS:
        return SECTIONS[name]() + "\n"
    if name in methods.__all__:
        return _method(getattr(methods, name))
    if name in LOSSES:
        return _loss(name)
    if name in BUILT_IN:
        return _model(name)
    if library in LIBRARIES:
        module = importlib.import_module(f"asterism.models.hub.{LIBRARIES[library]}")
        return f"{inspect.getdoc(module)}\n"
    if name in DATA or name in OTHERS:
        return entry(name, {**DATA, **OTHERS}[name]) + "\n"
    known = [*methods.__all__, *LOSSES, *BUILT_IN, *LIBRARIES, *SECTIONS, "digits"]
    raise UsageError(f"nothing is called {name!r}{meant(name, known)}: see `asterism list`.")


def _method(method: Any) -> str:
    doc = inspect.getdoc(method) or ""
    said = said_of(method.__init__.__doc__, "Args")
    options = [
        entry(
            f"--method.{key} {value_of(type(value))}",
            f"{said.get(key, '')} (default {_plain(value)})",
        )
        for key, value in method().config().items()
    ]
    name = method.__name__
    lines = [f"{name}: a method (--method {name}). {method.paper}", "", doc, "", "options"]
    return "\n".join([*lines, *options]) + "\n"


def _loss(name: str) -> str:
    kind = LOSSES[name]
    types, said = get_type_hints(kind), help_of(kind)
    arguments = [
        entry(
            f"{each.name}={value_of(types[each.name])}",
            f"{said[each.name]} (default {_plain(each.default)})",
        )
        for each in fields(kind)
    ]
    doc = (inspect.getdoc(kind) or "").partition("\n\nAttributes:")[0]
    lines = [f"{name}: a loss with the labels (--loss {name}).", "", doc, ""]
    return "\n".join([*lines, f"arguments ({name}?key=value&key=value)", *arguments]) + "\n"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _model(name: str) -> str:
    kind = _class(BUILT_IN[name])
    said = {**said_of(kind.__doc__, "Args"), **said_of(kind.__init__.__doc__, "Args")}
    arguments = [_argument(key, each, said) for key, each in arguments_of(name).items()]
    own = arguments_of(name)
    shared = {**SHARED, **OF_IMAGES} if name in MODELS_OF[USUAL.takes] else SHARED
    arguments += [entry(k, shared[k]) for k in shared if k.partition("=")[0] not in own]
    doc = (inspect.getdoc(kind) or "").partition("\n\nAttributes:")[0].partition("\n\nArgs:")[0]
    lines = [f"{name}: a model for {_takes(name)}.", "", doc, *_size(name)]
    return "\n".join([*lines, "", f"arguments ({name}?key=value&key=value)", *arguments]) + "\n"


def _argument(key: str, parameter: inspect.Parameter, said: Mapping[str, str]) -> str:
    value = value_of(parameter.annotation)
    default = parameter.default
    shown = "" if default in (None, inspect.Parameter.empty) else f"(default {_plain(default)})"
    return entry(f"{key}={value}", f"{said.get(key, '')} {shown}".strip())


def _size(name: str) -> list[str]:
    """Return how large a model of images is; of another, that depends on the data."""
    if USUAL.takes not in [kind for kind, known in MODELS_OF.items() if name in known]:
        return []
    with torch.device("meta"):
        model = build(name, USUAL)
        width = model(torch.zeros(2, *(USUAL.shape or ()))).embedding.shape[1]
    parameters = sum(p.numel() for p in model.parameters())
    return [f"{parameters:,} parameters for 32x32 pictures in colour of 10 classes; width {width}."]


def _class(factory: Callable[..., Any]) -> Any:
    return getattr(factory, "func", factory)  # of a partial, what it completes


def _first(thing: Any) -> str:
    """Return what a thing is; of a function that makes it, what that returns."""
    line = (inspect.getdoc(thing) or "").partition("\n")[0]
    return line.removeprefix("Return ")
