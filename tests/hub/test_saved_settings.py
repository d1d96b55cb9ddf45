"""Models of texts are used as sentence-transformers saved them, through `st/…` and `hf/…`."""

import shutil

import pytest
import tokenizers
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

import asterism
from asterism import RKD
from asterism.models import Spec, build, tokeniser_of, vocabulary_of
from asterism.recipe import distill

WORDS = "[PAD] [UNK] [CLS] [SEP] query passage : where is my card pay the bill now".split()
TEXTS = ["where is my card", "pay the bill now", "card", "where " * 40]
TEACHER = Spec(None, None, own_classifier=True)
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 48, "vocab_size": len(WORDS), "initializer_range": 0.5}
PROMPTS = {"prompts": {"query": "query : ", "passage": "passage : "}}
BY_DEFAULT = {**PROMPTS, "default_prompt_name": "query"}


def tokeniser():
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def wrapped(**options):
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokeniser(), **marks, **options)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("bert"))
    wrapped(model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, max_position_embeddings=64)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def saved(bert, folder, *steps, **options):
    """Save a model of these steps behind the encoder, and return its folder."""
    made = [modules.Transformer(bert, max_seq_length=24), *steps]
    SentenceTransformer(modules=made, device="cpu", **options).save_pretrained(str(folder))
    return str(folder)


def pooling(way, **options):
    return lambda: [modules.Pooling(32, pooling_mode=way, **options)]


# What was saved, what is asked for, what of it `hf/` leaves to the library and says.
CASES = {
    "mean": (pooling("mean"), {}, {}, None),
    "cls, unit": (lambda: [*pooling("cls")(), modules.Normalize()], {}, {}, None),
    "max": (pooling("max"), {}, {}, None),
    "last": (pooling("lasttoken"), {}, {}, None),
    "default prompt": (pooling("mean"), BY_DEFAULT, {}, None),
    "prompt by name": (pooling("cls"), BY_DEFAULT, {"prompt_name": "passage"}, None),
    "written prompt": (pooling("mean"), BY_DEFAULT, {"prompt": "pay the "}, None),
    "columns": (pooling("mean"), {"truncate_dim": 16}, {}, None),
    "asked columns": (pooling("mean"), {"truncate_dim": 16}, {"truncate": 8}, None),
    "unit, then columns": (
        lambda: [*pooling("mean")(), modules.Normalize()], {"truncate_dim": 16}, {}, None
    ),
    "weighted": (pooling("weightedmean"), {}, {}, "pooling by weightedmean"),
    "two ways": (pooling(("mean", "cls")), {}, {}, "pooling by mean and cls"),
    "not the prompt": (pooling("mean", include_prompt=False), BY_DEFAULT, {}, "left out of the po"),
    "dense": (lambda: [*pooling("mean")(), modules.Dense(32, 8)], {}, {}, "a layer Dense"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_both_return_what_encode_returns(case, bert, tmp_path, capsys):
    steps, options, asked, wanting = CASES[case]
    folder = saved(bert, tmp_path / "saved", *steps(), **options)
    own, columns = SentenceTransformer(folder, device="cpu"), asked.pop("truncate", None)
    expected = torch.tensor(own.encode(TEXTS, truncate_dim=columns, **asked))
    asked |= {} if columns is None else {"truncate": columns}
    query = "&".join(f"{key}={value}" for key, value in asked.items())
    capsys.readouterr()
    for library in ("st", "hf"):
        model = build(f"{library}/{folder}?{query}" if query else f"{library}/{folder}", TEACHER)
        said = "was saved with" in capsys.readouterr().err
        assert said == (library == "hf" and wanting is not None)
        if said:
            continue
        torch.testing.assert_close(model.eval()(TEXTS).embedding, expected, atol=1e-5, rtol=1e-4)
        alone = vocabulary_of(model).alone()[WORDS.index("where") :]
        words = model(WORDS[WORDS.index("where") :]).embedding
        torch.testing.assert_close(alone, words, atol=1e-5, rtol=1e-4)


def test_what_hf_leaves_to_the_library_is_named(bert, tmp_path, capsys):
    for case, (steps, options, _, wanting) in CASES.items():
        if wanting is not None:
            folder = saved(bert, tmp_path / case, *steps(), **options)
            capsys.readouterr()
            build(f"hf/{folder}", TEACHER)
            assert wanting in capsys.readouterr().err
            build(f"hf/{folder}?pooling=cls", TEACHER)
            assert not capsys.readouterr().err


@pytest.mark.parametrize("library", ["st", "hf"])
@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("prompt_name=title", "has the prompts .*passage.*, not 'title'"),
        ("prompt_name=query&prompt=a", "a prompt or a prompt_name, not both"),
        ("truncate=0", "truncate must be a number of columns, 1 or more; got 0"),
        ("truncate=true", "truncate must be a number of columns"),
        ("truncate=33", "truncate must be at most 32, the width there is; got 33"),
        ("max_length=65", "has places for 64 tokens of a text.*got 65"),
        ("max_length=many", "max_length must be a number of tokens, 1 or more; got 'many'"),
    ],
)
def test_what_does_not_fit_is_refused(library, query, message, bert, tmp_path):
    folder = saved(bert, tmp_path / "saved", *pooling("mean")(), **PROMPTS)
    with pytest.raises(ValueError, match=message):
        build(f"{library}/{folder}?{query}", TEACHER)(TEXTS)


@pytest.mark.parametrize("library", ["st", "hf"])
@torch.no_grad()
def test_places_are_counted_from_the_padding_as_roberta_does(library, tmp_path):
    folder = str(tmp_path / "roberta")
    wrapped().save_pretrained(folder)  # names no longest text
    config = transformers.RobertaConfig(
        **SIZES, max_position_embeddings=20, pad_token_id=1, type_vocab_size=1
    )
    transformers.RobertaModel(config).save_pretrained(folder)
    long = build(f"{library}/{folder}", TEACHER).eval()(["card " * 300, "card " * 16]).embedding
    torch.testing.assert_close(long[0], long[1])
    with pytest.raises(ValueError, match="has places for 18 tokens"):
        build(f"{library}/{folder}?max_length=19", TEACHER)


def test_a_student_keeps_what_it_began_with(bert, tmp_path):
    """Its folder may be gone when the run is loaded."""
    steps = [*pooling("cls")(), modules.Normalize()]
    folder = saved(bert, tmp_path / "saved", *steps, truncate_dim=16, **PROMPTS)
    result = distill(
        f"st/{folder}?prompt_name=passage", f"hf/{folder}?prompt_name=query", TEXTS * 8,
        method=RKD(), out=tmp_path / "run", batch_size=8, limit_steps=1,
    )  # fmt: skip
    shutil.rmtree(folder)
    loaded = asterism.load(result.run)
    assert loaded.model.prompt == "query : "
    assert loaded.embed(TEXTS).embedding.shape == (4, 16)
    torch.testing.assert_close(loaded.embed(TEXTS), result.student.embed(TEXTS))


def test_vectors_of_tokens_give_a_student_their_tokens(tmp_path):
    vectors = torch.randn(len(WORDS), 8)
    steps = [modules.StaticEmbedding(tokeniser(), embedding_weights=vectors), modules.Normalize()]
    SentenceTransformer(modules=steps, device="cpu").save_pretrained(str(tmp_path / "static"))
    teacher = build(f"st/{tmp_path / 'static'}", TEACHER).eval()
    known = vocabulary_of(teacher)
    torch.testing.assert_close(known.own(), vectors)
    torch.testing.assert_close(known.alone(), torch.nn.functional.normalize(vectors))
    student = build("text-static?width=4&start=alone", Spec(None, None, vocabulary=known))
    assert tokeniser_of(student).json == known.tokeniser
    with pytest.raises(ValueError, match="reads texts to their end: leave max_length out"):
        build(f"st/{tmp_path / 'static'}?max_length=3", TEACHER)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", "[{}]"), ("modules.json", "[3]"), ("modules.json", "[" * 10**5),
        ("modules.json", "{}"), ("1_Pooling/config.json", "3"),
        ("config_sentence_transformers.json", '{"prompts": 3}'),
        ("config_sentence_transformers.json", '{"truncate_dim": "x"}'),
    ],
)  # fmt: skip
def test_a_damaged_folder_is_one_sentence(name, content, bert, tmp_path):
    folder = saved(bert, tmp_path / "saved", *pooling("cls")())
    (tmp_path / "saved" / name).write_text(content)
    with pytest.raises(ValueError, match="cannot be read|truncate must be"):
        build(f"hf/{folder}", TEACHER)
