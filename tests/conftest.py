"""Shapes in signatures are checked while the tests run."""

import os

import pytest
import torch
from filelock import FileLock
from jaxtyping import config, install_import_hook
from words import WORDS

# Restricted to the mathematics: on the whole package the checker slows the import down.
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
def taught(tmp_path_factory):
    """The run folder of a teacher that knows the digits: one for all tests, of all workers."""
    from asterism import recipe

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "teacher-of-digits"
    with FileLock(f"{folder}.lock"):
        if not (folder / "result.json").exists():
            options = {"epochs": 6, "batch_size": 64, "lr": 0.05, "overwrite": True}
            assert recipe.train("convnet", "digits", out=folder, **options).accuracy > 0.95
    return str(folder)


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
