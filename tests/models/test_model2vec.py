"""Tests for asterism/models/hub/model2vec.py: a folder that Model2Vec saved, in its own format."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file
from words import WORDS

import asterism
from asterism import RKD
from asterism.models import Spec, build, tokeniser_of, vocabulary_of
from asterism.recipe import distill

TEACHER = Spec(None, None, own_classifier=True)
TEXTS = ["the cats sat", "zzz the dog", "zzz", "the dog ran in the house on a mat", ""]
ROWS = 9  # of vectors that tokens share


def write(folder, tokenizer, arrays, **settings):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", **settings}))
    (folder / "tokenizer.json").write_text(tokenizer)
    save_file(arrays, folder / "model.safetensors")
    return folder


def arrays(kind):
    torch.manual_seed(0)
    if kind == "shared":
        return {
            "embeddings": torch.randn(ROWS, 6),
            "mapping": torch.randint(ROWS, (len(WORDS),)),
            "weights": torch.rand(len(WORDS), dtype=torch.float64),
        }
    table = torch.randn(len(WORDS), 6)
    return {"embeddings": table.half() if kind == "half" else (100 * table).to(torch.int8)}


@pytest.fixture
def folder(tokenizer, tmp_path):
    return write(tmp_path / "m2v", tokenizer, arrays("shared"), normalize=True)


@pytest.mark.parametrize("kind", ["half", "int8", "shared"])
@pytest.mark.parametrize(
    "settings", [{}, {"normalize": True}, {"normalize": False, "max_length": 2}]
)
@torch.no_grad()
def test_a_teacher_is_what_the_library_encodes(kind, settings, tokenizer, tmp_path):
    kept = arrays(kind)
    model = build(f"model2vec/{write(tmp_path / 'm', tokenizer, kept, **settings)}", TEACHER)
    expected = torch.zeros(len(TEXTS), 6)
    whole = tokeniser_of(model)
    for i, text in enumerate(TEXTS):
        numbers = whole.tokenizer.encode(text, add_special_tokens=False).ids
        assert len(numbers) <= settings.get("max_length", 512)
        known = [n for n in numbers if WORDS[n] != "[UNK]"]
        shared = [int(kept["mapping"][n]) if "mapping" in kept else n for n in known]
        weights = kept.get("weights", torch.ones(len(WORDS)))[known].float()
        if known:
            expected[i] = (kept["embeddings"][shared].float() * weights[:, None]).mean(0)
    if settings.get("normalize"):
        expected = expected / (expected.norm(dim=1, keepdim=True) + 1e-32)
    torch.testing.assert_close(model(TEXTS).embedding, expected)
    words = [word for word in WORDS if word.isalpha()]
    alone = vocabulary_of(model).alone()[[WORDS.index(word) for word in words]]
    torch.testing.assert_close(alone, model(words).embedding)


def test_a_student_begins_there_and_is_loaded_without_it(folder, tmp_path):
    teacher = build(f"model2vec/{folder}", TEACHER)
    begun = build(f"model2vec/{folder}?truncate=4", Spec(None, None, vocabulary=None))
    with torch.no_grad():
        first = teacher.module(TEXTS).embedding[:, :4]
    torch.testing.assert_close(begun(TEXTS).embedding, torch.nn.functional.normalize(first))
    result = distill(
        f"model2vec/{folder}", f"model2vec/{folder}?truncate=4", TEXTS[:4] * 8, method=RKD(),
        out=tmp_path / "run", epochs=1, batch_size=8, report=False,
    )  # fmt: skip
    shutil.rmtree(folder)
    loaded = asterism.load(result.run)
    assert not torch.equal(loaded.model.module.tokens.weight, begun.module.tokens.weight)
    torch.testing.assert_close(loaded.embed(TEXTS), result.student.embed(TEXTS))
    assert loaded.embed(TEXTS).embedding.norm(dim=1).tolist() == pytest.approx([1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "cannot be read: .*No such file"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json is damaged"),
        (lambda f: (f / "config.json").write_text('{"max_length": "x"}'), "its max_length is 'x'"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "this is no tokenizer.json"),
        (lambda f: save_file({"a": torch.ones(2)}, f / "model.safetensors"), "no `embeddings`"),
        (lambda f: save_file({"embeddings": torch.ones(2, 3)}, f / "model.safetensors"),
         "it has 2 vectors for 25 tokens"),
        (lambda f: save_file({"embeddings": torch.ones(2)}, f / "model.safetensors"), r"of shape"),
        (lambda f: save_file(
            {**arrays("shared"), "mapping": torch.tensor([99])}, f / "model.safetensors"),
         "cannot be read: index 99"),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_one_sentence(spoil, message, folder):
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        build(f"model2vec/{folder}", TEACHER)


def test_more_columns_than_there_are_are_refused(folder):
    with pytest.raises(ValueError, match="truncate must be at most 6, the width of model2vec/"):
        build(f"model2vec/{folder}?truncate=7", TEACHER)
