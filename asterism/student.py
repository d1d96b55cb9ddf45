"""The trained student of a run folder, ready to use."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]

from asterism.modality import Modality
from asterism.models import BUILT_IN, Spec, build, load_weights, named, spec_of_card, unweighted
from asterism.names import as_text, is_own_code, joined_name, located, split_name
from asterism.run import Run, RunError
from asterism.types import Outputs, Samples, Shape, join_outputs, on_device

# Samples that `Student.embed` takes at a time.
AT_ONCE = 256


class Student(nn.Module):
    """A trained student, ready to use.

    Attributes:
        model: The network itself.
        modality: What it takes.
        shape: Size of a sample in training; None for texts.
        classes: Names of the classes in the order of its scores; None where none are known.
        aligner: The map of the embedding into the teacher's space, or None.
        checks: Whether samples unlike those of the training are refused.
    """

    def __init__(
        self,
        model: nn.Module,
        modality: Modality,
        shape: Shape,
        classes: Sequence[str] | None = None,
        *,
        checks: bool = True,
    ) -> None:
        """Wrap the network."""
        super().__init__()
        self.model = model
        self.modality = modality
        self.shape = shape
        self.classes = None if classes is None else tuple(classes)
        self.aligner: nn.Linear | None = None
        self.checks = checks

    def unchecked(self) -> "Student":
        """Return the same student for a training, whose data were looked at before it began."""
        student = Student(self.model, self.modality, self.shape, self.classes, checks=False)
        student.aligner = self.aligner
        return student.train(self.training)

    def forward(self, samples: Samples) -> Outputs:
        """Return embedding and logits.

        Args:
            samples: Float images `(n, channels, height, width)` in [0, 1], float arrays `(n, …)`,
                or a list of texts; of the size of the training data. Floats of any precision are
                brought to that of the network.

        Raises:
            ValueError: If they are of another kind, size or range than in training.
        """
        if self.checks and not (torch.compiler.is_compiling() or is_tracing()):  # type: ignore[no-untyped-call]
            self.modality.check(samples, self.shape)
        outputs: Outputs = self.model(self._as_computed(samples))
        if self.aligner is not None:
            outputs = outputs._replace(embedding=self.aligner(outputs.embedding))
        return outputs

    def _as_computed(self, samples: Samples) -> Samples:
        """Return samples in the type of the network's weights, which may be float16 or bfloat16."""
        if not isinstance(samples, Tensor) or not samples.is_floating_point():
            return samples
        weights = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        dtype = next(weights, samples.dtype)
        return samples if samples.dtype == dtype else samples.to(dtype)  # exports need no cast

    @torch.no_grad()
    def embed(self, given: Iterable[Any] | str | Path) -> Outputs:
        """Return embedding and logits of what a user has, read as the training data were.

        Args:
            given: Paths of pictures for a student of images, texts for one of texts, arrays or
                `.npy` files for one of arrays; a path or a text alone is one sample.

        Raises:
            ValueError: If something among it is none; the message names it.
            OSError: If a file cannot be read.
        """
        if isinstance(given, Mapping | bytes):
            raise ValueError(f"embed takes a list of samples; got {type(given).__name__}.")
        given = [given] if isinstance(given, str | Path) else list(given)
        parts = [given[i : i + AT_ONCE] for i in range(0, len(given), AT_ONCE)]
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        return join_outputs(
            [
                self(on_device(self.modality.read(some, self.shape), device))
                for some in parts or [[]]
            ]
        )


def load(
    run: str | Path, *, factory: str | Callable[..., nn.Module] | None = None, aligned: bool = False
) -> Student:
    """Return the trained student of a run as a module in eval mode.

    Args:
        run: The run folder, or what `asterism export RUN --to state` wrote.
        factory: For a student built by a user's own code: the factory, or the name of one,
            path/to/file.py:factory. It gets the arguments that it got in training. Nothing that is
            named inside a run folder is ever imported.
        aligned: Return embeddings in the teacher's space, through the map that `asterism align`
            fitted.

    Raises:
        FileNotFoundError: If there is no finished run, or no map.
        RunError: If the folder is damaged, or a factory is needed.
    """
    folder = Run(run)
    factory = located(factory) if isinstance(factory, str) else factory
    card = folder.read_card()
    try:
        spec, classes = spec_of_card(card), class_names(card)
        name, arguments = named(str(card["model"]))
        if name.startswith(("hf/", "model2vec/")) and not isinstance(spec.config, dict):
            raise ValueError("it lacks the configuration")
    except (KeyError, TypeError, ValueError) as error:
        damaged = folder.path / folder.student_file("student.json")
        raise RunError(f"{damaged} is damaged: {error!r}.") from error
    if factory is None and is_own_code(name):
        raise RunError(
            f"the student of {folder.path} was built by {name}; nothing named in a run folder is "
            "imported: pass factory=…, the function that builds it, or on the command line write "
            f"file.py:factory?weights={folder.path}."
        )
    if spec.shape is None and factory is None:
        spec = replace(spec, tokenizer=folder.read_tokenizer())
    arguments = unweighted(name, arguments)  # what it began with is of no importance any more
    if card.get("embedding") is not None:
        arguments["embedding"] = card["embedding"]
    weights = folder.path / folder.student_file("student.safetensors")
    if factory is None and name in BUILT_IN and spec.shape is not None:
        _believe(spec, name, arguments, folder)
    model = build(name if factory is None else factory, spec, arguments)
    called = name if factory is None else as_text(factory)
    load_weights(model, weights, called, spec if factory is not None else None)
    folder.refuse_other_weights("student", card)
    student = Student(model, spec.takes, spec.shape, classes)
    student.aligner = _aligner(folder) if aligned else None
    return student.eval()


def class_names(card: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the classes that a run card keeps; None where it keeps none.

    Raises:
        ValueError: If it is damaged.
    """
    names = card.get("class_names")
    if names is None:
        return None
    if not isinstance(names, list) or len(names) != card["classes"]:
        raise ValueError(f"class_names must be {card['classes']} names")
    return tuple(map(str, names))


def run_of(name: Any) -> Path | None:
    """Return the folder of the run whose student a name means; None for other models.

    A run is named by its folder or the weights in it, or, where the student was built by a user's
    own file, by path/to/file.py:factory?weights=FOLDER.
    """
    if not isinstance(name, str | Path):
        return None
    path = Path(name)
    if path.name == "student.safetensors" and (path.parent / "student.json").is_file():
        path = path.parent
    if path.is_dir():
        return path
    folder = split_name(str(name))[1].get("weights")
    return Path(folder) if folder is not None and Path(folder).is_dir() else None


def student_of_run(name: Any) -> tuple[Student, Path] | None:
    """Return the student of the run that a name means, and the run; None for other models."""
    folder = run_of(name)
    if folder is None:
        return None
    base, given = split_name(str(name))
    if given.pop("weights", None) is None:
        return load(folder), folder
    return load(folder, factory=joined_name(base, given)), folder


def _believe(spec: Spec, name: str, arguments: dict[str, Any], folder: Run) -> None:
    """Compare what a card claims with the weights, before memory is taken for it."""
    try:
        with torch.device("meta"):
            model = build(name, spec, arguments)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        damaged = folder.path / folder.student_file("student.json")
        raise RunError(f"{damaged} is damaged: {error}") from error
    load_weights(model, folder.path / folder.student_file("student.safetensors"), name)


def _aligner(folder: Run) -> nn.Linear:
    card = folder.read_aligner()
    try:
        layer = nn.Linear(int(card["student_dim"]), int(card["teacher_dim"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder.path / 'aligner.json'} is damaged: {error!r}.") from error
    load_weights(layer, folder.path / "aligner.safetensors", "the aligner")
    folder.refuse_other_weights("aligner", card)
    return layer
