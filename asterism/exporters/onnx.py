"""`onnx`: the graph for onnxruntime and whatever else reads ONNX."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from asterism.exporters.exporter import Exporter
from asterism.exporters.pt2 import named_arrays, no_graph, program
from asterism.exporters.subject import Encode, Subject
from asterism.models.hub import load_library
from asterism.types import Outputs, Samples

FILE = "model.onnx"


class Onnx(Exporter):
    """Any number of samples; preprocessing and class names are in the file's metadata."""

    name = "onnx"
    libraries = ("onnx", "onnxscript", "onnxruntime")
    has_int8 = True
    also = (
        '`asterism.runtime.load(".").embed(…)` takes files and texts as they are, and needs no '
        "torch.\n"
    )
    has_uint8 = True

    def refusal(self, subject: Subject) -> str | None:
        """Return why: of texts only networks that take tokens."""
        return no_graph(subject)

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.onnx, and for texts tokenizer.json."""
        onnx = load_library("onnx", self.extra)
        with _quiet():
            model = _converted(subject)
        metadata = {key: json.dumps(value) for key, value in described(subject).items()}
        for node in (model, model.graph, *model.graph.node, *model.graph.value_info):
            node.ClearField("metadata_props")  # the converter's notes name files of this machine
        onnx.helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        onnx.save(model, folder / FILE)
        if subject.of_texts:
            subject.shipped_tokenizer().save(str(folder / "tokenizer.json"))

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the outputs that onnxruntime computes on the CPU."""
        return session(subject, folder / FILE)

    def snippet(self, subject: Subject) -> str:
        """Return how onnxruntime loads it."""
        head = "import numpy\nimport onnxruntime\n"
        run = f'session = onnxruntime.InferenceSession("{FILE}")\n'
        names = ["embedding", "logits"][: 1 + subject.has_logits]
        end = f"{', '.join(names)} = session.run({names}, given)\n".replace("'", '"')
        if len(names) == 1:
            end = end.replace("embedding =", "[embedding] =")
        prepare, given = named_arrays(subject)
        return head + prepare + run + given + end


def session(subject: Subject, file: Path) -> Encode:
    """Return the outputs of an ONNX file by onnxruntime."""
    library = load_library("onnxruntime", Onnx.extra)
    options = library.SessionOptions()
    options.log_severity_level = 3
    model = library.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in model.get_outputs()]

    def encode(samples: Samples) -> Outputs:
        given = {name: value.numpy() for name, value in subject.inputs(samples).items()}
        outputs = dict(zip(names, map(torch.from_numpy, model.run(None, given)), strict=True))
        return Outputs(outputs["embedding"], outputs.get("logits"))

    return encode


def described(subject: Subject) -> dict[str, Any]:
    """Return what must be known beside the graph: how samples are made, what the numbers mean."""
    modality, shape = subject.student.modality, subject.student.shape
    known: dict[str, Any] = {
        "made_by": "asterism",
        "kind": modality.name,
        "shape": shape and list(shape),
        "prompt": subject.prompt or None,
        "space": "the teacher's" if subject.aligned else "the student's",
        "class_names": subject.classes and list(subject.classes),
    }
    if modality.pixels:
        known["preprocessing"] = modality.reading
        known["values"] = "bytes, 0 to 255" if subject.uint8 else "floats, 0 to 1"
    return {key: value for key, value in known.items() if value is not None}


def _converted(subject: Subject) -> Any:
    """Return the ONNX model of a student."""
    dimensions = {0: "batch", 1: "length"} if subject.of_texts else {0: "batch"}
    inputs = list(subject.inputs(subject.student.modality.example(subject.student.shape)))
    try:
        made = torch.onnx.export(
            program(subject),
            input_names=inputs,
            output_names=["embedding", "logits"][: 1 + subject.has_logits],
            dynamic_shapes=((dimensions,) * len(inputs),),
            opset_version=subject.opset,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise ValueError(
            f"torch.onnx cannot convert the student: {reason} --to pt2 or state may hold it."
        ) from error
    assert made is not None
    outputs = list(made.model.graph.outputs)
    names = [value.name for value in outputs]
    for node in made.model.graph:  # torch calls what nn.Embedding returns "embedding", too
        for value in node.outputs:
            if value.name in names and not any(value is output for output in outputs):
                value.name = f"inner_{value.name}"
    written = made.model.opset_imports[""]
    if subject.opset not in (None, written):  # where the conversion fails, torch only logs it
        raise ValueError(
            f"this student's operators are those of opset {written}, and cannot be written in "
            f"opset {subject.opset}: leave --opset out, or name a newer one."
        )
    return made.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the advice of torch's exporter, meant for its own developers, off the screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
