"""The methods of a training that names none: chosen by what is known, and told in a line."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from asterism.data import Data
from asterism.methods import KD, RKD, Anchored, Neighbourhood
from asterism.methods.base import Method, listed
from asterism.modality import TEXT
from asterism.teachers import TeacherCard, differing

if TYPE_CHECKING:
    from asterism.request import Methods


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


def choose(methods: "Methods", data: Data, card: TeacherCard, *, use_labels: bool) -> Chosen:
    """Return the user's methods; without any, what is known to work (docs/choosing.md).

    Args:
        methods: What the user named.
        data: The data.
        card: What is known of the teacher.
        use_labels: Whether labels are part of the objective.
    """
    if methods is not None:
        return Chosen(tuple(listed(methods)))
    if not use_labels:
        if data.source.modality is TEXT:  # its student starts from the teacher's tokens
            return Chosen(
                (Anchored(), Neighbourhood(weight=0.3)),
                "Anchored + 0.3 Neighbourhood by default: texts without labels.",
            )
        return Chosen(
            (Anchored(start="pca", centre=True), Neighbourhood(weight=0.3)),
            "Anchored + 0.3 Neighbourhood by default: no labels.",
        )
    relations = RKD(distance_weight=25.0, angle_weight=50.0)
    if reason := differing(card, data):
        why = f"RKD by default; KD, the other half, is left out: {reason}."
        return Chosen((relations,), why)
    return Chosen((relations, KD()), "RKD + KD by default: labels, and a teacher that scores them.")
