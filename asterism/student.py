"""The trained student of a run folder, ready to use."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from asterism.augment import to_float
from asterism.data.folder import decode
from asterism.models import Spec, build, load_weights, named
from asterism.run import Run, RunError
from asterism.types import Outputs


class Student(nn.Module):
    """A trained student, ready to use.

    Attributes:
        model: The network itself.
        image_shape: Channels, height and width that the student was trained with.
        aligner: The map of the embedding into the teacher's space, or None.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        """Wrap the network."""
        super().__init__()
        self.model = model
        self.image_shape = image_shape
        self.aligner: nn.Linear | None = None

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits of float images `(n, channels, height, width)` in [0, 1]."""
        outputs: Outputs = self.model(images)
        if self.aligner is not None:
            outputs = outputs._replace(embedding=self.aligner(outputs.embedding))
        return outputs

    @torch.no_grad()
    def embed(self, paths: list[str | Path]) -> Outputs:
        """Return embedding and logits of picture files, read as the training data were."""
        device = next(self.parameters()).device
        images = torch.stack([decode(Path(path), self.image_shape) for path in paths])
        outputs: Outputs = self(to_float(images.to(device)))
        return outputs


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
        channels, height, width = (int(x) for x in card["image_shape"])
        statistics = [tuple(card[name]) for name in ("mean", "std") if name in card]
        spec = Spec(card["classes"], (channels, height, width), *statistics)
        name, arguments = named(str(card["model"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder.path / 'student.json'} is damaged: {error!r}.") from error
    if factory is None and (".py:" in name or name.startswith("python:")):
        raise RunError(
            f"the student of {folder.path} was built by {name}; nothing named in a run folder is "
            "imported: pass factory=…, the function that builds it, or on the command line write "
            f"file.py:factory?weights={folder.path}."
        )
    arguments.pop("weights", None)  # what it began with
    if card.get("embedding") is not None:
        arguments["embedding"] = card["embedding"]
    model = build(name if factory is None else factory, spec, arguments)
    load_weights(model, folder.path / "student.safetensors", name)
    student = Student(model, spec.image_shape)
    student.aligner = _aligner(folder) if aligned else None
    return student.eval()


def _aligner(folder: Run) -> nn.Linear:
    card = folder.read_aligner()
    try:
        layer = nn.Linear(int(card["student_dim"]), int(card["teacher_dim"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder.path / 'aligner.json'} is damaged: {error!r}.") from error
    load_weights(layer, folder.path / "aligner.safetensors", "the aligner")
    return layer
