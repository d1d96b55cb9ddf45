"""Models of other libraries by name, `LIBRARY/…`."""

import importlib
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from asterism.models.adapt import Wrapper
from asterism.models.normalise import Normalise
from asterism.models.spec import Spec
from asterism.types import Outputs

# Name in front, the file here that knows the library, the extra that brings it.
LIBRARIES = {
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "transformers",
    "st": "sentence_transformers",
    "model2vec": "model2vec",
}


def is_hub_name(name: str) -> bool:
    """Return whether a name begins like that of another library's model."""
    library, slash, rest = name.partition("/")
    return library in LIBRARIES and bool(slash and rest)


def build_hub(name: str, arguments: dict[str, Any], spec: Spec) -> nn.Module:
    """Return a model of another library that takes plain samples and returns `Outputs`.

    Args:
        name: `LIBRARY/NAME`; for models of texts, NAME may be a local folder.
        arguments: What stood behind the `?`.
        spec: What the model needs to know about the data.

    Raises:
        ValueError: If the library is missing or broken, there is no such model, or it cannot be
            fetched.
    """
    library, _, rest = name.partition("/")
    module = _file_of(library)
    if spec.takes not in module.TAKES:
        takes = " or ".join(modality.plural for modality in module.TAKES)
        raise ValueError(f"{name} takes {takes}, and the data are {spec.takes.plural}.")
    model: nn.Module = module.build(rest, dict(arguments), spec)
    return model


def hub_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return the height and width that a library's model works at; None for texts."""
    library, _, rest = name.partition("/")
    size: int | None = _file_of(library).input_size(rest, dict(arguments))
    return size


def _file_of(library: str) -> Any:
    return importlib.import_module(f"asterism.models.hub.{LIBRARIES[library]}")


class Prepared(Wrapper):
    """Bring images to a model's own channels, size and statistics first.

    Attributes:
        size: Height and width.
        card: What a run card must keep of the model besides its name, or None.
    """

    card: dict[str, Any] | None = None

    def __init__(
        self, module: nn.Module, *, size: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        """Wrap a model.

        Args:
            module: Takes normalised images of `size` and returns `Outputs`.
            size: Height and width to which images are resized, with antialiasing.
            mean: Mean of each channel, for images in [0, 1].
            std: Standard deviation of each channel.
        """
        super().__init__(module)
        self.size = size
        self.normalise = Normalise(mean, std)

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits of images in [0, 1] of any size, grey or in colour."""
        channels = len(self.normalise.mean)
        if images.shape[1] == 1 and channels > 1:
            images = images.expand(-1, channels, -1, -1)
        if images.shape[2:] != (self.size, self.size):
            images = F.interpolate(
                images, (self.size, self.size), mode="bicubic", antialias=True
            ).clamp(0, 1)
        outputs: Outputs = self.module(self.normalise(images))
        return outputs


def card_of(model: nn.Module) -> dict[str, Any] | None:
    """Return what a run card must keep of another library's model besides its name."""
    cards = (getattr(module, "card", None) for module in model.modules())
    return next((card for card in cards if isinstance(card, dict)), None)


def load_library(name: str, extra: str) -> Any:
    """Import another library.

    Raises:
        ValueError: If it is missing, or broken by a torchvision that does not match torch.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:
        chain: list[str] = []
        cause: BaseException | None = error
        while cause is not None:
            chain.append(str(cause))
            cause = cause.__cause__ or cause.__context__
        if any("operator torchvision::" in text for text in chain):
            raise ValueError(
                f"{name} cannot be imported, because the installed torchvision does not match the "
                "installed torch: install the matching one, or remove it (pip uninstall "
                "torchvision)."
            ) from error
        missing = isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0]
        problem = "is not installed" if missing else f"cannot be imported ({chain[0]})"
        raise ValueError(f"{name} {problem}: pip install 'asterism[{extra}]'.") from error


def not_fetched(name: str, error: Exception, way_out: str) -> ValueError:
    """Return one sentence for whatever a hub's library raises."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rstrip(".") if lines else type(error).__name__
    return ValueError(f"{name} could not be fetched: {reason}. {way_out}")


def no_arguments_left(name: str, arguments: dict[str, Any]) -> None:
    """Raise a ValueError for an argument that nobody asked for."""
    if arguments:
        raise ValueError(f"{name} takes no argument {next(iter(arguments))!r}.")
