"""Directions of embeddings: rows of unit length."""

import torch
from jaxtyping import Float
from torch import Tensor

# Rows with no larger entry have a direction, but get no gradient: it would be of the order of the
# inverse, which float32 can hardly hold.
SHORTEST = 1e-30
LIFT = 2.0**100


def unit_rows(rows: Float[Tensor, "n d"], *, floor: float | None = None) -> Float[Tensor, "n d"]:
    r"""Return each row divided by its length, $x / \lVert x \rVert$; zero rows stay zero.

    Lengths are taken after division by the largest entry, so squares neither overflow nor vanish
    and rows of any representable size work.

    Args:
        rows: One vector per row.
        floor: Shorter rows have no direction. They are divided by this and get no gradient, which
            would be an artefact of the floor, of the order of its inverse. By default every row but
            zero has a direction.
    """
    largest = rows.detach().abs().amax(1, keepdim=True)
    if floor is None:
        floor = SHORTEST
        short = largest < SHORTEST
        # A power of two, so no digit changes.
        rows = torch.where(short, rows.detach() * LIFT, rows)
        largest = torch.where(short, largest * LIFT, largest)
    scaled = rows / largest.clamp_min(floor)
    # The largest entry is now 1, unless the row is shorter than the floor: then its length is.
    length = scaled.norm(dim=1, keepdim=True)
    units = scaled / length.clamp_min(1)
    return torch.where(length < 1, units.detach(), units)
