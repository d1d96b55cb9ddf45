"""Shapes in signatures are checked while the tests run."""

import os

import numpy as np
import pytest
import torch
import yaml
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


@pytest.fixture(scope="session")
def honest(tmp_path_factory):
    """A teacher, a run, a cache and a grid of one cell, all small and all right."""
    folder = tmp_path_factory.mktemp("honest")
    draw = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = np.clip(draw.normal(128, 20, (120, 6, 6)) + 30 * y[:, None, None], 0, 255).astype(np.uint8)
    np.savez(folder / "d.npz", x=x, y=y, names=["a", "b", "c"])
    grid = {
        "out": "grid", "common": {"data": "d.npz", "epochs": 1, "limit_steps": 1},
        "pairs": {"p": {"student": "mlp"}}, "methods": {"plain": {}},
    }  # fmt: skip
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    (folder / "options.yaml").write_text("model: mlp\ndata: d.npz\nepochs: 1\nlimit_steps: 1\n")
    (folder / "payload.py").write_text(
        "open('EXECUTED', 'w')\nfrom asterism import RKD as M\n\ndef make(): pass\n"
    )
    from asterism.cli import main

    before = os.getcwd()
    os.chdir(folder)
    try:
        brief = "--data d.npz --epochs 1 --limit-steps 1 --batch-size 32 --no-check".split()
        assert main(["train", "--model", "mlp", "--out", "t", *brief]) == 0
        assert main(["distill", "--teacher", "t", "--student", "mlp", "--out", "r", *brief]) == 0
        plain = ["--model", "mlp", "--data", "d.npz", "--epochs", "1", "--limit-steps", "1"]
        assert main(["train", *plain, "--no-check", "--out", "grid/p_plain_0"]) == 0
        cache = ["--teacher", "t", "--data", "d.npz", "--out", "c", "--views", "1"]
        assert main(["cache", *cache]) == 0
        assert main(["align", "r"]) == 0
        assert main(["index", "t", "--data", "d.npz", "--out", "i"]) == 0
    finally:
        os.chdir(before)
    return folder
