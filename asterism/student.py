"""A student alone: what a run folder keeps of it, and how it comes back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.augment import to_float
from asterism.data.folder import decode
from asterism.models import Spec, build, card_of, load_weights, tokeniser_of, weights_of
from asterism.run import Run, RunError
from asterism.types import Kind, Outputs, Samples

# Samples that `Student.embed` takes at a time.
AT_ONCE = 256


class Student(nn.Module):
    """A trained student, ready to use.

    Attributes:
        model: The network itself.
        image_shape: Channels, height and width that the student was trained with; None for texts.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int] | None) -> None:
        """Wrap the network."""
        super().__init__()
        self.model = model
        self.image_shape = image_shape

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
        return outputs

    @torch.no_grad()
    def embed(self, paths_or_texts: Sequence[str | Path]) -> Outputs:
        """Return embedding and logits of picture files, read as the training data were, or texts.

        Args:
            paths_or_texts: Paths for a student of images, texts for a student of texts.
        """
        given = [paths_or_texts[i : i + AT_ONCE] for i in range(0, len(paths_or_texts), AT_ONCE)]
        found = [self(self._read(some)) for some in given or [[]]]
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


def save(run: Run, model: nn.Module, *, name: Any, spec: Spec, dim: int) -> None:
    """Write a student into its run folder: weights, tokeniser, and how to build it.

    Args:
        run: The folder.
        model: The student.
        name: The name that it was built from; an object is remembered as somebody's own.
        spec: What it was built for.
        dim: Width of its embedding.
    """
    card = {
        "model": name if isinstance(name, str) else "file.py:factory",
        "kind": spec.kind,
        "classes": spec.classes,
        "image_shape": spec.image_shape and list(spec.image_shape),
        "embedding_dim": dim,
        "config": card_of(model),
    }
    tokeniser = tokeniser_of(model)
    run.write_student(weights_of(model), card, tokeniser.json if tokeniser else None)


def load(run: str | Path, *, factory: Callable[..., nn.Module] | None = None) -> Student:
    """Return the trained student of a run as a module in eval mode.

    Args:
        run: The run folder.
        factory: For a student built by a user's own file: the factory. Nothing that is named
            inside a run folder is ever imported.

    Raises:
        FileNotFoundError: If there is no finished run.
        RunError: If the folder is damaged, or a factory is needed.
    """
    folder = Run(run)
    card = folder.read_card()
    try:
        shape = None
        if card.get("kind") != "text":
            channels, height, width = (int(x) for x in card["image_shape"])
            shape = channels, height, width
        spec = Spec(classes=card["classes"], image_shape=shape, config=card.get("config"))
        name = str(card["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path / 'student.json'} is damaged: {error!r}.") from error
    if spec.kind == "text" and factory is None:
        spec = replace(spec, tokenizer=folder.read_tokenizer())
    if name.startswith("hf/") and spec.config is None:
        raise RunError(f"{folder.path / 'student.json'} is damaged: it lacks the configuration.")
    if factory is None and ".py:" in name.partition("?")[0]:
        raise RunError(
            f"the student of {folder.path} was built by {name}; nothing named in a run folder is "
            "imported: pass factory=…, the function that builds it."
        )
    model = build(factory if factory is not None else name, spec, empty=True)
    load_weights(model, folder.path / "student.safetensors", name)
    return Student(model, spec.image_shape).eval()
