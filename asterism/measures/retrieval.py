"""Retrieval: how well the neighbours of an embedding share its class."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from asterism.measures.deletion import hits, precision_at_r, votes
from asterism.measures.estimate import Estimate
from asterism.measures.neighbours import MEMORY, neighbour_blocks
from asterism.measures.scores import Block, Scores
from asterism.settings import Distance

# Voters of the k-NN accuracy.
VOTERS = 20


@dataclass(frozen=True)
class Retrieval:
    """Quality of the neighbourhoods of an embedding.

    Attributes:
        recall: For each k, the share of queries with a sample of their class among their k
            nearest; None where k takes the whole gallery, since all are found then.
        map_at_r: Mean average precision at R.
        knn: Share of queries whose class wins the vote of their 20 nearest, see `knn_accuracy`.

    All are over the queries whose class has another sample in the gallery (so many are the `count`
    of each), and None if there are none.
    """

    recall: dict[int, Estimate | None]
    map_at_r: Estimate | None
    knn: Estimate | None


def retrieval(
    embedding: Float[Tensor, "n d"],
    target: Int[Tensor, " n"],
    *,
    ks: Sequence[int] = (1, 5, 10),
    metric: Distance = "euclidean",
    gallery: Float[Tensor, "m d"] | None = None,
    gallery_target: Int[Tensor, " m"] | None = None,
    rows: Int[Tensor, " q"] | None = None,
    memory: int = MEMORY,
) -> Retrieval:
    r"""Search the class of each sample among its neighbours.

    With $R$ other samples of the query's class and $P(i)$ the share of them among the $i$ nearest,

    $$\mathrm{MAP@R} = \frac{1}{R} \sum_{i=1}^{R} P(i)\,[\text{the } i\text{-th is of the class}]$$

    averaged, as the others, over the queries with $R > 0$: for the rest there is nothing to find.
    Without a gallery each query is searched among all other samples: itself is left out by its
    number, so exact duplicates stay.

    Args:
        embedding: Embeddings of the queries.
        target: Classes of the queries.
        ks: Numbers of neighbours for the recall; one that exceeds the gallery takes all of it.
        metric: `euclidean` or `cosine`.
        gallery: Embeddings to search, if they are not the queries themselves.
        gallery_target: Classes of the gallery.
        rows: Which embeddings are queries; by default all. All are searched, without a gallery.
        memory: Bytes for one block of distances, see `nearest`.

    Returns:
        Recall, MAP@R and k-NN accuracy; the intervals are of new queries and a new gallery.

    Raises:
        ValueError: If embeddings and targets do not match, or `nearest` refuses them.

    Examples:
        >>> import torch
        >>> retrieval(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]), ks=[1])
        Retrieval(recall={1: 1.0}, map_at_r=1.0, knn=1.0)

    References:
        Musgrave et al., A Metric Learning Reality Check, ECCV 2020, section 3.2,
        https://arxiv.org/abs/2003.08505.
    """
    if (gallery is None) != (gallery_target is None) or not ks or min(ks) < 1:
        raise ValueError(
            "retrieval needs ks of at least 1, and a gallery with its gallery_target or neither; "
            f"got ks={tuple(ks)}."
        )
    own_target = target if gallery_target is None else gallery_target
    check_targets("retrieval", embedding, target)
    check_targets("retrieval", embedding if gallery is None else gallery, own_target)
    alone = int(gallery is None)
    if len(target) == 0 or len(own_target) == alone:
        return Retrieval(dict.fromkeys(ks), None, None)

    asked = torch.arange(len(target)) if rows is None else rows
    partners = _sizes(target, own_target) - alone
    depth = max(*ks, VOTERS, int(partners[asked].max())) + 1
    whose = asked if alone else None
    recall = {k: Scores(own_target, whose, asked=len(target)) for k in ks}
    precision, elected = (Scores(own_target, whose, asked=len(target)) for _ in range(2))
    blocks = neighbour_blocks(embedding, gallery, k=depth, metric=metric, rows=asked, memory=memory)
    for queries, neighbours in blocks:
        own, number = target[queries], partners[queries]
        classes = own_target[neighbours]
        match = classes == own[:, None]
        block = Block(queries, own, number, neighbours, match)
        for k, scores in recall.items():
            scores.add(block, *hits(match, k))
        elected.add(block, *votes(classes, own, VOTERS))
        precision.add(block, *precision_at_r(match, number))
    others = len(own_target) - alone
    return Retrieval(
        recall={k: scores.share(1.0) if k < others else None for k, scores in recall.items()},
        map_at_r=precision.share(0.0),
        knn=elected.share(1.0),
    )


def knn_accuracy(
    train: Float[Tensor, "m d"],
    train_target: Int[Tensor, " m"],
    test: Float[Tensor, "n d"],
    test_target: Int[Tensor, " n"],
    *,
    k: int = VOTERS,
    metric: Distance = "euclidean",
    memory: int = MEMORY,
) -> Estimate | None:
    """Return the share of test samples whose class wins the vote of their nearest train samples.

    The i-th nearest has 1 / i votes. With equal votes no class of fewer than k / 2 samples could
    win, however well it is separated; weights by distance or cosine, as in `exp(cosine / 0.07)`,
    depend on scale and origin of the embedding, which relational students are free to choose.

    Args:
        train: Embeddings that vote.
        train_target: Their classes.
        test: Embeddings to classify.
        test_target: Their classes.
        k: Number of voters; all samples if there are fewer.
        metric: `euclidean` or `cosine`.
        memory: Bytes for one block of distances, see `nearest`.

    Returns:
        The accuracy over the test samples whose class is among the train samples, or None if there
        are none. The interval is of new test and new train samples.

    Raises:
        ValueError: If embeddings and targets do not match, or `nearest` refuses them.

    Examples:
        >>> import torch
        >>> train, target = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([0, 0, 1])
        >>> knn_accuracy(train, target, torch.tensor([[0.4], [4.0]]), torch.tensor([0, 1]), k=1)
        1.0
    """
    check_targets("knn_accuracy", train, train_target)
    check_targets("knn_accuracy", test, test_target)
    if len(train) == 0 or len(test) == 0:
        return None
    partners = _sizes(test_target, train_target)
    elected = Scores(train_target, None, asked=len(test))
    for queries, voters in neighbour_blocks(test, train, k=k + 1, metric=metric, memory=memory):
        own, classes = test_target[queries], train_target[voters]
        block = Block(queries, own, partners[queries], voters, classes == own[:, None])
        elected.add(block, *votes(classes, own, k))
    return elected.share(1.0)


def check_targets(measure: str, embedding: Tensor, target: Tensor) -> None:
    """Raise a ValueError unless there is one class for each row."""
    if embedding.ndim != 2 or target.shape != embedding.shape[:1]:
        raise ValueError(
            f"{measure} needs one row of embedding and one class per sample; got "
            f"{tuple(embedding.shape)} and {tuple(target.shape)}."
        )


def _sizes(classes: Tensor, population: Tensor) -> Tensor:
    """Return how many members of the population each class of a list has."""
    _, number = torch.unique(torch.cat([classes, population]), return_inverse=True)
    sizes = torch.bincount(number[len(classes) :], minlength=int(number.max()) + 1)
    return sizes[number[: len(classes)]]
