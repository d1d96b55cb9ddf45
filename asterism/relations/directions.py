"""Directions of embeddings: rows of unit length."""

import torch
from jaxtyping import Float
from torch import Tensor


def unit_rows(rows: Float[Tensor, "n d"], *, floor: float = 1e-30) -> Float[Tensor, "n d"]:
    r"""Return each row divided by its length, $x / \max(\lVert x \rVert, \mathrm{floor})$.

    Lengths are taken after division by the largest entry, so squares neither overflow nor vanish
    and rows of any representable size work.

    Args:
        rows: One vector per row.
        floor: Shorter rows have no direction. They are divided by this and get no gradient, which
            would be an artefact of the floor, of the order of its inverse.
    """
    scaled = rows / rows.detach().abs().amax(1, keepdim=True).clamp_min(floor)
    # The largest entry is now 1, unless the row is shorter than the floor: then its length is.
    length = scaled.norm(dim=1, keepdim=True)
    units = scaled / length.clamp_min(1)
    return torch.where(length < 1, units.detach(), units)
