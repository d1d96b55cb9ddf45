"""Few-shot classification: classes that are known by a few samples each, over many episodes."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.retrieval import check_targets
from asterism.seeds import seed_of


@dataclass(frozen=True)
class Episodes:
    """What episodes are made of.

    Attributes:
        shots: Samples by which each class is known; measured for each of these numbers.
        way: Classes of an episode.
        queries: Samples of each class that are to be told apart.
        count: Episodes.
        seed: Seed of their draw.
    """

    shots: tuple[int, ...] = (1, 5)
    way: int = 5
    queries: int = 15
    count: int = 600
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is no episode."""
        if not self.shots or min(*self.shots, self.queries) < 1 or min(self.way, self.count) < 2:
            raise ValueError(
                "episodes need shots and queries of at least 1, and at least 2 ways and 2 "
                f"episodes; got {self}."
            )


@dataclass(frozen=True)
class FewShot:
    """What a number of shots gives.

    Attributes:
        shot: Samples by which each class is known.
        way: Classes of an episode.
        queries: Queries of each class.
        episodes: Episodes.
        accuracy: Mean share of queries that are told right.
        margin: Half the width of its 95 % interval over episodes of these samples: 1.96 standard
            deviations of an episode's accuracy, over the root of their number.
    """

    shot: int
    way: int
    queries: int
    episodes: int
    accuracy: float
    margin: float

    def words(self) -> str:
        """Return it as papers write it."""
        return f"{100 * self.accuracy:.2f} ± {100 * self.margin:.2f} %"


def few_shot(
    embedding: Float[Tensor, "n d"], target: Int[Tensor, " n"], episodes: Episodes
) -> list[FewShot]:
    r"""Tell queries by the nearest prototype, the mean of the shots of each class.

    $$\hat y(q) = \arg\min_k \lVert q - c_k \rVert, \quad
      c_k = \frac{1}{|S_k|} \sum_{s \in S_k} s$$

    The episodes are the same for every embedding of the same samples.

    Args:
        embedding: One row per sample.
        target: Their classes.
        episodes: What episodes are made of.

    Raises:
        ValueError: If too few classes have enough samples.

    Examples:
        >>> import torch
        >>> rows, target = torch.tensor([[0.0], [0.1], [5.0], [5.1]]), torch.tensor([0, 0, 1, 1])
        >>> few_shot(rows, target, Episodes(shots=(1,), way=2, queries=1))[0].accuracy
        1.0

    References:
        Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017,
        https://arxiv.org/abs/1703.05175.
    """
    check_targets("few_shot", embedding, target)
    return [_of_shot(embedding.double(), target, shot, episodes) for shot in episodes.shots]


def _of_shot(rows: Tensor, target: Tensor, shot: int, episodes: Episodes) -> FewShot:
    way, queries, number = episodes.way, episodes.queries, shot + episodes.queries
    members = [(target == c).nonzero().flatten() for c in torch.unique(target)]
    fitting = [own for own in members if len(own) >= number]
    if len(fitting) < way:
        raise ValueError(
            f"episodes of {way} classes with {shot} shots and {queries} queries need {way} classes "
            f"of {number} samples; the data have {len(fitting)}: take fewer queries, or other data."
        )
    truth = torch.arange(way).repeat_interleave(queries)
    shares = []
    for episode in range(episodes.count):
        generator = torch.Generator().manual_seed(seed_of(episodes.seed, shot, episode))
        chosen = torch.randperm(len(fitting), generator=generator)[:way].tolist()
        drawn = torch.stack(
            [
                fitting[c][torch.randperm(len(fitting[c]), generator=generator)[:number]]
                for c in chosen
            ]
        )
        prototypes = rows[drawn[:, :shot]].mean(1)
        nearest = torch.cdist(rows[drawn[:, shot:].flatten()], prototypes).argmin(1)
        shares.append((nearest == truth).double().mean())
    every = torch.stack(shares)
    margin = 1.96 * float(every.std()) / math.sqrt(episodes.count)
    return FewShot(shot, way, queries, episodes.count, float(every.mean()), margin)
