"""`pt2`: the graph that torch.export makes, for torch without any code of the network."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject, in_two_parts
from asterism.types import Outputs, Samples

FILE = "model.pt2"


class Pt2(Exporter):
    """A program of torch.export, with any number of samples in a batch."""

    name = "pt2"
    has_uint8 = True

    def refusal(self, subject: Subject) -> str | None:
        """Return why: of texts only networks that take tokens."""
        return no_graph(subject)

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.pt2, and for texts tokenizer.json."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of its own internals
            torch.export.save(program(subject), folder / FILE)
        if subject.of_texts:
            subject.shipped_tokenizer().save(str(folder / "tokenizer.json"))

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the outputs of the program, loaded again."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.export.load(folder / FILE).module()

        @torch.no_grad()
        def encode(samples: Samples) -> Outputs:
            named: dict[str, Tensor] = module(*subject.inputs(samples).values())
            return Outputs(named["embedding"], named.get("logits"))

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how torch loads it."""
        head = f'import torch\n\nmodel = torch.export.load("{FILE}").module()\n'
        if subject.of_texts:
            return (
                "import tokenizers\n"
                + head
                + tokens_of(subject)
                + "ids = [one.ids for one in tokens]\n"
                "mask = [one.attention_mask for one in tokens]\n"
                "outputs = model(torch.tensor(ids), torch.tensor(mask))\n"
                'embedding, logits = outputs["embedding"], outputs.get("logits")\n'
            )
        given = "torch.as_tensor(samples)"
        given += ".mul(255).round().byte()  # 0 to 255" if subject.uint8 else ""
        return (
            head + f"given = {given}\noutputs = model(given)\n"
            'embedding, logits = outputs["embedding"], outputs.get("logits")\n'
        )


def tokens_of(subject: Subject) -> str:
    """Return the lines that make tokens of texts."""
    return (
        'tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")  # cuts and pads by itself\n'
        f"tokens = tokenizer.encode_batch({subject.texts})\n"
    )


def named_arrays(subject: Subject) -> tuple[str, str]:
    """Return the lines that prepare samples, and those that make `given`, arrays by their names."""
    if subject.of_texts:
        return "import tokenizers\n\n" + tokens_of(subject), (
            'given = {"input_ids": [one.ids for one in tokens],\n'
            '         "attention_mask": [one.attention_mask for one in tokens]}\n'
            "given = {name: numpy.array(rows, numpy.int64) for name, rows in given.items()}\n"
        )
    values = "numpy.asarray(samples, numpy.float32)"
    if subject.uint8:
        values = "(numpy.asarray(samples) * 255).round().astype(numpy.uint8)"
    return "\n", f'given = {{"{subject.student.modality.plural}": {values}}}\n'


def no_graph(subject: Subject) -> str | None:
    """Return why a student cannot be a graph of tensors; None if it can be."""
    if subject.of_texts:
        try:
            in_two_parts(subject.student)
        except ValueError as error:
            return str(error)
    return None


def program(subject: Subject) -> torch.export.ExportedProgram:
    """Return a student as a program of torch.export.

    Raises:
        ValueError: If its network depends on the number of samples, or on their values.
    """
    example = subject.inputs(subject.student.modality.example(subject.student.shape))
    # Both axes of tokens, the first of anything else.
    axes = 2 if subject.of_texts else 1
    free: dict[int, Any] = dict.fromkeys(range(axes), torch.export.Dim.DYNAMIC)
    try:
        with torch.no_grad():
            made = torch.export.export(
                subject.graph(), tuple(example.values()), dynamic_shapes=((free,) * len(example),)
            )
    except Exception as error:  # torch raises a dozen kinds
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"torch.export cannot trace the student: {reason}. A network is traced without "
            "knowing how many samples there are, or what is in them; --to state holds any."
        ) from error
    for module in made.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)  # it names files of this machine
    return made
