"""`torchvision/NAME`: image classifiers of the torchvision library.

Arguments: `pretrained` (true: the newest weights), `image_size` (the weights' own), `classes`.
Embedding: what enters the last linear layer, which is the classifier.
"""

from typing import Any

from torch import nn

from asterism.modality import IMAGE
from asterism.models.adapt import Adapted
from asterism.models.hub import Prepared, load_library, no_arguments_left, not_fetched
from asterism.models.spec import Spec

TAKES = (IMAGE,)
WAY_OUT = "Without a network, ?pretrained=false starts from random weights, or ?weights=FILE."

# Their auxiliary classifiers, of 1,000 classes, are left out.
WITH_AUXILIARIES = {"inception_v3": ("AuxLogits",), "googlenet": ("aux1", "aux2")}


def build(name: str, arguments: dict[str, Any], spec: Spec) -> Prepared:
    """Return a torchvision classifier with its own size and statistics inside.

    Args:
        name: Its name in torchvision.
        arguments: See above.
        spec: What the data are.

    Raises:
        ValueError: If there is no such classifier, or its weights cannot be fetched.
    """
    weights = _weights(name)
    models = load_library("torchvision.models", "torchvision")
    preset = weights.transforms()
    pretrained = bool(arguments.pop("pretrained", True))
    size = int(arguments.pop("image_size", preset.crop_size[0]))
    classes = arguments.pop("classes", spec.classes)
    keep = spec.own_classifier and classes == spec.classes
    no_arguments_left(f"torchvision/{name}", arguments)
    options: dict[str, Any] = {"image_size": size} if name.startswith("vit_") else {}
    if name in WITH_AUXILIARIES:  # else they warn that their default will be another
        options["init_weights"] = not pretrained
    model: Any = models.get_model(name, weights=None, **options)
    if pretrained:
        try:
            # Not through get_model, which would unpickle.
            state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            model.load_state_dict(state)
        except Exception as error:  # of the network, or old names of parameters
            raise not_fetched(f"torchvision/{name}", error, WAY_OUT) from error
    for part in WITH_AUXILIARIES.get(name, ()):
        setattr(model, part, None)
        model.aux_logits = False
    layers = [(k, m) for k, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise ValueError(f"torchvision/{name} has no linear classifier: name another model.")
    place, linear = layers[-1]
    if not keep:
        new = nn.Linear(linear.in_features, classes) if classes else nn.Identity()
        parent, _, child = place.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
    wide = linear.out_features if keep else classes
    adapted = Adapted(model, classes=wide)
    return Prepared(adapted, size=size, mean=preset.mean, std=preset.std)


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return the height and width that the model works at."""
    return int(arguments.get("image_size", _weights(name).transforms().crop_size[0]))


def _weights(name: str) -> Any:
    models = load_library("torchvision.models", "torchvision")
    if name not in models.list_models(module=models):
        raise ValueError(f"torchvision has no classifier {name!r}.")
    return models.get_model_weights(name).DEFAULT
