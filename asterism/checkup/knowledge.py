"""What the teacher knows of the labels, and whether its classes are in their order."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from asterism.assess.seeing import device_of
from asterism.checkup.finding import Case, Finding, share
from asterism.checkup.sampling import Sample
from asterism.data import StoredTeacher
from asterism.evaluate import classification, retrieval
from asterism.models.modes import evaluating
from asterism.types import Outputs, Samples, on_device

# Another order of the classes must gain so much to be believed.
GAIN = 0.1
# A teacher that is right less often is worth a look.
WEAK = 0.5
# Of so many classes a shift must hold to be called one.
REGULAR = 0.8

SUBJECT = "teacher's knowledge"
REORDER = (
    "reorder the outputs of its classifier, or number the data's classes as it does; until then "
    "methods on class scores (KD, DKD, DIST, VRM) teach wrong answers."
)
PREPARE = "pictures arrive in [0, 1]: check its normalisation, its input size and its weights"

# What a network may expect instead of pixels in [0, 1].
EXPECTED: dict[str, Callable[[Tensor], Tensor]] = {
    "pixels from 0 to 255": lambda x: 255 * x,
    "pixels from -1 to 1": lambda x: 2 * x - 1,
    "each channel with mean 0 and deviation 1": lambda x: (x - _means(x)) / _deviations(x),
    "channels in the other order": lambda x: x.flip(1),
}


def _means(x: Tensor) -> Tensor:
    return x.mean((0, 2, 3), keepdim=True)


def _deviations(x: Tensor) -> Tensor:
    return x.std((0, 2, 3), keepdim=True).clamp_min(1e-3)


@dataclass(frozen=True)
class Knowledge:
    """How well a network's outputs go with labels.

    Attributes:
        accuracy: Share of samples whose own class has the highest score; None without scores of
            these classes.
        recall: Share of samples whose nearest neighbour is of their class.
        matched: Accuracy under the best order of the classes: found on one half of the samples,
            measured on the other, so that chance gains nothing. None without scores.
        order: That order, found on all samples: the data's class of each of the network's.
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
        return value <= self.chance + 3 * deviation

    @property
    def shift(self) -> int | None:
        """Return by how much the classes are off, if nearly all are by the same number."""
        shifts = Counter((ours - theirs) % self.classes for theirs, ours in self.order.items())
        shift, times = shifts.most_common(1)[0]
        if times < REGULAR * len(self.order):
            return None
        return shift if 2 * shift <= self.classes else shift - self.classes


def knowledge(outputs: Outputs, target: Tensor, classes: int) -> Knowledge:
    """Compare a network's outputs with labels."""
    found = retrieval(outputs.embedding, target, ks=[1]).recall[1]
    present, sizes = torch.unique(target, return_counts=True)
    chance = max(1 / len(present), float((sizes / len(target)).square().sum()))
    recall = float(found or 0)
    if outputs.logits is None:
        return Knowledge(None, recall, None, {}, classes, chance, len(target))
    accuracy = None
    if outputs.logits.shape[1] == classes:
        accuracy = float(classification(outputs.logits, target).top1 or 0)
    predicted, width = outputs.logits.argmax(1), outputs.logits.shape[1]
    right = 0
    for learnt, tried in (
        (slice(0, None, 2), slice(1, None, 2)),
        (slice(1, None, 2), slice(0, None, 2)),
    ):
        order = _best_order(predicted[learnt], target[learnt], width, classes)
        table = torch.full((width,), -1)
        table[list(order)] = torch.tensor(list(order.values()))
        right += int((table[predicted[tried]] == target[tried]).sum())
    whole = _best_order(predicted, target, width, classes)
    met = {
        theirs: ours
        for theirs, ours in whole.items()
        if ((predicted == theirs) & (target == ours)).any()
    }
    return Knowledge(accuracy, recall, right / len(target), met, classes, chance, len(target))


def _best_order(predicted: Tensor, target: Tensor, width: int, classes: int) -> dict[int, int]:
    """Return the data's class of each of the network's classes, so that most samples are right."""
    table = torch.bincount(predicted * classes + target, minlength=width * classes)
    theirs, ours = linear_sum_assignment(-table.view(width, classes).numpy())
    return dict(zip(theirs.tolist(), ours.tolist(), strict=True))


def check_knowledge(case: Case, sample: Sample, *, thorough: bool) -> list[Finding]:
    """See whether the teacher knows what the labels say.

    Args:
        case: The training.
        sample: Some training samples.
        thorough: Whether to try other preprocessings on a teacher that knows little.
    """
    teacher, classes, target = case.teacher, case.data.classes, sample.target
    if teacher is None or classes is None or target is None or len(target.unique()) < 2:
        return []
    outputs = sample.outputs["teacher"]
    if not all(x.isfinite().all() for x in outputs if x is not None):
        return []  # said elsewhere
    known = knowledge(outputs, target, classes)
    found = [f"recall@1 {share(known.recall)}"]
    if known.accuracy is not None:
        found = [f"accuracy {share(known.accuracy)}", *found]
    if known.matched is not None and known.matched > (known.accuracy or 0) + GAIN:
        found += [f"accuracy {share(known.matched)} in the best order of the classes"]
    found += [f"chance {share(known.chance)}, {known.samples} training samples"]
    severity, advice = _judge(known, same_classes=known.accuracy is not None)
    if severity != "ok" and thorough and isinstance(sample.shown, Tensor):
        advice += _other_preprocessing(teacher, sample, classes, known)
    pairs = {name: getattr(known, name) for name in ("accuracy", "recall", "matched", "chance")}
    figures = {name: value for name, value in pairs.items() if value is not None}
    return [Finding(SUBJECT, severity, ", ".join(found), advice, figures)]  # type: ignore[arg-type]


def _judge(known: Knowledge, *, same_classes: bool) -> tuple[str, str]:
    """Return severity and advice."""
    if same_classes and (known.matched or 0) > (known.accuracy or 0) + GAIN:
        if known.shift:
            by = "one" if abs(known.shift) == 1 else str(abs(known.shift))
            example = next(iter(known.order.items()))
            off = f"labels are off by {by}: its class {example[0]} is the data's {example[1]}; "
            return "wrong", off + REORDER
        return "wrong", "its classes come in another order than the data's: " + REORDER
    best = max(known.accuracy or 0, known.matched or 0)
    has_scores = known.matched is not None
    if known.like_chance(known.recall) and known.like_chance(best):
        return "wrong", f"it knows nothing of these classes: {PREPARE}."
    if has_scores and known.like_chance(best):
        return (
            "wrong",
            "its embedding knows the classes and its scores do not, in any order: its classifier "
            f"is untrained or not its own; or {PREPARE}. Methods on embeddings (RKD, RRD) may work.",
        )
    if has_scores and best < max(WEAK, known.recall / 2):
        return "look", f"a weak teacher: {PREPARE}."
    return "ok", ""


def _other_preprocessing(teacher: nn.Module, sample: Sample, classes: int, known: Knowledge) -> str:
    """Return what the teacher would rather be given, if it is clear."""
    assert isinstance(sample.shown, Tensor)
    if isinstance(teacher, StoredTeacher) or sample.target is None:
        return ""
    some: Samples = sample.shown
    target = sample.target[: len(some)]
    best, name = max(known.accuracy or known.matched or known.recall, 0) + 2 * GAIN, ""
    for what, change in EXPECTED.items():
        with torch.random.fork_rng(devices=[]), evaluating(teacher):
            made = teacher(on_device(change(some), device_of(teacher)))
        outputs = Outputs(*(None if x is None else x.float().cpu() for x in made))  # type: ignore[arg-type]
        if not all(x.isfinite().all() for x in outputs if x is not None):
            continue
        then = knowledge(outputs, target, classes)
        value = then.recall if then.accuracy is None else then.accuracy
        if value > best:
            best, name = value, what
    return f" Given {name}, it reaches {share(best)}: that is what it expects." if name else ""
