"""Weights of models: read, matched with a model's own, written."""

import hashlib
from contextlib import suppress
from pathlib import Path

from torch import Tensor, nn

from asterism.models.adapt import Wrapper
from asterism.models.modes import evaluating
from asterism.models.published import MOST_NAMED, is_of_torch, matched, read_weights
from asterism.models.spec import Spec


def load_weights(
    model: nn.Module,
    file: Path,
    name: str,
    spec: Spec | None = None,
    *,
    stated: bool = False,
    new_head: bool = False,
) -> None:
    """Load a file of weights into a model, strictly.

    On the meta device only the shapes are compared.

    Args:
        model: The model.
        file: A safetensors file, or one of torch (`asterism.models.published`).
        name: Name of the model.
        spec: The data of a model that may make layers in its first pass.
        stated: Whether the model has the statistics that it was trained with, if the file lacks
            them.
        new_head: Whether an embedding head that the file lacks may begin anew.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read or its tensors do not fit the model.
    """
    given = read_weights(file)
    inner = _inner(model)
    if spec is not None and given.keys() - inner.state_dict().keys():
        with suppress(Exception), evaluating(model):  # it may be no model of these data after all
            model(spec.takes.example(spec.shape))
    wanted = inner.state_dict()
    options = {"ordered": is_of_torch(file), "stated": stated, "new_head": new_head}
    state = matched(given, wanted, name, **options)
    # Other libraries keep tied weights under one of their names.
    known = {value.data_ptr() for key, value in wanted.items() if key in state} - {0}
    state = {k: v for k, v in wanted.items() if k not in state and v.data_ptr() in known} | state
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
    """Return the weights on the CPU, under the names that the model's own author gave them.

    Tied weights, which have several names, come once under each of them, none sharing memory:
    safetensors keeps nothing that does.

    Raises:
        ValueError: If the state of the model is more than tensors.
    """
    weights: dict[str, Tensor] = {}
    seen: set[int] = set()
    for key, value in _inner(model).state_dict().items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"the state of a model must be tensors, and {key} is of type "
                f"{type(value).__name__}: keep it in a buffer, or let the constructor make it."
            )
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() > tensor.nbytes:
            tensor = tensor.clone()
        weights[key] = tensor
        seen.add(tensor.untyped_storage().data_ptr())
    return weights


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
