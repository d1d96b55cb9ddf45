"""Weights as others publish them: `.pth`, `.pt`, `.ckpt` and safetensors under other names.

Files of torch are read with `weights_only=True`: nothing in them is run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from asterism.distributed import is_first
from asterism.models.spec import Spec
from asterism.words import tell

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt", ".th", ".tar", ".bin")
# Where training code keeps the weights inside what it saves, the first that is there.
PLACES = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights")
# What wrappers of others put before each name (DataParallel, torch.compile, Lightning).
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.")
# Networks whose parameters come in the same order as in the code that the distillation literature
# shares (Tian et al., ICLR 2020, and what was published with it), and that compute the same.
SAME_ORDER = frozenset(
    "resnet8 resnet14 resnet20 resnet32 resnet44 resnet56 resnet110 resnet8x4 resnet32x4 wrn-16-2 "
    "wrn-40-1 wrn-40-2 vgg8 vgg11 vgg13".split()
)
# Mean and standard deviation of each channel, of images in [0, 1], as published networks were
# trained with: by the data's name.
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mnist": ((0.1307,), (0.3081,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}
HEAD = "embedding_head."
# How many tensors a message names.
MOST_NAMED = 20
NORMALISATION = ("normalise.mean", "normalise.std")


def stated_statistics(arguments: dict[str, Any], spec: Spec) -> Spec | None:
    """Take `normalised` or `mean` and `std` out of a model's arguments.

    Args:
        arguments: What stood behind the `?`: `normalised=cifar100`, or `mean=0.5,0.5,0.5` and
            `std=0.25`.
        spec: What the data are.

    Returns:
        The spec with these statistics; None if none are stated.

    Raises:
        ValueError: If one is stated without the other, or is none.
    """
    name = arguments.pop("normalised", None)
    given = {key: arguments.pop(key) for key in ("mean", "std") if key in arguments}
    if name is None and not given:
        return None
    if name is not None and (given or name not in STATISTICS):
        raise ValueError(
            f"normalised names the data whose mean and deviation a network was trained with, "
            f"{', '.join(STATISTICS)}; for others state mean and std instead. Got {name!r}."
        )
    if name is not None:
        mean, std = STATISTICS[name]
    elif len(given) < 2:
        raise ValueError("mean and std go together: state both, for images in [0, 1].")
    else:
        mean, std = _numbers(given["mean"]), _numbers(given["std"])
    channels = (spec.shape or (0,))[0]
    if {len(mean), len(std)} - {1, channels} or min(std, default=0) <= 0:
        raise ValueError(
            f"mean and std must be one number, or one for each of the {channels} channels, and std "
            f"above 0; got {mean} and {std}."
        )
    return replace(spec, mean=mean, std=std)


def _numbers(value: Any) -> tuple[float, ...]:
    try:
        return tuple(float(x) for x in str(value).split(","))
    except ValueError:
        raise ValueError(f"mean and std are numbers joined by commas; got {value!r}.") from None


def is_of_torch(file: Path) -> bool:
    """Return whether a file is one of torch, by its name."""
    return file.suffix.lower() in TORCH_SUFFIXES


def read_weights(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name, without what wrappers put before their names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no weights, or more than tensors and plain values.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no weights at {file}.")
    if not is_of_torch(file):
        try:
            return load_file(file)
        except SafetensorError as error:
            raise ValueError(f"{file} is not a safetensors file: {error}.") from error
    try:
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # of pickle, zip and torch: a dozen kinds
        raise ValueError(
            f"{file} cannot be read: it is damaged, or holds more than tensors and plain values, "
            "and nothing in a file is run. Where you trust it, write its weights anew: "
            "torch.save(model.state_dict(), FILE)."
        ) from error
    tensors = dict(_tensors(held))
    if not tensors:
        raise ValueError(f"{file} holds no weights by name: save a model's state_dict().")
    for prefix in PREFIXES * 2:  # wrapped twice at most
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _tensors(held: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a state, which may lie in what training code saves around it."""
    if not isinstance(held, Mapping):
        return
    place = next((x for x in PLACES if isinstance(held.get(x), Mapping)), None)
    if place is not None:
        yield from _tensors(held[place])
        return
    yield from ((str(k), v) for k, v in held.items() if isinstance(v, Tensor))


def matched(
    given: dict[str, Tensor],
    wanted: Mapping[str, Tensor],
    name: str,
    *,
    ordered: bool,
    stated: bool = False,
    new_head: bool = False,
) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of a model's own, as far as they fit.

    By name; of a network that is known to be equal, in their order, where all shapes agree.
    Counters that only a momentum of None would read come from the model where the file lacks them,
    as older ones do.

    Args:
        given: The tensors of the file, in its order.
        wanted: Those of the model, in its order.
        name: Name of the model.
        ordered: Whether the file keeps the order of the model, as torch's do and safetensors not.
        stated: Whether the model has the statistics that the published one was trained with.
        new_head: Whether an embedding head that the file lacks may begin anew.

    Raises:
        ValueError: If nobody says which statistics these are, or tensors differ in their order.
    """
    known = {k: v for k, v in wanted.items() if k.endswith("num_batches_tracked")}
    if stated:
        known |= {k: wanted[k] for k in NORMALISATION if k in wanted}
    if new_head and not any(key.startswith(HEAD) for key in given):
        known |= {k: v for k, v in wanted.items() if k.startswith(HEAD)}
    own = [
        k for k in wanted if k not in known and k not in NORMALISATION and not k.startswith(HEAD)
    ]
    theirs = [k for k in given if not k.endswith("num_batches_tracked") and k not in wanted]
    if ordered and name in SAME_ORDER and theirs:
        theirs = [k for k in given if not k.endswith("num_batches_tracked")]
        given = _in_order({k: given[k] for k in theirs}, {k: wanted[k] for k in own}, name)
    lacking = [k for k in NORMALISATION if k in wanted and k not in known and k not in given]
    if lacking and set(own) <= set(given):
        raise ValueError(
            f"these weights of {name} do not say by which mean and deviation images were brought "
            f"to the network: state it, {name}?weights=FILE&normalised=NAME with one of "
            f"{', '.join(STATISTICS)}, or &mean=…&std=… for images in [0, 1]."
        )
    return known | given


def _in_order(given: dict[str, Tensor], wanted: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return tensors under the names that the model has for them at the same place."""
    if len(set(given) & set(wanted)) > min(len(given), len(wanted)) / 2:
        return given  # its own names, but for some
    for (key, value), (own, like) in zip(given.items(), wanted.items(), strict=False):
        if value.shape != like.shape or key.rpartition(".")[2] != own.rpartition(".")[2]:
            raise ValueError(
                f"these weights are not those of {name}: where {name} has {own} {tuple(like.shape)}"
                f", the file has {key} {tuple(value.shape)}."
            )
    rest = [*list(given)[len(wanted) :], *list(wanted)[len(given) :]]
    if rest:
        raise ValueError(
            f"these weights are not those of {name}: the file has {len(given)} tensors and {name} "
            f"{len(wanted)}; without a counterpart are {', '.join(rest[:MOST_NAMED])}."
        )
    if is_first():
        said = f"{len(wanted)} tensors matched with {name}'s in their order, every shape agrees"
        tell(f"asterism: weights under other names: {said}.")
    return dict(zip(wanted, given.values(), strict=True))
