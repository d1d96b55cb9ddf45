"""The methods of a training that names none: chosen by what is known, and told in a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from asterism.data import Data
from asterism.methods import KD, RKD, VRM, Anchored, Neighbourhood
from asterism.methods.base import Method, listed
from asterism.modality import IMAGE, TEXT
from asterism.teachers import TeacherCard, differing

if TYPE_CHECKING:
    from asterism.request import Request


@dataclass(frozen=True)
class Chosen:
    """The methods of a training.

    Attributes:
        methods: All of them; their terms add up.
        why: In words why these, behind their names; None for those that the user named.
        instead: For a student that has no negative coordinates.
    """

    methods: tuple[Method, ...] = ()
    why: str | None = None
    instead: tuple[Method, ...] = ()

    @property
    def told(self) -> str | None:
        """Return which they are and why, in a line; None for those that the user named."""
        return None if self.why is None else f"{_named(self.methods)} {self.why}."

    def within_reach(self, embedding: Tensor) -> "Chosen":
        """Return them without what a new student can never do.

        A student that ends in a ReLU has no negative coordinates, and so cannot be where the
        teacher is: its neighbourhoods, or its relations, are what it can match.

        Args:
            embedding: What it makes of some samples, shape `(n, d)`.
        """
        anchored = any(isinstance(each, Anchored) for each in self.methods)
        if self.why is None or not anchored or bool((embedding < 0).any()):
            return self
        why = (
            f"{self.why}; the student has no negative coordinates (a linear layer behind it, "
            "?dim=…, lets it match the teacher's, too)"
        )
        return Chosen(self.instead, why)


# What makes a method `Anchored` of a weight.
Anchoring = Callable[[float], Anchored]


@dataclass(frozen=True)
class Default:
    """Methods for what is known of a training.

    Attributes:
        methods: They, anew, by how the map into the teacher's space begins.
        instead: For a student that has no negative coordinates.
    """

    methods: Callable[[Anchoring], list[Method]]
    instead: Callable[[], list[Method]]


def _of_texts(weight: float) -> Anchored:
    """Return one for a student of texts, which starts where the teacher is."""
    return Anchored(weight=weight)


def _of_others(weight: float) -> Anchored:
    """Return one for a student that starts anywhere: the teacher's principal coordinates do."""
    return Anchored(start="pca", centre=True, weight=weight)


def _relations() -> list[Method]:
    return [RKD(distance_weight=25.0, angle_weight=50.0)]


# Directions between classes take time as the square of their number: docs/methods/vrm.md.
MOST_CLASSES = 1_000

# What is chosen, by what is known; measured: docs/choosing.md.
OF_VIEWS = Default(lambda anchored: [VRM(), anchored(5.0)], lambda: [VRM()])
SCORED = Default(lambda anchored: [KD(), anchored(5.0)], lambda: [*_relations(), KD()])
LABELLED = Default(lambda anchored: [anchored(5.0)], _relations)
UNLABELLED = Default(
    lambda anchored: [anchored(1.0), Neighbourhood(weight=0.3)], lambda: [Neighbourhood()]
)


def choose(
    request: "Request", data: Data, card: TeacherCard, *, use_labels: bool, several: bool
) -> Chosen:
    """Return the user's methods; without any, what is known to work (docs/choosing.md).

    Args:
        request: What the user asked for.
        data: The data.
        card: What is known of the teacher.
        use_labels: Whether labels are part of the objective.
        several: Whether data and teacher have virtual views of a sample.

    Raises:
        ValueError: If methods and a recipe are named.
    """
    if request.method is not None:
        if request.recipe and not request.resume:  # what goes on names what was chosen for it
            raise ValueError("recipe chooses methods, and some are named: leave one out.")
        return Chosen(tuple(listed(request.method)))
    texts = data.source.modality is TEXT
    if not use_labels:
        default, why = UNLABELLED, "texts without labels" if texts else "no labels"
    elif reason := differing(card, data):
        default, why = LABELLED, f"KD, which compares class scores, is left out: {reason}"
    else:
        default, why = SCORED, "labels, and a teacher that scores them"
        views = request.recipe != "fast"
        if views and several and card.classes <= MOST_CLASSES:
            default = OF_VIEWS
        elif views and (data.source.modality is IMAGE or request.recipe == "best"):
            needed = "virtual views, as `asterism cache --augment vrm` keeps them"
            why = f"{why}; VRM is left out: it needs {needed}, and at most {MOST_CLASSES:,} classes"
    by = "by default" if request.recipe is None else f"by recipe {request.recipe}"
    methods = default.methods(_of_texts if texts else _of_others)
    return Chosen(tuple(methods), f"{by}: {why}", tuple(default.instead()))


def _named(methods: Sequence[Method]) -> str:
    """Return methods with their weights, where these are not the usual ones."""
    names = []
    for method in methods:
        usual = type(method)().config().get("weight")
        weight = method.config().get("weight")
        factor = "" if weight == usual else f"{weight:g} "
        names.append(f"{factor}{type(method).__name__}")
    return " + ".join(names)
