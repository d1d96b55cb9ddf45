"""Arrays: float features of any shape, as spectrograms, time series, tables, other features."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asterism import reading
from asterism.modality.modality import THUMBNAIL, Modality, Pictures, Statistics
from asterism.types import Samples, Shape


class Array(Modality):
    """Float arrays of one shape, `(d,)`, `(t, d)`, `(c, t)`, …; taken as they come."""

    name = "array"
    plural = "arrays"
    columns = ("array", "features")
    optimizer = "sgd"
    preparation = "check its weights, and whether it expects its features normalised"

    def example(self, shape: Shape) -> Samples:
        """Return two arrays of zeros."""
        return torch.zeros(2, *(shape or ()))

    def edges(self, shape: Shape) -> list[tuple[str, Samples]]:
        """Return an array of zeros, and one of values of either sign."""
        size = (1, *(shape or ()))
        values = torch.randn(size, generator=torch.Generator().manual_seed(0))
        return [("an array of zeros", torch.zeros(size)), ("an array of noise", values)]

    def statistics(self, samples: Samples) -> Statistics:
        """Return mean and deviation: of each feature of `(n, d)`, of all values of larger shapes.

        Which axis of a larger one holds the features is not known.
        """
        values = torch.as_tensor(samples).double()
        over = (0,) if values.ndim == 2 else tuple(range(values.ndim))
        std = values.std(over, correction=int(len(values) > 1)).clamp_min(1e-6)
        return tuple(values.mean(over).flatten().tolist()), tuple(std.flatten().tolist())

    def pictures(self, parts: Sequence[Samples]) -> Pictures:
        """Return a line for each array of one axis, a heat picture for each of more."""
        drawn = [_drawn(torch.as_tensor(part).float()) for part in parts]
        return {"thumbnails": np.concatenate(drawn)}

    def read(self, given: Sequence[Any], shape: Shape) -> Samples:
        """Return arrays, tensors or `.npy` files as one batch."""
        rows = [x.detach().cpu().float().numpy() if isinstance(x, Tensor) else x for x in given]
        return torch.from_numpy(reading.arrays(rows, shape or ()))

    def contents(self, samples: Samples) -> Iterator[bytes]:
        """Yield the bytes of each array."""
        for row in torch.as_tensor(samples):
            yield row.contiguous().numpy().tobytes()


def _drawn(arrays: Tensor) -> "np.ndarray[Any, Any]":
    """Return pictures `(n, height, width, 3)` of arrays `(n, …)`."""
    low, high = arrays.amin(), arrays.amax()
    shares = (arrays - low) / (high - low).clamp_min(1e-12)
    flat = shares.reshape(len(shares), -1, shares.shape[-1]) if shares.ndim > 2 else shares
    return _lines(flat) if flat.ndim == 2 else _heat(flat)


def _lines(shares: Tensor) -> "np.ndarray[Any, Any]":
    """Draw each row of shares `(n, d)` as a line from left to right, dark on white."""
    columns = torch.linspace(0, shares.shape[1] - 1, THUMBNAIL).round().long()
    level = ((1 - shares[:, columns]) * (THUMBNAIL // 2 - 1)).round().long()
    before = torch.cat([level[:, :1], level[:, :-1]], 1)
    row = torch.arange(THUMBNAIL // 2)[None, :, None]
    low, high = torch.minimum(level, before), torch.maximum(level, before)
    inked = (row >= low[:, None]) & (row <= high[:, None])
    picture = torch.where(inked, 40, 255).byte()
    return picture[..., None].expand(-1, -1, -1, 3).numpy()


def _heat(shares: Tensor) -> "np.ndarray[Any, Any]":
    """Draw each of the shares `(n, h, w)` as a picture from white (low) to dark blue (high)."""
    height, width = (min(side, THUMBNAIL) for side in shares.shape[1:])
    small = torch.nn.functional.interpolate(shares[:, None], (height, width), mode="area")[:, 0]
    dark = torch.tensor([8.0, 48.0, 107.0])
    picture = 255 - small[..., None] * (255 - dark)
    return picture.round().byte().numpy()
