"""Tests for asterism/models/text.py and tokens.py."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from words import WORDS

from asterism.models import Spec, build, tokeniser_of, vocabulary_of
from asterism.models.tokens import Tokeniser

TEXTS = ["the cats sat on the mat", "a dog", "", "the dog ran far in the house on a mat", "?"]
STUDENTS = [
    "text-static?width=12",
    "text-static?width=12&weighted=true",
    "text-transformer?width=16",
]


def student(name, tokenizer, **options):
    torch.manual_seed(0)
    return build(
        name, Spec(options.pop("classes", None), None, tokenizer=tokenizer, **options)
    ).eval()


@torch.no_grad()
def draw(model):
    """Draw all weights: of what begins with zeros a test would see nothing."""
    for weight in model.parameters():
        nn.init.normal_(weight, std=0.5)


@pytest.mark.parametrize("copies", [1, 40])  # few texts are taken as they come, many by length
@pytest.mark.parametrize("name", STUDENTS)
@torch.no_grad()
def test_a_texts_embedding_does_not_depend_on_its_batch(name, copies, tokenizer):
    model = student(name, tokenizer, classes=3).double()
    draw(model)
    texts = TEXTS * copies
    together = model(texts)
    assert together.embedding.isfinite().all()
    for i, text in list(enumerate(texts))[-5:]:
        alone = model([text])
        torch.testing.assert_close(
            alone.embedding[0], together.embedding[i], rtol=1e-12, atol=1e-14
        )
        torch.testing.assert_close(alone.logits[0], together.logits[i], rtol=1e-12, atol=1e-14)
    assert model([]).embedding.shape == (0, together.embedding.shape[1])


@torch.no_grad()
def test_the_static_student_is_a_weighted_mean(tokenizer):
    model = student(STUDENTS[1], tokenizer)
    draw(model)
    rows = torch.tensor([WORDS.index(w) for w in ("the", "cat", "##s", "ran")])
    weight = model.weights[rows].exp()
    expected = (weight[:, None] * model.tokens.weight[rows]).sum(0) / weight.sum()
    torch.testing.assert_close(model(["The cats ran"]).embedding[0], expected)
    torch.testing.assert_close(model([""]).embedding[0], torch.zeros(12))
    plain = student(STUDENTS[0], tokenizer)
    torch.testing.assert_close(
        plain(["the cats ran"]).embedding[0], plain.tokens.weight[rows].mean(0)
    )


def test_the_transformer_follows_torchs_own(tokenizer):
    """The same weights in nn.TransformerEncoderLayer, on unpadded texts; first a mean of tokens."""
    model = student("text-transformer?layers=1&width=16&heads=2", tokenizer)
    rows = torch.tensor([1, WORDS.index("a"), WORDS.index("dog"), 2])
    torch.testing.assert_close(model(["a dog"]).embedding[0], model.tokens.weight[rows].mean(0))
    draw(model)
    block, text = model.blocks[0], TEXTS[3]
    layer = nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    theirs = {"attend": "self_attn.in_proj_", "join": "self_attn.out_proj.", "widen": "linear1."}
    theirs |= {"narrow": "linear2.", "norm1": "norm1.", "norm2": "norm2."}
    state = {
        f"{theirs[k.split('.')[0]]}{k.split('.')[1]}": v for k, v in block.state_dict().items()
    }
    layer.load_state_dict(state)
    numbers, mask = model.tokeniser.padded([text], torch.device("cpu"))
    assert mask.all()
    assert numbers[0, [0, -1]].tolist() == [1, 2]
    x = model.tokens(numbers) + model.places.weight[: numbers.shape[1]]
    expected = layer(x).mean(1)
    torch.testing.assert_close(model([text]).embedding, expected)


def test_gradients_reach_every_token_that_occurs_and_no_other(tokenizer):
    for name in STUDENTS:
        model = student(name, tokenizer).train()
        model(["the cat", "the mat"]).embedding.square().sum().backward()
        touched = model.tokens.weight.grad.abs().sum(1).nonzero().flatten().tolist()
        words = {WORDS[i] for i in touched} - {"[CLS]", "[SEP]"}
        assert words == {"the", "cat", "mat"}


@pytest.fixture
def teacher(tokenizer):
    model = student("text-transformer?width=24&layers=1", tokenizer)
    draw(model)
    return model


def begun(name, teacher, **options):
    """Return a student that begins with what a teacher knows of its tokens."""
    return student(name, None, vocabulary=vocabulary_of(teacher), **options)


def table_of(name, teacher):
    return begun(name, teacher).tokens.weight.detach()


@torch.no_grad()
def test_a_student_begins_with_its_teachers_tokens(teacher, tokenizer):
    wide = begun("text-static?width=24&start=teacher", teacher)
    assert tokeniser_of(wide).json == tokenizer
    gaps = [torch.pdist(m.tokens.weight) for m in (wide, teacher)]
    # All directions kept: a rotation, a shift and one scale.
    torch.testing.assert_close(gaps[0] / gaps[0].mean(), gaps[1] / gaps[1].mean())
    values = torch.linalg.svdvals(table_of("text-static?width=4&start=teacher", teacher))
    kept = torch.linalg.svdvals(teacher.tokens.weight - teacher.tokens.weight.mean(0))[:4]
    torch.testing.assert_close(values / values[0], kept / kept[0])
    random = table_of("text-static?width=24&start=random", teacher)
    assert not torch.allclose(random, wide.tokens.weight)


@pytest.mark.parametrize("name", ["text-transformer?width=12&layers=1", *STUDENTS[:2]])
@torch.no_grad()
def test_a_student_begins_with_each_token_alone_through_its_teacher(name, tokenizer):
    teacher = student(name, tokenizer)
    draw(teacher)
    words = [word for word in WORDS if word.isalpha()]
    one = table_of("text-static?width=12&start=alone", teacher)[[WORDS.index(w) for w in words]]
    gaps = [torch.pdist(m) for m in (one, teacher(words).embedding)]
    torch.testing.assert_close(gaps[0] / gaps[0].mean(), gaps[1] / gaps[1].mean())


class Plain(nn.Module):
    """A teacher of texts of the user's own, with our tokeniser and nothing else that is known."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokeniser = Tokeniser(tokenizer, max_length=9)


def test_the_usual_start_is_the_best_that_there_is(teacher, tokenizer, monkeypatch):
    def same(name, start):
        torch.manual_seed(0)
        usual, asked = (
            table_of(f"{name}?width=8{add}", teacher) for add in ("", f"&start={start}")
        )
        return torch.equal(usual, asked)

    assert same("text-static", "alone")
    assert same("text-transformer", "teacher")
    with monkeypatch.context() as patch:
        patch.setattr("asterism.models.text.MOST_ALONE", 3)
        assert same("text-static", "teacher")
    untried = replace(vocabulary_of(teacher), alone=lambda: None)
    found = student("text-static?width=8", tokenizer, vocabulary=untried).tokens.weight
    torch.manual_seed(0)
    assert torch.equal(found, table_of("text-static?width=8&start=teacher", teacher))


@pytest.mark.parametrize("start", ["teacher", "alone"])
def test_a_start_that_is_not_possible_is_refused_and_the_default_said(
    start, teacher, tokenizer, capsys
):
    known, none = vocabulary_of(teacher), vocabulary_of(Plain(tokenizer))
    other = tokenizer.replace('"soup"', '"salad"')
    cases = [
        (None, tokenizer, "needs a teacher of texts whose tokens", False),
        (known, other, "tokeniser is another one", True),
        (none, None, "the teacher (has|takes) no", True),
    ]
    for vocabulary, own, message, said in cases:
        spec = Spec(None, None, tokenizer=own, vocabulary=vocabulary)
        with pytest.raises(ValueError, match=f"start={start} .*{message}"):
            build(f"text-static?start={start}", spec)
        build("text-static", spec)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == said
        assert all("token vectors begin at random: the teacher" in line for line in lines)


@torch.no_grad()
@pytest.mark.parametrize("start", ["teacher", "alone"])
def test_a_start_times_sif(start, teacher):
    tables = [table_of(f"text-static?width=24&start={start}&sif={a}", teacher) for a in (0, 0.01)]
    ratio = (tables[1] / tables[0])[:, 0].double()
    harmonic = sum(1 / rank for rank in range(1, len(WORDS) + 1))
    weight = [0.01 / (0.01 + 1 / rank / harmonic) for rank in range(1, len(WORDS) + 1)]
    torch.testing.assert_close(
        ratio / ratio[0], torch.tensor(weight).double() / weight[0], rtol=1e-5, atol=0
    )
    with pytest.raises(ValueError, match="sif must not be negative; got -1"):
        begun("text-static?sif=-1", teacher)


def test_a_tokeniser_by_name(tokenizer, tmp_path):
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    for path in (tmp_path, tmp_path / "tokenizer.json"):
        assert build(f"text-static?tokenizer={path}", Spec(None, None))(["a"]).embedding.shape == (
            1,
            256,
        )
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json at"):
        build(f"text-static?tokenizer={tmp_path / 'nix'}", Spec(None, None))
    with pytest.raises(ValueError, match="no teacher that has one: name one"):
        build("text-static", Spec(None, None))
    with pytest.raises(ValueError, match=r"this is no tokenizer\.json"):
        build("text-static", Spec(None, None, tokenizer="{}"))


def test_long_texts_are_cut_and_mistakes_named(tokenizer):
    model = student("text-transformer?width=16&max_length=5", tokenizer)
    numbers, _ = model.tokeniser.padded([TEXTS[3]], torch.device("cpu"))
    assert numbers.shape == (1, 5)
    with pytest.raises(ValueError, match="takes a list of strings; got str"):
        model("a cat" * 20)
    with pytest.raises(ValueError, match="width must be a multiple of heads; got 10 and 4"):
        student("text-transformer?width=10", tokenizer)
    with pytest.raises(ValueError, match="text-static takes texts, and the data are images"):
        build("text-static", Spec(None, (3, 8, 8)))
    with pytest.raises(ValueError, match="resnet20 takes images, and the data are texts"):
        build("resnet20", Spec(None, None))


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("behind", ["", "&dim=4"])
@torch.no_grad()
def test_rows_of_unit_length_are_the_last_thing(name, behind, tokenizer):
    torch.manual_seed(0)
    models = [student(f"{name}{behind}{unit}", tokenizer, classes=3) for unit in ("", "&unit=true")]
    draw(models[0])
    models[1].load_state_dict(models[0].state_dict())
    plain, unit = (model(TEXTS) for model in models)
    torch.testing.assert_close(unit.embedding, nn.functional.normalize(plain.embedding))
    torch.testing.assert_close(unit.logits, plain.logits)
    words = [word for word in WORDS if word.isalpha()]
    if not behind:
        alone = vocabulary_of(models[1]).alone()[[WORDS.index(word) for word in words]]
        torch.testing.assert_close(alone, models[1](words).embedding)
