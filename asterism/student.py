"""The trained student of a run folder, ready to use."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.augment import to_float
from asterism.data.folder import decode
from asterism.models import BUILT_IN, Spec, build, load_weights, named, unweighted
from asterism.names import joined_name, split_name
from asterism.run import Run, RunError
from asterism.types import Kind, Outputs, Samples

# Samples that `Student.embed` takes at a time.
AT_ONCE = 256


class Student(nn.Module):
    """A trained student, ready to use.

    Attributes:
        model: The network itself.
        image_shape: Channels, height and width that the student was trained with; None for texts.
        aligner: The map of the embedding into the teacher's space, or None.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int] | None) -> None:
        """Wrap the network."""
        super().__init__()
        self.model = model
        self.image_shape = image_shape
        self.aligner: nn.Linear | None = None

    @property
    def kind(self) -> Kind:
        """Return what the student takes."""
        return "text" if self.image_shape is None else "image"

    def forward(self, samples: Samples) -> Outputs:
        """Return embedding and logits.

        Args:
            samples: Float images `(n, channels, height, width)` in [0, 1], or a list of texts.
        """
        outputs: Outputs = self.model(samples)
        if self.aligner is not None:
            outputs = outputs._replace(embedding=self.aligner(outputs.embedding))
        return outputs

    @torch.no_grad()
    def embed(self, paths_or_texts: Sequence[str | Path]) -> Outputs:
        """Return embedding and logits of picture files, read as the training data were, or texts.

        Args:
            paths_or_texts: Paths for a student of images, texts for a student of texts.
        """
        given = [paths_or_texts[i : i + AT_ONCE] for i in range(0, len(paths_or_texts), AT_ONCE)]
        found: list[Outputs] = [self(self._read(some)) for some in given or [[]]]
        logits = [outputs.logits for outputs in found if outputs.logits is not None]
        embedding = torch.cat([outputs.embedding for outputs in found])
        return Outputs(embedding, torch.cat(logits) if logits else None)

    def _read(self, paths_or_texts: Sequence[str | Path]) -> Samples:
        if self.image_shape is None:
            return [str(text) for text in paths_or_texts]
        device = next(self.parameters()).device
        images = [decode(Path(path), self.image_shape) for path in paths_or_texts]
        stacked = torch.stack(images) if images else torch.empty(0, *self.image_shape)
        return to_float(stacked.to(device))


def load(
    run: str | Path, *, factory: str | Callable[..., nn.Module] | None = None, aligned: bool = False
) -> Student:
    """Return the trained student of a run as a module in eval mode.

    Args:
        run: The run folder.
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
    card = folder.read_card()
    try:
        shape = None
        if card.get("kind") != "text":
            channels, height, width = (int(x) for x in card["image_shape"])
            shape = channels, height, width
        spec = Spec(card["classes"], shape, config=card.get("config"))
        if "mean" in card:
            spec = replace(spec, mean=tuple(card["mean"]), std=tuple(card["std"]))
        name, arguments = named(str(card["model"]))
        if name.startswith("hf/") and not isinstance(spec.config, dict):
            raise ValueError("it lacks the configuration")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path / 'student.json'} is damaged: {error!r}.") from error
    if factory is None and (".py:" in name or name.startswith("python:")):
        raise RunError(
            f"the student of {folder.path} was built by {name}; nothing named in a run folder is "
            "imported: pass factory=…, the function that builds it, or on the command line write "
            f"file.py:factory?weights={folder.path}."
        )
    if spec.kind == "text" and factory is None:
        spec = replace(spec, tokenizer=folder.read_tokenizer())
    arguments = unweighted(name, arguments)  # what it began with is of no importance any more
    if card.get("embedding") is not None:
        arguments["embedding"] = card["embedding"]
    weights = folder.path / "student.safetensors"
    if factory is None and name in BUILT_IN and spec.kind == "image":
        _believe(spec, name, arguments, folder)
    model = build(name if factory is None else factory, spec, arguments)
    load_weights(model, weights, name)
    student = Student(model, spec.image_shape)
    student.aligner = _aligner(folder) if aligned else None
    return student.eval()


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
        raise RunError(f"{folder.path / 'student.json'} is damaged: {error}") from error
    load_weights(model, folder.path / "student.safetensors", name)


def _aligner(folder: Run) -> nn.Linear:
    card = folder.read_aligner()
    try:
        layer = nn.Linear(int(card["student_dim"]), int(card["teacher_dim"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder.path / 'aligner.json'} is damaged: {error!r}.") from error
    load_weights(layer, folder.path / "aligner.safetensors", "the aligner")
    return layer
