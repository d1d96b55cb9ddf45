"""The rehearsal: what a run does only at its end, tried before its first step.

Always, whatever else is left out: a training that cannot be kept is not begun. It takes a second or
two, and nothing of the training is changed by it.
"""

import copy
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from asterism.data import Data
from asterism.engine import Training
from asterism.exporters import chosen, subject_of, write_exports
from asterism.models import in_mode, in_words, tokeniser_of, weights_of
from asterism.names import as_text, is_own_code, joined_name, split_name
from asterism.run import Run
from asterism.student import load
from asterism.teachers import observed
from asterism.types import Outputs, Samples, as_input

if TYPE_CHECKING:
    from asterism.request import Model

# Two samples are the fewest that batch norm can be trained with.
ROWS = 2
# So many rows are looked at for some that can be read.
LOOKED_AT = 64
# Weights that were written and read again compute the same but for rounding.
SAME = 1e-3


def rehearse(training: Training) -> None:
    """Try on copies what the steps and the end of a training will ask of its networks.

    Each takes one sample alone in eval mode, as measures of time and services give it; the student
    gives the same kinds of outputs in train mode, with a gradient for some of its weights; it is
    written, built again, loaded, and returns what it returned; and it can be exported, where that
    is asked for.

    Raises:
        ValueError: If one of these fails; the message says what must hold, and the way out.
    """
    samples = _samples(training.data)
    if samples is None:
        return  # nothing can be read, and the first batch says so
    with _undisturbed():
        if training.teacher is not None and training.teacher.network is not None:
            _refuse_shared(training.student, training.teacher.network)
            _alone("teacher", training.teacher.network, samples)
        student = _copied(training.student)
        clean = _alone("student", student, samples)
        _steps(training, student, samples, clean)
        _kept(training, samples)


def write_student(run: Run, student: nn.Module, card: dict[str, Any]) -> None:
    """Write a student, its tokeniser if it has one, and its card.

    Raises:
        ValueError: If its state is more than tensors.
    """
    tokeniser = tokeniser_of(student)
    run.write_student(weights_of(student), card, tokeniser.json if tokeniser else None)


def factory_of(student: "Model") -> str | Callable[..., nn.Module] | None:
    """Return what builds a student of the user's own code again; None for all others."""
    if not isinstance(student, str | Path):
        return student
    base, given = split_name(as_text(student))
    given.pop("weights", None)
    return joined_name(base, given) if is_own_code(base) else None


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what the `with` block draws: a user's model may draw from any of these."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _samples(data: Data) -> Samples | None:
    """Return two training samples, as models take them; None if none can be read."""
    for rows in torch.split(data.train[:LOOKED_AT], ROWS):
        batch = data.source.__getitems__(rows.tolist())
        if len(batch.index):
            samples = as_input(batch.views[0])
            twice = torch.cat([samples] * ROWS) if isinstance(samples, Tensor) else samples * ROWS
            return twice[:ROWS]
    return None


def _copied(student: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(student)
    except Exception as error:  # of any kind: a user's own module
        raise ValueError(
            f"a student must be one that can be copied (copy.deepcopy): {in_words(error)}."
        ) from error


def _refuse_shared(student: nn.Module, teacher: nn.Module) -> None:
    known = {id(p) for p in teacher.parameters()}
    if shared := [name for name, p in student.named_parameters() if id(p) in known]:
        raise ValueError(
            f"student and teacher must have weights of their own; they share {shared[0]}, which "
            "would be frozen with the teacher. Give the student a copy (copy.deepcopy)."
        )


def _alone(role: str, network: nn.Module, samples: Samples) -> Outputs:
    """Return what a network makes of some samples, of which it must take one alone, too."""
    outputs = observed(network, samples)
    try:
        alone = observed(network, samples[:1])
        same = _widths(alone) == _widths(outputs) and len(alone.embedding) == 1
        problem = "" if same else f"it returns {_in_words(alone)}"
    except Exception as error:
        problem = in_words(error)
    if problem:
        raise ValueError(
            f"the {role} must take a single sample in eval mode, as a service gives it, and return "
            f"{_in_words(outputs)} of it: {problem}. A squeeze() needs the axis it is for."
        )
    return outputs


def _steps(training: Training, student: nn.Module, samples: Samples, clean: Outputs) -> None:
    """See what the student returns in train mode, and what of it gets a gradient."""
    parameters = [p for p in student.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(
            "nothing of the student would be trained: none of its weights asks for a gradient. "
            "Unfreeze some (requires_grad_(True))."
        )
    device = parameters[0].device
    given = samples.to(device) if isinstance(samples, Tensor) else samples
    try:
        with torch.enable_grad(), in_mode(student, training=True):
            outputs: Outputs = student(given)
    except Exception as error:  # of any kind: a user's own module
        raise ValueError(
            f"the student must take {ROWS} samples in train mode: {in_words(error)}."
        ) from error
    if _widths(outputs) != _widths(clean):
        raise ValueError(
            f"the student must return the same in train mode and in eval mode; it returns "
            f"{_in_words(outputs)} in one and {_in_words(clean)} in the other: return "
            "asterism.Outputs(embedding, logits) in both."
        )
    taught = {
        "embedding": (training.use_labels and not training.task.of_scores)
        or any("logits" not in method.needs for method in training.methods),
        "logits": (training.use_labels and training.task.of_scores)
        or any("logits" in method.needs for method in training.methods),
    }
    used = [getattr(outputs, name) for name, used in taught.items() if used]
    sums = [x.float().sum() for x in used if x is not None and x.requires_grad]
    reached = torch.autograd.grad(sums, parameters, allow_unused=True) if sums else []
    if all(gradient is None for gradient in reached):
        names = " and ".join(name for name, used in taught.items() if used)
        raise ValueError(
            f"nothing of the student would be trained: no gradient comes from its {names} to any "
            "of its weights that ask for one. Look for no_grad() or detach() in its forward."
        )


def _kept(training: Training, samples: Samples) -> None:
    """Write the student as at the end, build it again, load it, and compare what it returns."""
    student, named = _copied(training.student).cpu(), training.request.student
    exporters = chosen(training.request.export) if training.request.export else []
    with tempfile.TemporaryDirectory(prefix="asterism-") as folder:
        size = sum(x.nbytes for x in student.state_dict().values() if isinstance(x, Tensor))
        if shutil.disk_usage(folder).free < 2 * size:
            return  # another disk than the run folder's
        try:
            write_student(Run(folder), student, training.card)
            # Of a module that was given only a copy can be had, not another.
            given = copy.deepcopy(named) if isinstance(named, nn.Module) else named
            again = load(folder, factory=factory_of(given)).unchecked()
        except Exception as error:  # of any kind: a user's own factory, safetensors
            reason = str(error) if isinstance(error, ValueError) else in_words(error)
            raise ValueError(
                "a student must be one that can be kept and loaded again (asterism.load), which is "
                f"tried before it is trained: {reason.rstrip('.')}."
            ) from error
        if exporters:
            subject = subject_of(Run(folder), again, data=None, factory=factory_of(given))
            subject = replace(subject, samples=samples)
            write_exports(subject, exporters, Path(folder), data=None, compared_on="two rows")
    before, after = (_drawing_alike(network, samples) for network in (student, again))
    for name, x, y in zip(Outputs._fields, before, after, strict=True):
        alike = x is y if x is None or y is None else x.shape == y.shape and _close(x, y)
        if not alike:
            raise ValueError(
                f"a student that is loaded again must be the same, and its {name} is another: it "
                "computes with something that is not among its weights. Make that a buffer "
                "(register_buffer), or let the factory make the same each time."
            )


def _drawing_alike(network: nn.Module, samples: Samples) -> Outputs:
    torch.manual_seed(0)  # some draw in eval mode, too
    return observed(network, samples)


def _close(x: Tensor, y: Tensor) -> bool:
    largest = float(x[x.isfinite()].abs().max()) if x.isfinite().any() else 0.0
    return torch.allclose(x, y, rtol=SAME, atol=SAME * largest, equal_nan=True)


def _widths(outputs: Outputs) -> list[int | None]:
    return [None if x is None else x.shape[-1] for x in outputs]


def _in_words(outputs: Outputs) -> str:
    embedding, logits = outputs
    scores = "no scores" if logits is None else f"scores of shape {tuple(logits.shape)}"
    return f"an embedding of shape {tuple(embedding.shape)} and {scores}"
