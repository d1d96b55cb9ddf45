"""Shapes in signatures are checked while the tests run."""

import pytest
import torch
from jaxtyping import config, install_import_hook
from words import WORDS

# Restricted to the mathematics: on the whole package the checker slows Lightning's import down.
install_import_hook(["asterism.methods", "asterism.relations"], "shapes.check")

# Searched for doctests, it would be imported a second time, by a name that other folders' have too.
collect_ignore = ["conftest.py"]


@pytest.fixture
def unchecked_shapes(monkeypatch):
    """Switch the shape checker off, to see the library's own error for a wrong shape."""
    monkeypatch.setattr(config, "jaxtyping_disable", True)


@pytest.fixture
def embeddings():
    """Return a function that draws float64 rows: `embeddings(n, dim, seed)`."""

    def draw(n: int, dim: int, seed: int = 0) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, dim, generator=generator, dtype=torch.float64)

    return draw


@pytest.fixture(scope="session")
def tokenizer():
    """The content of a small WordPiece tokenizer.json, as BERT's."""
    library = pytest.importorskip("tokenizers", reason="pip install 'asterism[text]'")
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    made = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = library.normalizers.Lowercase()
    made.pre_tokenizer = library.pre_tokenizers.Whitespace()
    made.post_processor = library.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made.to_str()
