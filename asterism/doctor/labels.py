"""Checks of the teacher against the labels: its accuracy, and the order of its classes."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from asterism.doctor.finding import Finding, Severity
from asterism.doctor.trial import Trial
from asterism.engine import Training
from asterism.measures import classification, retrieval
from asterism.types import Outputs
from asterism.words import share

# Another order of the classes must gain so much to be believed.
GAIN = 0.1
# A teacher that is right less often is worth a look.
WEAK = 0.5
# Of so many classes a shift must hold to be called one.
REGULAR = 0.8

REORDER = (
    "reorder the outputs of its classifier, or number the data's classes as it does; until then "
    "methods on class scores (KD, DKD, DIST, VRM) teach wrong answers."
)


@dataclass(frozen=True)
class Knowledge:
    """How well a network's outputs go with labels.

    Attributes:
        accuracy: Share of samples whose own class has the highest score; None without scores of
            these classes.
        recall: Share of samples whose nearest neighbour is of their class.
        matched: Accuracy under the best order of the classes: found on one half of the samples,
            measured on the other, so that chance gains nothing. None without scores.
        order: That order, found on all samples: the data's class of each of the network's. Empty
            where no order could gain much.
        classes: Number of the data's classes.
        chance: Accuracy and recall of a guess.
        samples: Number of samples.
    """

    accuracy: float | None
    recall: float
    matched: float | None
    order: dict[int, int]
    classes: int
    chance: float
    samples: int

    def like_chance(self, value: float) -> bool:
        """Return whether a guess could reach a value: three deviations above chance."""
        deviation = (self.chance * (1 - self.chance) / self.samples) ** 0.5
        return bool(value <= self.chance + 3 * deviation)

    @property
    def shift(self) -> int | None:
        """Return by how much the classes are off, if nearly all are by the same number."""
        shifts = Counter((data - own) % self.classes for own, data in self.order.items())
        shift, times = shifts.most_common(1)[0]
        if times < REGULAR * len(self.order):
            return None
        return shift if 2 * shift <= self.classes else shift - self.classes


def knowledge(outputs: Outputs, target: Tensor, classes: int) -> Knowledge:
    """Compare a network's outputs with labels."""
    recall = float(retrieval(outputs.embedding, target, ks=[1]).recall[1] or 0)
    sizes = torch.bincount(target)
    chance = max(1 / int((sizes > 0).sum()), float((sizes / len(target)).square().sum()))
    if outputs.logits is None:
        return Knowledge(None, recall, None, {}, classes, chance, len(target))
    accuracy = None
    if outputs.logits.shape[1] == classes:
        accuracy = float(classification(outputs.logits, target).top1 or 0)
    if accuracy is not None and accuracy > 1 - GAIN:  # no other order could gain enough
        return Knowledge(accuracy, recall, accuracy, {}, classes, chance, len(target))
    predicted = outputs.logits.argmax(1)
    right = 0
    halves = slice(0, None, 2), slice(1, None, 2)
    for learnt, tried in (halves, halves[::-1]):
        order = _best_order(predicted[learnt], target[learnt])
        pairs = zip(predicted[tried].tolist(), target[tried].tolist(), strict=True)
        right += sum(order.get(own) == data for own, data in pairs)
    matched = right / len(target)
    order = _best_order(predicted, target)
    return Knowledge(accuracy, recall, matched, order, classes, chance, len(target))


def _best_order(predicted: Tensor, target: Tensor) -> dict[int, int]:
    """Return the data's class of each of the network's classes, so that most samples are right."""
    from scipy.optimize import linear_sum_assignment  # here: it takes long to import

    own, p = torch.unique(predicted, return_inverse=True)
    data, t = torch.unique(target, return_inverse=True)
    counts = torch.bincount(p * len(data) + t, minlength=len(own) * len(data))
    table = counts.view(len(own), len(data)).numpy()
    pairs = zip(*linear_sum_assignment(-table), strict=True)
    return {int(own[i]): int(data[j]) for i, j in pairs if table[i, j]}


def check_labels(training: Training, trial: Trial) -> list[Finding]:
    """See whether the teacher knows what the labels say."""
    classes = training.data.classes
    target = trial.target
    if training.teacher is None or classes is None or target is None:
        return []
    if len(target.bincount().nonzero()) < 2:
        return []
    outputs = trial.outputs["teacher"]
    if not all(x.isfinite().all() for x in outputs if x is not None):
        return []  # said elsewhere
    known = knowledge(outputs, target, classes)
    parts = [f"recall@1 {share(known.recall)}"]
    if known.accuracy is not None:
        parts = [f"accuracy {share(known.accuracy)}", *parts]
    if known.matched is not None and known.matched > (known.accuracy or 0) + GAIN:
        parts += [f"accuracy {share(known.matched)} in the best order of the classes"]
    parts += [f"chance {share(known.chance)}, {known.samples} training samples"]
    first = training.teacher.first_look or training.data.source.modality.preparation
    severity, advice = _judge(known, first)
    pairs = {name: getattr(known, name) for name in ("accuracy", "recall", "matched", "chance")}
    figures = {name: value for name, value in pairs.items() if value is not None}
    return [Finding("teacher's knowledge", severity, ", ".join(parts), advice, figures)]


def _judge(known: Knowledge, check: str) -> tuple[Severity, str]:
    """Return severity and advice; `check` says what to look at first."""
    matched = known.matched or 0
    moved = [(own, data) for own, data in known.order.items() if own != data]
    gained = known.accuracy is not None and matched > known.accuracy + GAIN
    if gained and moved and not known.like_chance(matched):
        regular = [pair for pair in moved if pair[1] - pair[0] == known.shift]
        own, data = (regular or moved)[0]
        example = f"its class {own} is the data's {data}"
        if known.shift:
            by = "one" if abs(known.shift) == 1 else str(abs(known.shift))
            return "wrong", f"labels are off by {by} ({example}): {REORDER}"
        return "wrong", f"its classes come in another order than the data's ({example}): {REORDER}"
    best = max(known.accuracy or 0, matched)
    has_scores = known.matched is not None
    if known.like_chance(known.recall) and known.like_chance(best):
        return "wrong", f"it knows nothing of these classes: {check}."
    if has_scores and known.like_chance(best):
        return (
            "wrong",
            "its embedding knows the classes and its scores do not, in any order: its classifier "
            f"is untrained or another's, or {check}. Methods on embeddings (RKD, RRD) may work.",
        )
    if has_scores and best < max(WEAK, known.recall / 2):
        return "look", f"a weak teacher: {check}."
    return "ok", ""
