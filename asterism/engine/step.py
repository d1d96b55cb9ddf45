"""One step of a training."""

from typing import Any

import torch
from torch import Tensor

from asterism.distributed import average_gradients, shard_sizes
from asterism.engine.encoded import Encoded, seed_step
from asterism.engine.optimiser import clip_gradients
from asterism.engine.state import State
from asterism.types import Batch


def train_step(state: State, batch: Batch, key: tuple[int, ...], number: int) -> dict[str, Tensor]:
    """Take one step of the optimiser, on the samples of all ranks.

    Each rank encodes its samples, in chunks if they are many; the outputs of all ranks are
    gathered; the loss is computed of them, and its gradient flows back to each rank's chunks.

    Args:
        state: The training.
        batch: This rank's samples, on the device.
        key: Seed of what the step draws.
        number: Number of the pass over the data, and so of the views.

    Returns:
        The weighted terms and their sum, `loss`, detached; nothing where no rank has a sample.
    """
    state.broken |= dict.fromkeys(batch.broken)
    sizes = shard_sizes(len(batch.index), state.device)
    if sum(sizes) == 0:
        return {}
    state.faults.remember(state.student, state.objective)
    measuring = state.balance is not None and state.balance.measuring
    passed = state.encoder.encode(batch, number, key, eagerly=measuring)
    seed_step(*key)  # what methods draw is the same on all ranks
    terms = state.objective.terms(passed.student, passed.teacher, passed.batch, sizes)
    terms = _balanced(state, passed.encoded, terms)
    loss = torch.stack(list(terms.values())).sum()
    state.optimizer.zero_grad()
    torch.autograd.backward(loss if state.scaler is None else state.scaler.scale(loss))
    passed.encoded.backward()
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    average_gradients(parameters)
    norm = clip_gradients(parameters, state.settings.clip, state.scaler)
    # The scaler watches its own gradient.
    checked = terms if state.scaler is not None else {**terms, "gradient": norm}
    if state.faults.passes(checked, state.step, batch.index):
        _descend(state)
    state.schedule.step()
    return {name: value.detach() for name, value in {**terms, "loss": loss}.items()}


def _balanced(state: State, encoded: Encoded, terms: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the terms times their factors, which the first steps set by their gradients."""
    balance = state.balance
    if balance is None:
        return terms
    if balance.measuring:
        scale = 1.0 if state.scaler is None else state.scaler.get_scale()
        norms = encoded.norms(list(terms.values()), scale=scale)
        balance.observe(dict(zip(terms, norms, strict=True)))
    return balance.scaled(terms)


def _descend(state: State) -> None:
    optimizer: Any = state.optimizer
    if state.scaler is None:
        optimizer.step()
    else:
        state.scaler.step(optimizer)
        state.scaler.update()
    state.step += 1
    if state.ema is not None:
        state.ema.update_parameters(state.student)
