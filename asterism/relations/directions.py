"""Directions of embeddings."""

import torch
from jaxtyping import Float
from torch import Tensor

# Rows shorter than this have no direction.
SHORTEST_ROW = 1e-12


def unit_rows(rows: Float[Tensor, "n d"], *, eps: float = 0.0) -> Float[Tensor, "n d"]:
    """Return each row divided by its length; a row of zeros stays zero and gets no gradient.

    Args:
        rows: Embeddings, one row per sample.
        eps: Added to the lengths, for losses whose authors do so.
    """
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > SHORTEST_ROW, length + eps, torch.inf)
