"""What is exported: a run's student, with all that a format may want to keep of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from asterism.modality import TEXT
from asterism.models import tokeniser_of
from asterism.models.adapt import Wrapper
from asterism.models.tokens import Tokeniser
from asterism.names import joined_name, split_name
from asterism.student import Student
from asterism.types import Outputs, Samples, to_float

# From samples to outputs, as a format's own library computes them.
Encode = Callable[[Samples], Outputs]


@runtime_checkable
class TakesTokens(Protocol):
    """A model of texts in its two parts: the tokeniser, and the network behind it."""

    @property
    def tokeniser(self) -> Tokeniser:
        """Return what makes numbers of tokens of texts."""

    def encode(self, numbers: Tensor, mask: Tensor) -> Outputs:
        """Return embedding and logits of tokens' numbers and a mask, both `(n, length)`."""


@dataclass(frozen=True)
class Subject:
    """A student on its way out of a run folder.

    Attributes:
        run: The run folder.
        student: Its student, on the CPU in eval mode; with the map if it is exported aligned.
        card: What `student.json` holds.
        classes: Names of the classes in the order of the logits; None without class scores, or if
            they are not known.
        factory: What builds a student of the user's own code, or None.
        samples: Samples of the run's data, by which what is made smaller is calibrated; None if the
            data are not there.
        opset: The version of ONNX's operators; None for the exporter's own choice.
        uint8: Whether images go in as bytes, 0 to 255, instead of floats in [0, 1].
    """

    run: Path
    student: Student
    card: dict[str, Any]
    classes: tuple[str, ...] | None = None
    factory: str | Callable[..., nn.Module] | None = None
    samples: Samples | None = None
    opset: int | None = None
    uint8: bool = False

    @property
    def network(self) -> nn.Module:
        """Return the student's network without wrappers, as its own library knows it."""
        module = self.student.model
        while isinstance(module, Wrapper):
            module = module.module
        return module

    @property
    def tokeniser(self) -> Tokeniser:
        """Return the tokeniser of a student for texts."""
        tokeniser = tokeniser_of(self.student)
        assert tokeniser is not None
        return tokeniser

    @property
    def prompt(self) -> str:
        """Return what stands before each text; empty for most students."""
        found = (getattr(module, "prompt", None) for module in self.student.model.modules())
        return next((prompt for prompt in found if isinstance(prompt, str)), "")

    @property
    def texts(self) -> str:
        """Return the expression that a card has for the texts that go in."""
        return f"[{self.prompt!r} + text for text in samples]" if self.prompt else "samples"

    @property
    def aligned(self) -> bool:
        """Return whether embeddings are mapped into the teacher's space."""
        return self.student.aligner is not None

    @cached_property
    def has_logits(self) -> bool:
        """Return whether the student gives class scores."""
        example = self.student.modality.example(self.student.shape)
        return self.outputs(example).logits is not None

    @property
    def of_texts(self) -> bool:
        """Return whether the student takes texts."""
        return self.student.modality is TEXT

    @property
    def kind(self) -> str:
        """Return the name of the student's model, without its arguments and folders."""
        return shipped_name(str(self.card["model"])).partition("?")[0]

    @torch.no_grad()
    def outputs(self, samples: Samples) -> Outputs:
        """Return the student's own outputs on samples."""
        outputs: Outputs = self.student(samples)
        return outputs

    def graph(self) -> "Graph":
        """Return the student as a network on tensors alone."""
        return Graph(self.student, uint8=self.uint8)

    def inputs(self, samples: Samples) -> dict[str, Tensor]:
        """Return what the graph is given for samples, by name."""
        if not isinstance(samples, Tensor):
            ids, mask = self.tokens(samples)
            return {"input_ids": ids, "attention_mask": mask}
        if self.uint8:
            samples = (samples * 255).round().to(torch.uint8)
        return {self.student.modality.plural: samples}

    def tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """Return numbers of tokens and mask, as the exported tokenizer.json gives them."""
        made = self._shipped.encode_batch([self.prompt + text for text in texts])
        ids = torch.tensor([one.ids for one in made], dtype=torch.int64)
        mask = torch.tensor([one.attention_mask for one in made], dtype=torch.int64)
        if not ids.shape[1]:  # texts without tokens: a graph needs one column
            return ids.new_zeros(len(texts), 1), mask.new_zeros(len(texts), 1)
        return ids, mask

    @cached_property
    def _shipped(self) -> Any:
        return self.shipped_tokenizer()

    def shipped_tokenizer(self, *, padding: bool = True) -> Any:
        """Return a tokenizer of the `tokenizers` library that cuts, marks and pads as the student.

        It is complete in its file: who loads it needs to know nothing of the student.
        """
        own = self.tokeniser
        tokenizer: Any = type(own.tokenizer).from_str(own.tokenizer.to_str())
        if not own.special:
            tokenizer.post_processor = None
        if padding:
            tokenizer.enable_padding(pad_id=0, pad_token=tokenizer.id_to_token(0) or "")
        return tokenizer


class Graph(nn.Module):
    """A student on tensors alone: images, arrays, or numbers of tokens and their mask.

    Normalisation and resizing stay inside; outputs are named, and those a student lacks are absent.
    """

    def __init__(self, student: Student, *, uint8: bool = False) -> None:
        """Wrap a student.

        Args:
            student: The student.
            uint8: Whether images come as bytes.
        """
        super().__init__()
        self.student = student
        self.uint8 = uint8

    def forward(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return the outputs by name."""
        if len(inputs) == 2:
            outputs = in_two_parts(self.student).encode(inputs[0], inputs[1] != 0)
            if self.student.aligner is not None:
                outputs = outputs._replace(embedding=self.student.aligner(outputs.embedding))
        else:
            outputs = self.student(to_float(inputs[0]) if self.uint8 else inputs[0])
        named = {"embedding": outputs.embedding}
        return named if outputs.logits is None else {**named, "logits": outputs.logits}


def in_two_parts(student: Student) -> TakesTokens:
    """Return a student's network for texts, to be given tokens.

    Raises:
        ValueError: If it is the user's own and takes only strings.
    """
    module = student.model
    while isinstance(module, Wrapper) and not isinstance(module, TakesTokens):
        module = module.module
    if not isinstance(module, TakesTokens):
        raise ValueError(
            "a graph holds no strings: give the module an attribute `tokeniser` "
            "(asterism.models.tokens.Tokeniser) and a method `encode(numbers, mask)` that returns "
            "asterism.Outputs"
        )
    return module


def shipped_name(name: str) -> str:
    """Return a model's name without the folders of this machine and without what it began with.

    Examples:
        >>> shipped_name("hf//home/me/bert?pooling=cls&weights=/home/me/x.safetensors")
        'hf/bert?pooling=cls'
        >>> shipped_name("src/net.py:build?width=8")
        'net.py:build?width=8'
    """
    base, given = split_name(name)
    kept = {k: v for k, v in given.items() if k not in ("weights", "tokenizer", "start")}
    library, slash, rest = base.partition("/")
    if (
        slash
        and library in ("hf", "st", "model2vec")
        and (Path(rest).is_absolute() or Path(rest).exists())
    ):
        base = f"{library}/{Path(rest).name}"
    elif ".py:" in base:
        base = Path(base).name
    return joined_name(base, kept)
