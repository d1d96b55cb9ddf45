"""The methods of a training that names none: chosen by what is known, and told in a line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from asterism.data import Data
from asterism.methods import KD, RKD, VRM, Anchored, Neighbourhood
from asterism.methods.base import Method, listed
from asterism.modality import TEXT
from asterism.teachers import TeacherCard, differing

if TYPE_CHECKING:
    from asterism.request import Recipe, Request


@dataclass(frozen=True)
class Chosen:
    """The methods of a training.

    Attributes:
        methods: All of them; their terms add up.
        why: In words which they are, and why; None for those that the user named.
    """

    methods: tuple[Method, ...] = ()
    why: str | None = None

    def within_reach(self, embedding: Tensor) -> "Chosen":
        """Return them without what a new student can never do.

        A student that ends in a ReLU has no negative coordinates, and so cannot be where the
        teacher is: its neighbourhoods are all that it can match.

        Args:
            embedding: What it makes of some samples, shape `(n, d)`.
        """
        anchored = any(isinstance(each, Anchored) for each in self.methods)
        if self.why is None or not anchored or bool((embedding < 0).any()):
            return self
        return Chosen(
            (Neighbourhood(),),
            "Neighbourhood by default: no labels, and a student without negative coordinates (a "
            "linear layer behind it, ?dim=…, lets it match the teacher's, too).",
        )


def _relations() -> list[Method]:
    return [RKD(distance_weight=25.0, angle_weight=50.0)]


def _coordinates(first: Anchored) -> list[Method]:
    return [first, Neighbourhood(weight=0.3)]


# What each recipe is, by what is known (docs/choosing.md); where none costs more, they are alike.
Recipes = dict["Recipe", Callable[[], list[Method]]]
ALL: tuple["Recipe", ...] = ("fast", "balanced", "best")
SCORED: Recipes = {
    "fast": lambda: [KD()],
    "balanced": lambda: [*_relations(), KD()],
    "best": lambda: [VRM()],
}
LABELLED: Recipes = dict.fromkeys(ALL, _relations)
OF_TEXTS: Recipes = dict.fromkeys(ALL, lambda: _coordinates(Anchored()))
UNLABELLED: Recipes = dict.fromkeys(ALL, lambda: _coordinates(Anchored(start="pca", centre=True)))


def choose(
    request: "Request", data: Data, card: TeacherCard, *, use_labels: bool, several: bool
) -> Chosen:
    """Return the user's methods; without any, what is known to work (docs/choosing.md).

    Args:
        request: What the user asked for.
        data: The data.
        card: What is known of the teacher.
        use_labels: Whether labels are part of the objective.
        several: Whether data and teacher have several views of a sample.

    Raises:
        ValueError: If methods and a recipe are named.
    """
    if request.method is not None:
        if request.recipe and not request.resume:  # what goes on names what was chosen for it
            raise ValueError("recipe chooses methods, and some are named: leave one out.")
        return Chosen(tuple(listed(request.method)))
    recipe = request.recipe or "balanced"
    if not use_labels:
        texts = data.source.modality is TEXT
        known, why = (OF_TEXTS, "texts without labels") if texts else (UNLABELLED, "no labels")
    elif reason := differing(card, data):
        known, why = LABELLED, f"KD, which compares class scores, is left out: {reason}"
    else:
        known, why = SCORED, "labels, and a teacher that scores them"
    methods = known[recipe]()
    if not several and (asking := next((m for m in methods if m.views > 1), None)):
        why = f"{why}; {type(asking).__name__} is left out: it compares views, and there is one"
        recipe, methods = "balanced", known["balanced"]()
    by = "by default" if request.recipe is None else f"by recipe {recipe}"
    return Chosen(tuple(methods), f"{_named(methods)} {by}: {why}.")


def _named(methods: Sequence[Method]) -> str:
    """Return methods with their weights, where these are not the usual ones."""
    names = []
    for method in methods:
        usual = type(method)().config().get("weight")
        weight = method.config().get("weight")
        factor = "" if weight == usual else f"{weight:g} "
        names.append(f"{factor}{type(method).__name__}")
    return " + ".join(names)
