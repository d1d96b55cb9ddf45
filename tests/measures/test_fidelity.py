"""Tests for asterism/measures/fidelity.py."""

import json
import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.manifold import trustworthiness

from asterism import Outputs
from asterism.measures import fidelity, neighbourhoods

NEAR_ONE, NEAR_ZERO = pytest.approx(1), pytest.approx(0, abs=1e-9)
PERFECT = {
    "agreement": None,
    "neighbour_overlap": {1: 1.0, 10: 1.0},
    "neighbour_recall": {1: 1.0, 10: 1.0},
    "distance_correlation": NEAR_ONE,
    "distance_error": NEAR_ZERO,
    "angle_error": NEAR_ZERO,
    "cka": NEAR_ONE,
    "divergence": None,
}


def is_perfect(student, teacher):
    found = asdict(fidelity(Outputs(student), Outputs(teacher)))
    close = {found.pop(name) for name in ("trustworthiness", "continuity")}
    if len(teacher) <= 11:  # ten neighbours are all there are
        assert found["neighbour_overlap"].pop(10) is found["neighbour_recall"].pop(10) is None
        found["neighbour_overlap"][10] = found["neighbour_recall"][10] = 1.0
    return found == PERFECT and close == ({None} if len(teacher) < 21 else {1.0})


def loop_reference(student, teacher, ks):
    """The definitions, sample by sample and pair by pair, in plain Python."""
    overlap, recall, n = dict.fromkeys(ks, 0.0), dict.fromkeys(ks, 0.0), len(student)
    for i in range(n):
        near_s, near_t = (
            sorted(
                (j for j in range(n) if j != i),
                key=lambda j, x=x: math.dist(x[i].tolist(), x[j].tolist()),
            )
            for x in (student, teacher)
        )
        for k in ks:
            overlap[k] += len({*near_s[:k]} & {*near_t[:k]}) / k / n
            recall[k] += (near_t[0] in near_s[:k]) / n
    return overlap, recall, spearmanr(pdist(student), pdist(teacher)).statistic


@pytest.mark.parametrize("noise", [0.1, 1, 10])
def test_follows_the_definitions(noise, embeddings):
    teacher = embeddings(40, 6)
    student = (teacher + noise * embeddings(40, 6, seed=1))[:, :4]
    measured = fidelity(Outputs(student), Outputs(teacher), ks=[1, 3, 20])
    overlap, recall, correlation = loop_reference(student, teacher, [1, 3, 20])
    assert measured.agreement is None
    assert measured.neighbour_overlap == pytest.approx(overlap)
    assert measured.neighbour_recall == pytest.approx(recall)
    assert measured.distance_correlation == pytest.approx(correlation)


def test_equal_distances_share_their_rank():
    student = torch.tensor([[0.0], [1.0], [2.0], [3.0], [3.0]])
    teacher = torch.tensor([[0.0], [0.0], [2.0], [5.0], [5.0]])
    expected = spearmanr(pdist(student), pdist(teacher)).statistic
    found = fidelity(Outputs(student), Outputs(teacher)).distance_correlation
    assert found == pytest.approx(expected)


def test_trustworthiness_and_continuity_are_scikit_learns(embeddings):
    teacher = embeddings(90, 6)
    student = (teacher + embeddings(90, 6, seed=1))[:, :3]
    measured = fidelity(Outputs(student), Outputs(teacher))
    ours, theirs = student.numpy(), teacher.numpy()
    expected = trustworthiness(theirs, ours, n_neighbors=10)
    assert measured.trustworthiness == pytest.approx(expected, rel=1e-12)
    expected = trustworthiness(ours, theirs, n_neighbors=10)
    assert measured.continuity == pytest.approx(expected, rel=1e-12)


def test_the_means_over_some_rows_are_those_of_all_rows_scores(embeddings):
    student, teacher = embeddings(70, 3), embeddings(70, 5, seed=1)
    rows = torch.tensor([3, 60, 7, 8, 69])
    everyone, some = (neighbourhoods(student, teacher, k=4, rows=x) for x in (None, rows))
    for field in ("student", "teacher", "trustworthiness", "continuity"):
        assert torch.equal(getattr(some, field), getattr(everyone, field)[rows]), field
    assert torch.equal(some.overlap(2), everyone.overlap(2)[rows])
    small = neighbourhoods(student, teacher, k=4, memory=1)
    assert torch.equal(small.trustworthiness, everyone.trustworthiness)


def test_divergence_is_torchs_kl_divergence(embeddings):
    student, teacher = 3 * embeddings(30, 7), 3 * embeddings(30, 7, seed=1)
    measured = fidelity(Outputs(student, student), Outputs(teacher, teacher)).divergence
    expected = F.kl_div(
        student.log_softmax(1), teacher.log_softmax(1), log_target=True, reduction="batchmean"
    )
    assert measured == pytest.approx(float(expected))
    assert fidelity(Outputs(student, student), Outputs(student, student + 3)).divergence < 1e-12
    sure = 1e4 * torch.eye(4)
    assert fidelity(Outputs(sure, sure), Outputs(sure, sure.flip(0))).divergence == 1e4


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_ignores_scale_rotation_translation_and_order(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square = (
        torch.randn(20, d, generator=generator, dtype=torch.float64) for d in (4, 6, 4)
    )
    order = torch.randperm(20, generator=generator)
    moved = (scale * student @ torch.linalg.qr(square[:4]).Q + 1)[order]
    one = fidelity(Outputs(student), Outputs(teacher))
    two = fidelity(Outputs(moved), Outputs(teacher[order]))
    assert two.neighbour_overlap == pytest.approx(one.neighbour_overlap)
    assert two.neighbour_recall == pytest.approx(one.neighbour_recall)
    for field in ("distance_correlation", "distance_error", "angle_error", "cka"):
        assert getattr(two, field) == pytest.approx(getattr(one, field)), field


@pytest.mark.parametrize("n", [11, 500])
def test_a_copy_is_perfect(n, embeddings):
    teacher = embeddings(n, 5)
    rotation = torch.linalg.qr(embeddings(5, 5, seed=1)).Q
    for student in (teacher, teacher.float(), 3 * teacher @ rotation - 2):
        assert fidelity(Outputs(student.double()), Outputs(teacher)).neighbour_recall[1] == 1
    assert is_perfect(teacher, teacher)
    assert is_perfect(3 * teacher @ rotation - 2, teacher)


def test_strangers_agree_by_chance(embeddings):
    student, teacher = (
        Outputs(embeddings(1000, 8, seed), embeddings(1000, 10, seed + 2)) for seed in (0, 1)
    )
    measured = fidelity(student, teacher)
    assert measured.agreement == pytest.approx(0.1, abs=0.05)
    assert measured.neighbour_overlap[10] == pytest.approx(10 / 999, abs=0.01)
    assert measured.neighbour_recall[10] == pytest.approx(10 / 999, abs=0.02)
    assert measured.distance_correlation == pytest.approx(0, abs=0.05)
    assert measured.trustworthiness == pytest.approx(0.5, abs=0.02)
    assert measured.continuity == pytest.approx(0.5, abs=0.02)
    assert measured.cka < 0.05


def test_a_collapsed_student_has_no_correlation(embeddings):
    measured = fidelity(Outputs(torch.ones(300, 4)), Outputs(embeddings(300, 8)))
    assert measured.distance_correlation is None
    assert measured.neighbour_overlap[10] < 0.1
    assert measured.neighbour_recall[1] < 0.05
    assert measured.cka is None
    assert measured.distance_error > 0.3
    assert measured.trustworthiness == pytest.approx(0.5, abs=0.15)


def test_agreement_is_on_the_highest_logit():
    rows, logits = torch.eye(4), torch.eye(4)
    assert fidelity(Outputs(rows, logits), Outputs(rows, 5 * logits)).agreement == 1
    assert fidelity(Outputs(rows, logits), Outputs(rows, logits[[0, 1, 3, 2]])).agreement == 0.5
    assert fidelity(Outputs(rows, logits), Outputs(rows, logits[:, :3])).agreement is None
    assert fidelity(Outputs(rows, logits), Outputs(rows)).agreement is None
    assert fidelity(Outputs(rows), Outputs(rows, logits)).agreement is None


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_samples_have_no_neighbours(n):
    outputs = Outputs(torch.zeros(n, 3), torch.zeros(n, 2))
    found = asdict(fidelity(outputs, outputs))
    nothing = {1: None, 10: None}
    assert found.pop("agreement") == (1.0 if n else None)
    assert found.pop("divergence") == (0.0 if n else None)
    assert found.pop("neighbour_overlap") == found.pop("neighbour_recall") == nothing
    assert set(found.values()) == {None}


def test_two_samples_are_neighbours(embeddings):
    measured = fidelity(Outputs(embeddings(2, 3)), Outputs(embeddings(2, 4)))
    assert measured.neighbour_overlap == measured.neighbour_recall == {1: None, 10: None}
    assert measured.distance_correlation is None
    assert measured.distance_error == 0
    assert measured.angle_error is None


def test_a_draw_of_pairs_follows_its_seed_and_comes_near(embeddings):
    teacher = embeddings(300, 6)
    student, teacher = Outputs(teacher + embeddings(300, 6, seed=1)), Outputs(teacher)
    exact, one, again, other = (
        fidelity(student, teacher, pairs=pairs, seed=seed).distance_correlation
        for pairs, seed in ((44_850, 0), (20_000, 0), (20_000, 0), (20_000, 1))
    )
    assert exact == fidelity(student, teacher).distance_correlation
    assert one == again != other
    assert one == pytest.approx(exact, abs=0.02)
    assert one != exact


def test_float32_survives_an_offset_and_tight_clusters(embeddings):
    centres = embeddings(6, 16, seed=1).repeat_interleave(20, dim=0)
    rows = (centres + 1e-3 * embeddings(120, 16, seed=2) + 10).float()
    rotated = rows.double() @ torch.linalg.qr(embeddings(16, 16, seed=3)).Q
    assert is_perfect(rows, rotated)


def test_draws_nothing_from_the_global_generator(embeddings):
    state = torch.get_rng_state()
    fidelity(Outputs(embeddings(40, 3)), Outputs(embeddings(40, 3)), pairs=10)
    assert torch.equal(torch.get_rng_state(), state)


def test_is_ready_for_json(embeddings):
    outputs = Outputs(embeddings(9, 4), embeddings(9, 3))
    restored = json.loads(json.dumps(asdict(fidelity(outputs, outputs))))
    assert restored["agreement"] == 1.0
    assert restored["neighbour_overlap"] == {"1": 1.0, "10": None}


def test_says_what_it_needs(embeddings):
    with pytest.raises(ValueError, match=r"same samples in both networks; got 4 .* and 3"):
        fidelity(Outputs(embeddings(4, 3)), Outputs(embeddings(3, 3)))
    outputs = Outputs(embeddings(4, 3))
    with pytest.raises(ValueError, match=r"ks and pairs of at least 1; got ks=\(0, 1\)"):
        fidelity(outputs, outputs, ks=[0, 1])
    with pytest.raises(ValueError, match=r"ks and pairs of at least 1; .*pairs=0"):
        fidelity(outputs, outputs, pairs=0)
