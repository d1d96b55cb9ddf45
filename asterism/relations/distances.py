"""Pairwise distances within a batch."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def pair_distances(rows: Float[Tensor, "n d"], *, floor: float = 1e-6) -> Float[Tensor, " p"]:
    """Return the Euclidean distance of each pair `i < j`, in the order of `torch.pdist`.

    Computed from differences, not from a Gram matrix, whose cancellation costs float32 5 % of the
    distances inside a cluster of relative spread 1e-3 and all digits at 1e-4.

    Args:
        rows: Embeddings, one row per sample.
        floor: Smallest distance returned; pairs at the floor get no gradient, so that duplicate
            rows and collapsed batches stay finite.
    """
    return F.pdist(rows).clamp_min(floor)
