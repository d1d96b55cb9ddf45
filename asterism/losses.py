"""The losses with the labels, by name and arguments (`triplet?margin=0.3`); this needs no torch.

What computes them is `asterism.engine.task`.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from asterism.names import choices, refuse_arguments, split_name
from asterism.options import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE, option, refuse_out_of_bounds

Miner = Literal["all", "distance-weighted", "semi-hard", "hard", "multi-similarity"]

# Samples of each class in a step of metric learning, as RKD's authors have.
PER_CLASS = 5


@dataclass(frozen=True)
class Loss:
    """A loss with the labels, and its arguments."""

    @property
    def per_class(self) -> int:
        """Return how many samples of each class a step has, where nobody says."""
        return PER_CLASS

    @property
    def fewest(self) -> int:
        """Return with how many samples of a class, at least, a step teaches anything."""
        return 1

    def refuse_few(self, per_class: int | None) -> None:
        """Raise a ValueError if a step has too few samples of a class to teach anything."""
        if per_class is not None and per_class < self.fewest:
            raise ValueError(
                f"this loss learns of classes with at least {self.fewest} samples in a step; got "
                f"samples_per_class {per_class}."
            )

    @property
    def of_directions(self) -> bool:
        """Return whether only the directions of embeddings matter to it, and not their lengths."""
        return isinstance(self, Metric) and getattr(self, "unit_rows", True)


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross-entropy of the classifier's scores.

    Attributes:
        smoothing: Share of the target that all classes have alike (label smoothing).
    """

    smoothing: float = option(0.0, bounds={"at least": 0, "below": 1})


@dataclass(frozen=True)
class Metric(Loss):
    """A loss of metric learning: of the embeddings of a batch, by their classes."""

    @property
    def fewest(self) -> int:
        """Return a sample and one like it."""
        return 2


@dataclass(frozen=True)
class Triplet(Metric):
    """Triplet margin: the negative farther than the positive (Schroff et al., CVPR 2015).

    Attributes:
        margin: By how much.
        miner: Which triplets: `all`, `distance-weighted` negatives (Wu et al., ICCV 2017; as RKD's
            authors), `semi-hard`, or `hard`: of each anchor the farthest positive and the nearest
            negative.
        unit_rows: Whether rows are first divided by their lengths.
    """

    margin: float = option(0.2, bounds=POSITIVE)
    miner: Miner = "distance-weighted"
    unit_rows: bool = True


@dataclass(frozen=True)
class Contrastive(Metric):
    """Contrastive: positives near, negatives beyond a margin (Hadsell et al., CVPR 2006).

    Attributes:
        margin: Distance from which on negatives are left alone.
        miner: Which pairs, as for `triplet`.
        unit_rows: Whether rows are first divided by their lengths.
    """

    margin: float = option(1.0, bounds=POSITIVE)
    miner: Miner = "all"
    unit_rows: bool = True


@dataclass(frozen=True)
class Margin(Metric):
    """Margin: positives within, negatives beyond a learnt boundary (Wu et al., ICCV 2017).

    Attributes:
        margin: Distance from the boundary that is asked for on both sides.
        beta: The boundary at the beginning; it is trained.
        miner: Which triplets, as for `triplet`.
        unit_rows: Whether rows are first divided by their lengths.
        rate: Learning rate of the boundary, as a multiple of the network's.
    """

    margin: float = option(0.2, bounds=POSITIVE)
    beta: float = option(1.2, bounds=POSITIVE)
    miner: Miner = "distance-weighted"
    unit_rows: bool = True
    rate: float = option(1.0, bounds=NOT_NEGATIVE)


@dataclass(frozen=True)
class ProxyAnchor(Metric):
    """Proxy-anchor: rows near the learnt proxy of their class (Kim et al., CVPR 2020).

    Attributes:
        margin: Margin of the cosines.
        alpha: Factor of the cosines.
        rate: Learning rate of the proxies, as a multiple of the network's; the authors have 100
            with 1e-4 for the network.
    """

    margin: float = option(0.1, bounds=POSITIVE)
    alpha: float = option(32.0, bounds=POSITIVE)
    rate: float = option(1.0, bounds=NOT_NEGATIVE)

    @property
    def fewest(self) -> int:
        """Return one sample: what it is compared with is the proxy."""
        return 1


@dataclass(frozen=True)
class MultiSimilarity(Metric):
    """Multi-similarity: all pairs, weighed by each other (Wang et al., CVPR 2019).

    Attributes:
        alpha: Factor of the cosines of positives.
        beta: Factor of the cosines of negatives.
        base: Cosine about which both are weighed.
        miner: Which pairs; `multi-similarity` is the authors'.
    """

    alpha: float = option(2.0, bounds=POSITIVE)
    beta: float = option(50.0, bounds=POSITIVE)
    base: float = option(0.5, bounds={"at least": -1, "at most": 1})
    miner: Miner = "multi-similarity"


@dataclass(frozen=True)
class Prototypical(Metric):
    """Prototypical: queries near the mean of their class's shots (Snell et al., NeurIPS 2017).

    Each step is an episode: of every class in it some samples are shots, the others queries; of
    `--samples-per-class` six, one is a shot and five are queries.

    Attributes:
        shot: Samples by which a class is known.
        unit_rows: Whether rows are first divided by their lengths.
    """

    shot: int = option(1, bounds=AT_LEAST_ONE)
    unit_rows: bool = False

    @property
    def per_class(self) -> int:
        """Return the shots and five queries."""
        return self.shot + PER_CLASS

    @property
    def fewest(self) -> int:
        """Return the shots and a query."""
        return self.shot + 1


LOSSES: dict[str, type[Loss]] = {
    "cross-entropy": CrossEntropy,
    "triplet": Triplet,
    "contrastive": Contrastive,
    "margin": Margin,
    "proxy-anchor": ProxyAnchor,
    "multi-similarity": MultiSimilarity,
    "prototypical": Prototypical,
}


def read_loss(name: str) -> Loss:
    """Return the loss of a name with arguments.

    Raises:
        ValueError: If there is no such loss, or an argument cannot be what it is.

    Examples:
        >>> read_loss("triplet?margin=0.3&miner=hard")
        Triplet(margin=0.3, miner='hard', unit_rows=True)
    """
    base, given = split_name(name)
    if base not in LOSSES:
        raise ValueError(f"unknown loss {base!r}: {choices(base, LOSSES)}")
    kind = LOSSES[base]
    refuse_arguments(base, given, [each.name for each in fields(kind)])
    types = get_type_hints(kind)
    values = {key: _value(f"{base}?{key}", text, types[key]) for key, text in given.items()}
    loss = kind(**values)
    try:
        refuse_out_of_bounds(loss)
    except ValueError as error:
        raise ValueError(f"{base}: {error}") from error
    return loss


def _value(place: str, text: str, declared: Any) -> Any:
    """Return an argument of its declared type.

    Raises:
        ValueError: If it is of another.
    """
    if get_origin(declared) is Literal:
        if text not in get_args(declared):
            raise ValueError(f"{place}: {choices(text, get_args(declared))}")
        return text
    if declared is bool:
        if text not in ("true", "false"):
            raise ValueError(f"{place} is true or false; got {text!r}.")
        return text == "true"
    try:
        number = declared(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        kind = "a whole number" if declared is int else "a number"
        raise ValueError(f"{place} takes {kind}; got {text!r}.")
    return number
