"""Reductions of the teacher's embedding that need no training."""

import torch
from jaxtyping import Float
from torch import Tensor

from asterism.measures.alignment import Affine
from asterism.measures.gallery import SEED


def principal_components(rows: Float[Tensor, "n d"], width: int) -> Affine:
    """Return the map onto the directions of largest variance.

    Args:
        rows: Embeddings to fit.
        width: Number of directions; all there are if the rows are narrower.
    """
    centred = rows.double() - rows.double().mean(0)
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    weight = vectors.flip(1)[:, :width]
    return Affine(weight, -rows.double().mean(0) @ weight)


def random_projection(dim: int, width: int, *, seed: int = SEED) -> Affine:
    """Return a map with independent normal entries, which keeps distances on average.

    Args:
        dim: Width of the rows to be mapped.
        width: Width of the mapped rows.
        seed: Seed of the entries.

    References:
        Johnson and Lindenstrauss, Extensions of Lipschitz mappings into a Hilbert space, 1984.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(dim, width, generator=generator, dtype=torch.float64) / width**0.5
    return Affine(weight, torch.zeros(width, dtype=torch.float64))
