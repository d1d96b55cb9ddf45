"""Scores of queries that look for partners: rows of their class in a gallery."""

from typing import NamedTuple

import torch
from torch import Tensor

from asterism.measures.estimate import Estimate, share_of
from asterism.measures.gallery import Gallery


class Block(NamedTuple):
    """Some queries: their numbers, classes and partners; their neighbours, and which are these."""

    queries: Tensor
    own: Tensor
    partners: Tensor
    neighbours: Tensor
    match: Tensor


class Scores:
    """The scores of one measure, and what each row of the gallery adds to them."""

    def __init__(self, classes: Tensor, queries: Tensor | None, *, asked: int = 0) -> None:
        self.classes = classes
        self.gallery = Gallery(len(classes), queries, asked=asked)
        self.asked: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scores: list[Tensor] = []
        self.rest: list[Tensor] = []

    def add(self, block: Block, scores: Tensor, change: Tensor, rest: Tensor | None = None) -> None:
        """Add a block: scores, what its neighbours add, and what a partner elsewhere adds."""
        width = change.shape[1]
        # Without its only partner a query would not count, see `share`.
        alone = (block.partners == 1)[:, None] & block.match[:, :width]
        change = torch.where(alone | (block.partners == 0)[:, None], 0, change)
        self.gallery.add(block.queries, block.neighbours[:, :width], change)
        self.asked.append((block.queries, block.own, block.partners))
        self.scores.append(torch.where(block.partners > 0, scores, torch.nan))
        self.rest.append(torch.zeros_like(scores) if rest is None else rest)

    def share(self, step: float) -> Estimate | None:
        """Return the mean of the scores."""
        if not self.asked:
            return None
        queries, own, partners = map(torch.cat, zip(*self.asked, strict=True))
        scores = torch.cat(self.scores)
        rest = torch.where(partners == 1, scores - scores.nanmean(), torch.cat(self.rest))
        rest = torch.where(partners == 0, 0, rest)
        self.gallery.add_partners(queries, own, rest, self.classes)
        return share_of(scores, self.gallery, step=step)
