"""Outputs of a model on a whole data set."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from asterism.models.modes import evaluating as evaluating
from asterism.types import Batch, Outputs, on_device


def collect(
    model: nn.Module, batches: Iterable[Batch], device: torch.device | str = "cpu"
) -> Outputs:
    """Return the embeddings and logits of all samples, in the order of the batches.

    The model runs in eval mode without gradients; afterwards its modes are as they were.

    Args:
        model: Takes the first view of a batch and returns `Outputs`.
        batches: The data, once through.
        device: Where the model is; the views are moved there.

    Returns:
        Float32 rows on the CPU; `logits` is None for a model without classes. No batches give an
        embedding of shape (0, 0).
    """
    embeddings: list[Tensor] = []
    logits: list[Tensor] = []
    with evaluating(model):
        for batch in batches:
            outputs = model(on_device(batch.views[0], device))
            embeddings.append(outputs.embedding.float().cpu())
            if outputs.logits is not None:
                logits.append(outputs.logits.float().cpu())
    if not embeddings:
        return Outputs(torch.empty(0, 0))
    return Outputs(torch.cat(embeddings), torch.cat(logits) if logits else None)
