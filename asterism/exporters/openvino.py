"""`openvino`: the graph for Intel's runtime, by way of ONNX."""

import tempfile
from pathlib import Path

import torch

from asterism.exporters.exporter import Exporter
from asterism.exporters.onnx import FILE, Onnx
from asterism.exporters.pt2 import named_arrays, no_graph
from asterism.exporters.subject import Encode, Subject
from asterism.models.hub import load_library
from asterism.types import Outputs, Samples


class OpenVino(Exporter):
    """What `Core().read_model("model.xml")` takes, weights in float32."""

    name = "openvino"
    libraries = ("openvino", *Onnx.libraries)
    extra = "openvino"
    has_uint8 = True

    def refusal(self, subject: Subject) -> str | None:
        """Return why: of texts only networks that take tokens."""
        return no_graph(subject)

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.xml, model.bin, and for texts tokenizer.json."""
        library = load_library("openvino", self.extra)
        with tempfile.TemporaryDirectory() as scratch:
            Onnx().write(subject, Path(scratch))
            model = library.convert_model(Path(scratch) / FILE)
            library.save_model(model, folder / "model.xml", compress_to_fp16=False)
        if subject.of_texts:
            subject.shipped_tokenizer().save(str(folder / "tokenizer.json"))

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the outputs that OpenVINO computes on the CPU."""
        core = load_library("openvino", self.extra).Core()
        exact = {"INFERENCE_PRECISION_HINT": "f32"}
        model = core.compile_model(folder / "model.xml", "CPU", exact)

        names = ["embedding", "logits"][: 1 + subject.has_logits]

        def encode(samples: Samples) -> Outputs:
            given = {name: value.numpy() for name, value in subject.inputs(samples).items()}
            made = model(given)
            embedding, *logits = (torch.tensor(made[name]) for name in names)
            return Outputs(embedding, *logits)

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how OpenVINO loads it."""
        head = "import numpy\nimport openvino\n"
        load = (
            'exact = {"INFERENCE_PRECISION_HINT": "f32"}\n'
            'model = openvino.Core().compile_model("model.xml", "CPU", exact)\n'
        )
        end = 'embedding = model(given)["embedding"]\n'
        prepare, given = named_arrays(subject)
        return head + prepare + load + given + end
