"""The trained student of a run folder, ready to use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]

from asterism.data import Loader, Order
from asterism.data.batches import default_workers
from asterism.given import source_of
from asterism.modality import Modality
from asterism.models import BUILT_IN, Spec, build, load_weights, named, spec_of_card, unweighted
from asterism.names import as_text, is_own_code, joined_name, located, portable, split_name
from asterism.predictions import Predictions
from asterism.run import Run, RunError
from asterism.types import (
    Outputs,
    Samples,
    Shape,
    as_input,
    join_outputs,
    on_device,
    outputs_on_device,
    to_float,
)
from asterism.words import number

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
        name: The model's name.
        checks: Whether samples unlike those of the training are refused.
    """

    def __init__(
        self,
        model: nn.Module,
        modality: Modality,
        shape: Shape,
        classes: Sequence[str] | None = None,
        *,
        name: str = "",
        checks: bool = True,
    ) -> None:
        """Wrap the network."""
        super().__init__()
        self.model = model
        self.modality = modality
        self.shape = shape
        self.classes = None if classes is None else tuple(classes)
        self.aligner: nn.Linear | None = None
        self.name = name
        self.checks = checks

    def unchecked(self) -> "Student":
        """Return the same student for a training, whose data were looked at before it began."""
        what = (self.model, self.modality, self.shape, self.classes)
        student = Student(*what, name=self.name, checks=False)
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
    def embed(self, given: Any) -> Outputs:
        """Return embedding and logits of what a user has, read as the training data were.

        They come in the order of what is given, on the CPU; the student works where it is
        (`student.to("cuda")`). Many picture files are decoded in several processes.

        Args:
            given: One sample or several: paths of pictures, contents of such files, Pillow's
                pictures or uint8 arrays `(h, w, channels)` for a student of images, texts for one
                of texts, arrays or `.npy` files for one of arrays. Or a tensor, as `forward` takes
                it; or float pixels in [0, 1] of the student's own size, one picture or several,
                channels first or last. Or data: a folder of pictures, a table, a Dataset, what
                `asterism.data`'s `open_source` gives; of texts a table is a `Path`, as a string
                is a text.

        Raises:
            ValueError: If something among it is no sample; the message names it.
            FileNotFoundError: If there is no such file.
            OSError: If a file cannot be read.
        """
        weight = next(self.parameters(), torch.empty(0))
        outputs = []
        for samples in self._batches(given):
            made = self(on_device(samples, weight.device))
            outputs.append(outputs_on_device(made, torch.device("cpu")))
        return join_outputs(outputs)

    def predict(self, given: Any) -> Predictions:
        """Return the class of each sample with its probability, and all probabilities.

        Args:
            given: As for `embed`.

        Raises:
            ValueError: As `embed`, and if the student has no class scores.
        """
        logits = self.embed(given).logits
        if logits is None:
            raise ValueError(
                "predict needs a student with class scores, and this one was trained without "
                "classes: use student.embed(…)."
            )
        return Predictions.of(logits.float().numpy(), self.classes)

    def _batches(self, given: Any) -> Iterator[Samples]:
        """Yield samples as the student takes them; at least one batch, which may be empty."""
        tensor = self.modality.as_tensor(given, self.shape)
        if tensor is not None:
            samples = to_float(tensor)
            yield from torch.split(samples, AT_ONCE) if samples.ndim else [samples]
            return
        source = source_of(given, self.modality, self.shape)
        if not len(source):
            yield as_input(self.modality.read([], self.shape))
            return
        workers = default_workers(source) if len(source) > AT_ONCE else 0
        order = Order(torch.arange(len(source)), AT_ONCE, seed=None)
        for batch in Loader(source, order, workers=workers):
            if batch.broken:
                raise ValueError(
                    f"each sample has a row, and this one cannot be read: {batch.broken[0]}. Leave "
                    "it out, or use `asterism embed`, which goes on and names such samples."
                )
            yield as_input(batch.views[0])

    def __repr__(self) -> str:
        """Return in a line what it is; `student.model` shows the network."""
        classes = f", {len(self.classes)} classes" if self.classes else ""
        count = number(sum(weight.numel() for weight in self.parameters()))
        return (
            f"Student({self.name or type(self.model).__name__}: takes "
            f"{self.modality.described(self.shape)}{classes}, {count} parameters)"
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
    student = Student(model, spec.takes, spec.shape, classes, name=portable(str(card["model"])))
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
