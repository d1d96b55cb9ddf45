"""`model2vec`: a folder that `StaticModel.from_pretrained(FOLDER)` loads, without torch."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import torch

from asterism.exporters.exporter import Exporter
from asterism.exporters.sentence_transformers import weighted
from asterism.exporters.subject import Encode, Subject
from asterism.models.hub import load_library
from asterism.models.hub.model2vec import ENDLESS
from asterism.models.hub.model2vec import StaticModel as OwnStaticModel
from asterism.models.text import StaticText
from asterism.types import Outputs, Samples

NO_UNKNOWN = (
    "Model2Vec leaves tokens out that its tokeniser does not know, and the student counts them"
)
CUT = "Model2Vec cuts a long text by its characters before it counts tokens"


class Model2Vec(Exporter):
    """Static students: a table of token vectors, of which a text has the mean."""

    name = "model2vec"
    libraries = ("model2vec",)
    extra = "model2vec"
    has_logits = False
    limits: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "unknown characters": NO_UNKNOWN,
            "a very long text": CUT,
            "an empty, a long and a short text": CUT,
        }
    )

    def refusal(self, subject: Subject) -> str | None:
        """Return why: only plain means of token vectors."""
        if not isinstance(subject.network, StaticText):
            return "it is a table of token vectors (text-static)"
        if subject.aligned:
            return "it has no place for the map"
        return weighted(subject.network)

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.safetensors, tokenizer.json and config.json by the library itself."""
        library = load_library("model2vec", self.extra)
        network = subject.network
        assert isinstance(network, StaticText)
        tokenizer = subject.shipped_tokenizer(padding=False)
        longest = tokenizer.truncation["max_length"]
        longest = None if longest >= ENDLESS else longest
        vectors = network.tokens.weight.detach().numpy()
        model = subject.student.model
        unit = network.unit or (isinstance(model, OwnStaticModel) and model.unit)
        library.StaticModel(vectors, tokenizer, normalize=unit, max_length=longest).save_pretrained(
            folder
        )

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return what the library's `encode` gives."""
        model = load_library("model2vec", self.extra).StaticModel.from_pretrained(folder)

        def encode(samples: Samples) -> Outputs:
            return Outputs(torch.from_numpy(model.encode(samples)))

        return encode

    def snippet(self, subject: Subject) -> str:
        """Return how the library loads it."""
        return (
            "from model2vec import StaticModel\n\n"
            'embedding = StaticModel.from_pretrained(".").encode(samples)\n'
        )
