"""Tests for asterism/measures/alignment.py and asterism/measures/reduction.py."""

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge, RidgeCV

from asterism.measures import (
    compatibility,
    nearest,
    principal_components,
    procrustes,
    random_projection,
    retrieval,
    ridge,
)
from asterism.measures.alignment import PENALTIES


def rotation(embeddings, d, seed=7):
    return torch.linalg.qr(embeddings(d, d, seed)).Q


@pytest.mark.parametrize(("wide", "target"), [(4, 4), (3, 6), (6, 3)])
def test_procrustes_undoes_rotation_scale_and_translation(wide, target, embeddings):
    """A turned, scaled and moved copy comes back, padded with or cut of columns of zeros."""
    flat = embeddings(50, min(wide, target))
    student = torch.nn.functional.pad(flat, (0, wide - flat.shape[1])) @ rotation(embeddings, wide)
    teacher = torch.nn.functional.pad(flat, (0, target - flat.shape[1]))
    teacher = 3 * teacher @ rotation(embeddings, target, 8) + embeddings(1, target, 9)
    fitted = procrustes(student, teacher)
    torch.testing.assert_close(fitted(student), teacher)
    new = embeddings(1, wide)
    torch.testing.assert_close(fitted(new.float()), fitted(new).float(), rtol=1e-4, atol=1e-4)


def test_procrustes_is_scipys_and_its_scale_is_best(embeddings):
    student, teacher = embeddings(40, 5), embeddings(40, 5, seed=1)
    s, t = student - student.mean(0), teacher - teacher.mean(0)
    turned, scale = orthogonal_procrustes(s.numpy(), t.numpy())
    fitted = procrustes(student, teacher)
    factor = scale / float(s.square().sum())
    torch.testing.assert_close(fitted.weight, torch.from_numpy(factor * turned))
    best = (fitted(student) - teacher).square().sum()
    for change in (0.97, 1.03):
        other = fitted._replace(weight=change * fitted.weight)
        moved = other(student) - other(student).mean(0) + teacher.mean(0)
        assert (moved - teacher).square().sum() > best


@pytest.mark.parametrize("n", [30, 400])
def test_ridge_is_scikit_learns(n, embeddings):
    student, teacher = embeddings(n, 12), embeddings(n, 5, seed=1)
    teacher += student[:, :5] + 2
    unit = float((student - student.mean(0)).square().sum()) / 12
    alphas = [penalty * unit for penalty in PENALTIES]
    oracle = RidgeCV(alphas=alphas).fit(student.numpy(), teacher.numpy())
    fitted = ridge(student, teacher)
    np.testing.assert_allclose(fitted.weight.T, oracle.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fitted.bias, oracle.intercept_, rtol=1e-6, atol=1e-9)


def test_ridge_holds_where_columns_repeat_or_rows_are_few(embeddings):
    rows = embeddings(60, 4)
    fitted = ridge(torch.cat([rows, rows], 1), rows)
    torch.testing.assert_close(fitted(torch.cat([rows, rows], 1)), rows, rtol=1e-3, atol=1e-3)
    few = ridge(embeddings(3, 30), embeddings(3, 5, seed=1))
    assert few.weight.isfinite().all()
    collapsed = ridge(torch.ones(20, 4), embeddings(20, 3))
    torch.testing.assert_close(collapsed(torch.ones(1, 4))[0], embeddings(20, 3).mean(0).float())
    assert procrustes(torch.ones(20, 4), embeddings(20, 3)).weight.isfinite().all()


def test_the_penalty_grows_with_the_noise(embeddings):
    student = embeddings(60, 40)
    clean = ridge(student, student[:, :3])
    noisy = ridge(student, embeddings(60, 3, seed=1))
    oracle = Ridge(alpha=PENALTIES[0]).fit(student.numpy(), embeddings(60, 3, seed=1).numpy())
    assert clean.weight.norm() == pytest.approx(3**0.5, rel=1e-3)
    assert float(noisy.weight.norm()) < 0.5 * np.linalg.norm(oracle.coef_)


def test_compatibility_by_loops(embeddings):
    query, index = embeddings(40, 3), embeddings(40, 3) + 0.4 * embeddings(40, 3, seed=1)
    target = torch.arange(40) % 4
    found = compatibility(query, index, target, ks=(1, 5))
    items, alike = dict.fromkeys((1, 5), 0), dict.fromkeys((1, 5), 0)
    for i in range(40):
        order = sorted(range(40), key=lambda j: float((query[i] - index[j]).norm()))
        others = [j for j in order if j != i]
        for k in (1, 5):
            items[k] += i in order[:k]
            alike[k] += any(target[j] == target[i] for j in others[:k])
    assert found.item_recall == {k: x / 40 for k, x in items.items()}
    assert found.class_recall == {k: x / 40 for k, x in alike.items()}
    assert compatibility(query, index).class_recall is None
    some = torch.tensor([5, 17, 39])
    part = compatibility(query, index, target, ks=(1, 5), rows=some)
    for k in (1, 5):
        assert torch.equal(part.item_recall[k].scores, found.item_recall[k].scores[some])


def test_compatibility_of_copies_rotations_and_strangers(embeddings):
    index, target = embeddings(300, 16), torch.arange(300) % 10
    same = compatibility(index, index, target)
    assert same.item_recall == {1: 1.0, 10: 1.0}
    assert same.class_recall[10] == retrieval(index, target, ks=[10]).recall[10]
    turned = index @ rotation(embeddings, 16)
    assert compatibility(turned, index).item_recall[10] < 0.15
    assert compatibility(procrustes(turned, index)(turned), index).item_recall[1] == 1
    stranger = embeddings(300, 16, seed=5)
    train, test = slice(150), slice(150, None)
    for fit in (procrustes, ridge):
        fitted = fit(stranger[train], index[train])
        found = compatibility(fitted(stranger[test]), index[test]).item_recall
        assert found[10] < 0.2
    assert compatibility(torch.zeros(300, 16), index).item_recall[1] <= 1 / 300


def test_principal_components_are_scikit_learns(embeddings):
    rows = embeddings(80, 6) * torch.arange(1, 7) + 3
    mapped = principal_components(rows, 3)(rows)
    oracle = PCA(3).fit_transform(rows.numpy())
    torch.testing.assert_close(mapped.abs(), torch.from_numpy(oracle).abs())
    whole = principal_components(rows, 10)(rows)
    assert whole.shape == (80, 6)
    assert torch.equal(nearest(whole, k=5), nearest(rows, k=5))


def test_a_random_projection_keeps_lengths_on_average_and_follows_its_seed(embeddings):
    rows = embeddings(50, 200)
    mapped = random_projection(200, 400)(rows)
    ratio = mapped.norm(dim=1) / rows.norm(dim=1)
    assert ratio.mean() == pytest.approx(1, abs=0.03)
    assert ratio.std() < 0.07
    assert torch.equal(random_projection(200, 400)(rows), mapped)
    assert not torch.equal(random_projection(200, 400, seed=1)(rows), mapped)


@pytest.mark.parametrize("fit", [procrustes, ridge])
def test_says_what_it_needs(fit, embeddings):
    for one, two in (((4, 3), (5, 3)), ((0, 3), (0, 3))):
        with pytest.raises(ValueError, match=f"{fit.__name__} fits the same samples in both"):
            fit(embeddings(*one), embeddings(*two))
