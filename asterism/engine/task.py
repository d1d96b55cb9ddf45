"""The task: what computes the loss with the labels (`asterism.losses`)."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asterism import losses
from asterism.models.hub import load_library
from asterism.relations import unit_rows
from asterism.relations.inputs import connected_zero, full_precision
from asterism.types import Outputs


class Task(nn.Module):
    """The loss with the labels; what it learns beside the network is in its parameters.

    Attributes:
        of_scores: Whether it is of the classifier's scores, of each sample by itself: `forward`
            then returns `(n,)`. Otherwise it is of the embeddings of a whole batch, and `forward`
            returns their loss, a scalar.
        rate: Learning rate of its own parameters, as a multiple of the network's.
    """

    of_scores: bool = True
    rate: float = 1.0

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the loss of some samples, of these classes."""
        raise NotImplementedError


class CrossEntropyTask(Task):
    """Cross-entropy of the scores."""

    def __init__(self, smoothing: float = 0.0) -> None:
        """Store the share of the target that all classes have alike."""
        super().__init__()
        self.smoothing = smoothing

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the cross-entropy of each sample, `(n,)`."""
        logits = outputs.logits
        assert logits is not None
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(logits, target, reduction="none", label_smoothing=self.smoothing)


class MetricTask(Task):
    """A loss of pytorch-metric-learning, with its miner.

    Attributes:
        library_loss: Takes rows, their classes and what the miner chose of them.
        miner: Chooses pairs or triplets of a batch; None for all.
    """

    of_scores = False

    def __init__(
        self, loss: nn.Module, miner: nn.Module | None, *, unit: bool, rate: float
    ) -> None:
        """Store both.

        Args:
            loss: The library's loss.
            miner: The library's miner, or None.
            unit: Whether rows are divided by their lengths, those of zeros without a gradient.
            rate: Learning rate of the loss's own parameters.
        """
        super().__init__()
        self.library_loss = loss
        self.miner = miner
        self.unit = unit
        self.rate = rate

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the loss of a batch; zero for fewer than two rows."""
        rows = outputs.embedding
        if len(rows) < 2:
            return connected_zero(rows)
        return _of_rows(rows, target=target, task=self)


class PrototypicalTask(Task):
    r"""Cross-entropy of the queries of an episode, by squared distances to the prototypes.

    $$\ell = -\frac{1}{|Q|} \sum_{q \in Q} \log
      \frac{\exp(-\lVert q - c_{y(q)} \rVert^2)}{\sum_k \exp(-\lVert q - c_k \rVert^2)}$$
    """

    of_scores = False

    def __init__(self, shot: int, *, unit: bool) -> None:
        """Store how many samples of a class, the first ones, are its shots."""
        super().__init__()
        self.shot = shot
        self.unit = unit

    def forward(self, outputs: Outputs, target: Tensor) -> Tensor:
        """Return the loss of an episode; zero without a query."""
        return _of_episode(outputs.embedding, target=target, task=self)


@full_precision
def _of_episode(rows: Tensor, *, target: Tensor, task: PrototypicalTask) -> Tensor:
    present, number = torch.unique(target, return_inverse=True)
    mine = (number[:, None] == torch.arange(len(present), device=number.device)).long()
    place = (mine.cumsum(0) * mine).sum(1)  # of each row among those of its class, from 1
    shots = place <= task.shot
    if shots.all():
        return connected_zero(rows)
    rows = unit_rows(rows) if task.unit else rows
    rows = rows - rows.detach().mean(0)  # distances do not change, and lose fewer digits
    weights = (mine * shots[:, None]).to(rows.dtype)
    prototypes = (weights / weights.sum(0)).T @ rows
    queries = rows[~shots]
    gaps = queries.square().sum(1, keepdim=True) - 2 * queries @ prototypes.T
    scores = -(gaps + prototypes.square().sum(1))
    return F.cross_entropy(scores, number[~shots])


@full_precision
def _of_rows(rows: Tensor, *, target: Tensor, task: MetricTask) -> Tensor:
    if not rows.isfinite().all():
        return rows.sum()  # which whoever checks the terms finds; miners would fail on it
    rows = unit_rows(rows) if task.unit else rows
    chosen = None if task.miner is None else task.miner(rows, target)
    loss: Tensor = task.library_loss(rows, target, chosen)
    return loss.reshape(())


def make_task(loss: losses.Loss, *, classes: int, width: int) -> Task:
    """Return what computes a loss.

    Args:
        loss: The loss with its arguments.
        classes: Number of the training data's classes.
        width: Width of the embedding.

    Raises:
        ValueError: If it needs a library that is not there.
    """
    if isinstance(loss, losses.CrossEntropy):
        return CrossEntropyTask(loss.smoothing)
    if isinstance(loss, losses.Prototypical):
        return PrototypicalTask(loss.shot, unit=loss.unit_rows)
    made = _library_loss(loss, classes, width)
    miner = _miner(getattr(loss, "miner", "all"), getattr(loss, "margin", 0.2))
    unit = getattr(loss, "unit_rows", True)
    return MetricTask(made, miner, unit=unit, rate=getattr(loss, "rate", 1.0))


def _library_loss(loss: losses.Loss, classes: int, width: int) -> nn.Module:
    load_library("pytorch_metric_learning", "metric")
    from pytorch_metric_learning import distances
    from pytorch_metric_learning import losses as library

    # Rows come as they are to be compared: what the library would do to them is done.
    distance = distances.LpDistance(normalize_embeddings=False)
    made: nn.Module
    match loss:
        case losses.Triplet():
            made = library.TripletMarginLoss(margin=loss.margin, distance=distance)
        case losses.Contrastive():
            made = library.ContrastiveLoss(neg_margin=loss.margin, distance=distance)
        case losses.Margin():
            made = library.MarginLoss(
                margin=loss.margin, beta=loss.beta, learn_beta=True, distance=distance
            )
        case losses.ProxyAnchor():
            made = library.ProxyAnchorLoss(classes, width, margin=loss.margin, alpha=loss.alpha)
        case losses.MultiSimilarity():
            made = library.MultiSimilarityLoss(alpha=loss.alpha, beta=loss.beta, base=loss.base)
    return made


def _miner(name: str, margin: float) -> nn.Module | None:
    from pytorch_metric_learning import distances, miners

    distance = distances.LpDistance(normalize_embeddings=False)
    known: dict[str, Callable[[], Any]] = {
        "distance-weighted": miners.DistanceWeightedMiner,  # asks for unit rows of its own
        "semi-hard": lambda: miners.TripletMarginMiner(
            margin=margin, type_of_triplets="semihard", distance=distance
        ),
        "hard": lambda: miners.BatchHardMiner(distance=distance),
        "multi-similarity": miners.MultiSimilarityMiner,
    }
    return known[name]() if name in known else None
