"""`timm`: weights and a config that `timm.create_model("local-dir:FOLDER")` loads."""

from pathlib import Path

import torch
from torch import Tensor

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject
from asterism.models.hub import Prepared, load_library
from asterism.models.hub.timm import TimmModel
from asterism.types import Outputs, Samples


class Timm(Exporter):
    """Students that are timm's own networks."""

    name = "timm"
    libraries = ("timm",)
    extra = "timm"

    def refusal(self, subject: Subject) -> str | None:
        """Return why: not timm's own, or with a map behind it."""
        prepared = subject.student.model
        if not (isinstance(prepared, Prepared) and isinstance(prepared.module, TimmModel)):
            return "it is no network of timm"
        return "its networks have no place for the map" if subject.aligned else None

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.safetensors and config.json by timm itself."""
        hub = load_library("timm.models", self.extra)
        prepared = subject.student.model
        assert isinstance(prepared, Prepared)
        normalise = prepared.normalise
        config = {"label_names": list(subject.classes)} if subject.classes else {}
        hub.save_for_hf(
            subject.network,
            folder,
            model_config={**config, "num_classes": getattr(subject.network, "num_classes", 0)},
            safe_serialization=True,
            data_config={
                "input_size": (len(normalise.mean), prepared.size, prepared.size),
                "mean": tuple(normalise.mean.flatten().tolist()),
                "std": tuple(normalise.std.flatten().tolist()),
                "interpolation": "bicubic",
                "crop_pct": 1.0,
            },
        )

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the outputs of the network that timm builds, prepared by its config."""
        timm = load_library("timm", self.extra)
        model = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
        config = timm.data.resolve_model_data_config(model)
        prepared = Prepared(
            TimmModel(model),
            size=config["input_size"][-1],
            mean=config["mean"],
            std=config["std"],
        )

        @torch.no_grad()
        def encode(samples: Samples) -> Outputs:
            assert isinstance(samples, Tensor)
            outputs: Outputs = prepared(samples)
            return outputs

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how timm loads it."""
        return (
            "import timm\nimport torch\nfrom torchvision import transforms\n\n"
            'model = timm.create_model("local-dir:.", pretrained=True).eval()\n'
            "config = timm.data.resolve_model_data_config(model)\n"
            'size, mean, std = config["input_size"][1:], config["mean"], config["std"]\n'
            "images = torch.nn.functional.interpolate(\n"
            '    torch.as_tensor(samples), size, mode="bicubic", antialias=True).clamp(0, 1)\n'
            "images = transforms.functional.normalize(images, mean, std)\n"
            "with torch.no_grad():\n"
            "    features = model.forward_features(images)\n"
            "    embedding = model.forward_head(features, pre_logits=True)\n"
            "    logits = model.forward_head(features)\n"
        )
