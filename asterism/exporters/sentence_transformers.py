"""`sentence-transformers`: a folder that `SentenceTransformer(FOLDER)` loads."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject
from asterism.exporters.transformers import encoder_of, fast_tokenizer, quiet, save_encoder
from asterism.models.hub import load_library
from asterism.models.hub.encoders import TextEncoder, Tower
from asterism.models.hub.model2vec import StaticModel
from asterism.models.text import StaticText
from asterism.types import Outputs, Samples

# Its modules moved in version 6; the first place that is there counts.
MODULES = "sentence_transformers.sentence_transformer.modules"


class SentenceTransformers(Exporter):
    """Static students as StaticEmbedding; encoders as Transformer, Pooling, Normalize, Dense."""

    name = "sentence-transformers"
    libraries = ("sentence_transformers",)
    extra = "st"
    has_logits = False

    def refusal(self, subject: Subject) -> str | None:
        """Return why: its modules are a mean of token vectors, or an encoder of transformers."""
        if not subject.of_texts:
            return "it takes texts"
        if isinstance(subject.network, StaticText):
            if isinstance(subject.student.model, StaticModel):
                return "it leaves unknown tokens out, and StaticEmbedding counts them"
            return weighted(subject.network)
        encoder = encoder_of(subject)
        if not isinstance(encoder, TextEncoder) or isinstance(encoder.module, Tower):
            return "it has no module for such a network, and code of one's own is not shipped"
        if encoder.pooling == "pooler" or encoder.truncate is not None:
            return "its modules neither use a pooler nor leave columns out"
        return None

    def write(self, subject: Subject, folder: Path) -> None:
        """Write modules.json and each module's files by the library itself."""
        library = load_library("sentence_transformers", self.extra)
        places = load_library(MODULES, self.extra)
        if isinstance(subject.network, StaticText):
            tokenizer = subject.shipped_tokenizer(padding=False)
            modules = [places.StaticEmbedding(tokenizer, subject.network.tokens.weight.detach())]
            modules += [places.Normalize()] if subject.network.unit else []
        else:
            modules = _encoder_modules(places, subject, folder / ".encoder")
        if subject.student.aligner is not None:
            modules.append(_dense(places, subject.student.aligner))
        prompts = {"text": subject.prompt} if subject.prompt else None
        model = library.SentenceTransformer(
            modules=modules,
            device="cpu",
            prompts=prompts,
            default_prompt_name="text" if prompts else None,
        )
        with quiet():
            model.save_pretrained(str(folder), create_model_card=False)

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return what the library's `encode` gives."""
        library = load_library("sentence_transformers", self.extra)
        with quiet():
            model = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)

        def encode(samples: Samples) -> Outputs:
            return Outputs(model.encode(samples, convert_to_tensor=True, show_progress_bar=False))

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how the library loads it."""
        return (
            "from sentence_transformers import SentenceTransformer\n\n"
            'embedding = SentenceTransformer(".").encode(samples)\n'
        )


def weighted(network: StaticText) -> str | None:
    """Return why a static student is no plain mean of its token vectors; None if it is."""
    if network.weights is None:
        return None
    return (
        "its mean is weighted (?weighted=true), and the library divides by the number of tokens, "
        "not by the sum of their weights"
    )


def _encoder_modules(places: Any, subject: Subject, scratch: Path) -> list[nn.Module]:
    """Return Transformer, Pooling and possibly Normalize."""
    encoder = encoder_of(subject)
    assert isinstance(encoder, TextEncoder)
    scratch.mkdir()
    save_encoder(encoder.module, scratch)
    tokenizer = fast_tokenizer(subject, encoder)
    tokenizer.save_pretrained(scratch)
    with quiet():
        transformer = places.Transformer(str(scratch), max_seq_length=tokenizer.model_max_length)
    for file in scratch.iterdir():
        file.unlink()
    scratch.rmdir()
    config: Any = encoder.module.config
    width = config.hidden_size
    modules = [transformer, places.Pooling(width, pooling_mode=encoder.pooling)]
    return [*modules, places.Normalize()] if encoder.normalise else modules


def _dense(places: Any, aligner: nn.Linear) -> nn.Module:
    """Return the map into the teacher's space as a module."""
    dense: nn.Module = places.Dense(
        aligner.in_features, aligner.out_features, activation_function=nn.Identity()
    )
    with torch.no_grad():
        linear: Any = dense.linear
        linear.weight.copy_(aligner.weight)
        linear.bias.copy_(aligner.bias)
    return dense
