"""`timm/NAME`: image models of the timm library.

Arguments: `pretrained` (true), `image_size` (the model's own), `classes` (of the classifier).
Embedding: what the model pools before its classifier (`forward_head(…, pre_logits=True)`).
"""

from typing import Any

from torch import Tensor, nn

from asterism.modality import IMAGE
from asterism.models.adapt import Wrapper
from asterism.models.hub import Prepared, load_library, no_arguments_left, not_fetched
from asterism.models.spec import Spec
from asterism.types import Outputs

TAKES = (IMAGE,)
WAY_OUT = "Without a network, ?pretrained=false starts from random weights, or ?weights=FILE."


class TimmModel(Wrapper):
    """Give a timm model's pooled feature and its classifier's output."""

    def forward(self, images: Tensor) -> Outputs:
        """Return embedding and logits of prepared images."""
        model: Any = self.module
        features = model.forward_features(images)
        embedding: Tensor = model.forward_head(features, pre_logits=True)
        if model.num_classes == 0:
            return Outputs(embedding)
        classifier = model.get_classifier()
        if isinstance(classifier, nn.Linear):
            return Outputs(embedding, classifier(embedding))
        # A convolution, or two classifiers whose mean counts: the model's own way.
        return Outputs(embedding, model.forward_head(features))


def build(name: str, arguments: dict[str, Any], spec: Spec) -> Prepared:
    """Return a timm model with its own size and statistics inside.

    Args:
        name: Its name in timm.
        arguments: See above.
        spec: What the data are.

    Raises:
        ValueError: If there is no such model, or it cannot be fetched.
    """
    timm = load_library("timm", "timm")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('.')[0]}*")[:3]
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise ValueError(f"timm has no model {name!r}{hint}.")
    pretrained = bool(arguments.pop("pretrained", True))
    size = arguments.pop("image_size", None)
    classes = arguments.pop("classes", spec.classes)
    options: dict[str, Any] = {"pretrained": pretrained}
    if not spec.own_classifier or classes != spec.classes:
        options["num_classes"] = classes or 0
    no_arguments_left(f"timm/{name}", arguments)
    if size is not None and timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        options["img_size"] = size
    try:
        model = timm.create_model(name, **options)
    except Exception as error:  # of timm, of the hub, of the network: a dozen kinds
        if not pretrained:
            raise ValueError(f"timm cannot build {name}: {error}.") from error
        raise not_fetched(f"timm/{name}", error, WAY_OUT) from error
    config = timm.data.resolve_model_data_config(model)
    if size is None:
        size = config["input_size"][-1]
    return Prepared(TimmModel(model), size=size, mean=config["mean"], std=config["std"])


def input_size(name: str, arguments: dict[str, Any]) -> int | None:
    """Return the height and width that the model works at."""
    timm = load_library("timm", "timm")
    if "image_size" in arguments:
        return int(arguments["image_size"])
    shape = timm.get_pretrained_cfg_value(name, "input_size") if timm.is_model(name) else None
    return None if shape is None else int(shape[-1])
