"""Tests for asterism/methods/vrm.py."""

import itertools
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import Fixture
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import VRM, Batch, Outputs, vrm_inter_class_loss, vrm_inter_sample_loss
from asterism.relations import edges, predictions

LOSSES = [vrm_inter_sample_loss, vrm_inter_class_loss]
FORMS = ["huber", "squared", "clipped"]
SAMPLE_EDGES = ["real-virtual", "real-real", "virtual-virtual", "full"]
CLASS_EDGES = ["concatenated", "real", "real-virtual"]
EVERY = [(vrm_inter_sample_loss, e) for e in SAMPLE_EDGES]
EVERY += [(vrm_inter_class_loss, e) for e in CLASS_EDGES]

REFERENCE = Fixture(Path(__file__).parents[1] / "fixtures" / "vrm.npz")
SETS = {
    "is_rv": (vrm_inter_sample_loss, "real-virtual"),
    "is_rr": (vrm_inter_sample_loss, "real-real"),
    "is_vv": (vrm_inter_sample_loss, "virtual-virtual"),
    "is_full": (vrm_inter_sample_loss, "full"),
    "ic_2b": (vrm_inter_class_loss, "concatenated"),
    "ic_real": (vrm_inter_class_loss, "real"),
    "ic_rv": (vrm_inter_class_loss, "real-virtual"),
}
CRITERIA = {"ce": "cross_entropy", "mix": "mixture", "sum": "sum"}


def views_of(fields):
    """The four inputs of a reference case, the student's with gradients, and their vertices."""
    views = [torch.tensor(fields[key]) for key in ("z_s", "zv_s", "z_t", "zv_t")]
    for view in views[:2]:
        view.requires_grad_()
    return views, "zscore" if fields["zscore"] else "logits"


def drawn(n, c, seed=0, dtype=torch.float64):
    """Four random views; the virtual ones resemble the real ones, the student the teacher."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, n, c, generator=generator, dtype=dtype)
    teacher = 2 * noise[0]
    teacher_virtual = teacher + noise[1]
    student, student_virtual = teacher + noise[2], teacher_virtual + 2 * noise[3]
    return [student.requires_grad_(), student_virtual.requires_grad_(), teacher, teacher_virtual]


def close(value, expected, huge=False):
    expected = torch.as_tensor(expected)
    torch.testing.assert_close(value.detach(), expected, rtol=1e-7 if huge else 1e-9, atol=1e-12)


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("short", "form"), [("huber", "huber"), ("sq", "squared")])
def test_reference_values_of_all_edge_sets(case, name, short, form):
    fields = REFERENCE[case]
    (views, vertices), (loss, set_) = views_of(fields), SETS[name]
    value = loss(*views, edges=set_, form=form, vertices=vertices)
    close(value, fields[f"{name}_{short}"], "huge" in case)
    value.backward()
    key = f"{name}_{short}"
    if fields["grad_normative"] and f"grad_z_s__{key}" in fields:
        close(views[0].grad, fields[f"grad_z_s__{key}"], "huge" in case)
        close(views[1].grad, fields[f"grad_zv_s__{key}"], "huge" in case)


@pytest.mark.parametrize("case", REFERENCE.cases)
@pytest.mark.parametrize("short", CRITERIA)
def test_reference_values_of_pruning(case, short):
    fields, criterion = REFERENCE[case], CRITERIA[short]
    views, vertices = views_of(fields)
    for network, ends in ("s", views[:2]), ("t", views[2:]):
        uncertainty = predictions.joint_uncertainty(*ends, criterion=criterion)
        close(uncertainty, fields[f"H_{short}_{network}"])
    rules = {"q50": {"keep_quantile": 0.5}, "q90": {"keep_quantile": 0.9}}
    for rule, options in {**rules, "gt_teacher": {"keep_below_teacher": True}}.items():
        key = f"prune_{short}_{rule}"
        ends = tuple(views[:2]), tuple(views[2:])
        keep = predictions.reliable_pairs(*ends, criterion=criterion, **options)
        assert keep.sum() == fields[f"{key}_kept"]
        value = vrm_inter_sample_loss(*views, vertices=vertices, criterion=criterion, **options)
        close(value, fields[f"{key}_is_rv_huber"], "huge" in case)
        if fields["grad_normative"] and f"grad_z_s__{key}" in fields:
            gradients = torch.autograd.grad(value, views[:2])
            close(gradients[0], fields[f"grad_z_s__{key}"], "huge" in case)
            close(gradients[1], fields[f"grad_zv_s__{key}"], "huge" in case)


@pytest.mark.parametrize("case", REFERENCE.cases)
def test_reference_total(case):
    fields = REFERENCE[case]
    views, vertices = views_of(fields)
    target = torch.tensor(fields["y"])
    outputs = [Outputs(v, v) for v in (torch.cat(views[:2]), torch.cat(views[2:]))]
    method = VRM(
        inter_sample_weight=float(fields["alpha"]),
        inter_class_weight=float(fields["beta"]),
        form="huber",
        vertices=vertices,
        keep_quantile=None,
        virtual_target_weight=1.0,
    )
    terms = method(*outputs, Batch((), torch.arange(len(target)), target))
    close(terms.pop("virtual_target"), fields["ce_virtual"])
    total = F.cross_entropy(views[0], target) + sum(terms.values())
    close(total, fields["total"], "huge" in case)
    total.backward()
    if fields["grad_normative"]:
        close(views[0].grad, fields["grad_z_s__total"], "huge" in case)
        close(views[1].grad, fields["grad_zv_s__total"], "huge" in case)


def loop_reference(student, student_virtual, teacher, teacher_virtual, form, q=None):
    """Real-virtual edges, pair by pair, in plain Python."""

    def edge(x, y):
        return (x - y) / (x - y).norm()

    def uncertainty(x, y):
        return -float(x.softmax(0) @ y.log_softmax(0))

    def gap(x):
        if form == "squared":
            return float(x @ x)
        one = {
            "huber": lambda d: d * d / 2 if abs(d) < 1 else abs(d) - 0.5,
            "clipped": lambda d: d * d if abs(d) <= 1 else 0.0,
        }[form]
        return sum(map(one, x.tolist())) / len(x)

    pairs = list(itertools.product(range(len(student)), repeat=2))
    doubts = [uncertainty(student[i], student_virtual[j]) for i, j in pairs]
    limit = torch.tensor(doubts).double().quantile(1 if q is None else q)
    gaps = [
        gap(edge(student[i], student_virtual[j]) - edge(teacher[i], teacher_virtual[j]))
        for (i, j), doubt in zip(pairs, doubts, strict=True)
        if doubt <= limit + 1e-6
    ]
    return sum(gaps) / len(gaps)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("q", [None, 0.7])
@pytest.mark.parametrize("c", [2, 3, 12])  # with few classes components differ by more than 1
def test_follows_the_formula(form, q, c):
    views = [view.detach() for view in drawn(6, c)]
    expected = loop_reference(*views, form, q)
    value = vrm_inter_sample_loss(*views, form=form, keep_quantile=q)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_two_samples_by_hand():
    # Edges (1, 0) and (0, 1) of the teacher, (1, 0) and (1, 0) of the student, and their reverse.
    real, virtual = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    turned = torch.tensor([[3.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    # Gaps: 0 for (1, 1); none, and the edge (0, -1), for (1, 2); none for (2, 1); for (2, 2)
    # (-1, 0) against (-3, -4) / 5.
    gaps = [0.0, 1.0, 0.0, 0.4**2 + 0.8**2]
    value = vrm_inter_sample_loss(real, virtual, *turned, form="squared")
    assert value.item() == pytest.approx(sum(gaps) / 4)


def direct(loss, views, form, edge_set):
    """The loss from the tensor of all edges, for autograd."""
    views = views if loss is vrm_inter_sample_loss else [view.T for view in views]
    ends = [edges.ends_of(edge_set, *pair) for pair in (views[:2], views[2:])]
    unit = [F.normalize(start[:, None] - end, dim=2) for start, end in ends]
    pairs = torch.ones(unit[0].shape[:2], dtype=torch.bool)
    if edge_set != "real-virtual":
        pairs.fill_diagonal_(False)
    gap = (unit[0] - unit[1])[pairs]
    if form == "huber":
        return F.huber_loss(gap, torch.zeros_like(gap))
    return gap.square().sum(1).mean() if form == "squared" else (gap**2 * (gap.abs() <= 1)).mean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("loss", "edge_set"), EVERY)
@pytest.mark.parametrize(("n", "c"), [(5, 2), (7, 11)])
def test_every_form_and_edge_set_agrees_with_the_tensor_of_all_edges(loss, edge_set, form, n, c):
    views = drawn(n, c)
    value, expected = loss(*views, edges=edge_set, form=form), direct(loss, views, form, edge_set)
    torch.testing.assert_close(value, expected)
    options = {"allow_unused": True, "materialize_grads": True}
    torch.testing.assert_close(
        torch.autograd.grad(value, views[:2], **options),
        torch.autograd.grad(expected, views[:2], **options),
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("loss", "edge_set"), EVERY)
def test_gradient(loss, edge_set, form):
    real, virtual, *teacher = drawn(3, 4)
    assert torch.autograd.gradcheck(
        lambda s, v: loss(s, v, *teacher, edges=edge_set, form=form), (real, virtual)
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("vertices", ["zscore", "softmax"])
def test_gradient_through_the_vertices(loss, vertices):
    real, virtual, *teacher = drawn(3, 4)
    assert torch.autograd.gradcheck(
        lambda s, v: loss(s, v, *teacher, vertices=vertices), (real, virtual)
    )


@pytest.mark.parametrize("edge_set", SAMPLE_EDGES)
@pytest.mark.parametrize("criterion", CRITERIA.values())
def test_gradient_of_the_edges_that_are_kept(edge_set, criterion):
    real, virtual, *teacher = drawn(3, 3)
    options = {"edges": edge_set, "criterion": criterion, "keep_quantile": 0.6}
    assert torch.autograd.gradcheck(
        lambda s, v: vrm_inter_sample_loss(s, v, *teacher, **options), (real, virtual)
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("loss", "edge_set"), EVERY)
def test_tiles_and_blocks_of_every_size_agree(loss, edge_set, form, monkeypatch):
    def run():
        views = drawn(9, 5)
        views[1].data[3] = views[0].data[2]  # an edge of length zero
        options = {"keep_quantile": 0.8} if loss is vrm_inter_sample_loss else {}
        value = loss(*views, edges=edge_set, form=form, **options)
        value.backward()
        gradients = (torch.zeros(()) if v.grad is None else v.grad for v in views[:2])
        return value.detach(), *gradients

    expected = run()
    for tile, block in (1, 1), (2, 7), (4, 30):
        monkeypatch.setattr(edges, "TILE", tile)
        monkeypatch.setattr(edges, "BLOCK", block)
        monkeypatch.setattr(predictions, "BLOCK", block)
        torch.testing.assert_close(run(), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-10, 10), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=12)
def test_ignores_scale_offset_and_order_of_samples_and_classes(loss, scale, shift, seed):
    views = [view.detach() for view in drawn(6, 5, seed)]
    generator = torch.Generator().manual_seed(seed)
    samples, classes = (torch.randperm(k, generator=generator) for k in (6, 5))
    offset = shift if loss is vrm_inter_class_loss else shift * torch.arange(5.0)
    moved = [(scale * view + offset) for view in views[:2]]
    moved = [view[samples][:, classes] for view in (*moved, *views[2:])]
    torch.testing.assert_close(loss(*moved), loss(*views))
    # Neither scaling nor moving the student changes the loss, so the gradient has no such part.
    gradients = torch.autograd.grad(loss(*[v.requires_grad_() for v in views]), views[:2])
    assert sum((g * v).sum() for g, v in zip(gradients, views, strict=False)).abs() < 1e-12
    across = 0 if loss is vrm_inter_sample_loss else 1
    assert sum(g.sum(across) for g in gradients).abs().max() < 1e-12


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", FORMS)
def test_a_multiple_of_the_teacher_is_perfect(loss, form):
    *_, teacher, teacher_virtual = drawn(8, 10)
    value = loss(3 * teacher + 2, 3 * teacher_virtual + 2, teacher, teacher_virtual, form=form)
    assert value.item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_huber_is_half_of_the_squares_while_no_component_differs_by_more_than_1(loss):
    views = drawn(20, 60)
    dim = 60 if loss is vrm_inter_sample_loss else 40
    expected = loss(*views, form="squared") / (2 * dim)
    torch.testing.assert_close(loss(*views, form="huber"), expected)
    torch.testing.assert_close(loss(*views, form="clipped"), 2 * expected)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("spread", [1, 1e-2, 1e-4])
def test_float32_survives_offsets_and_tight_clusters(loss, form, spread, offset, embeddings):
    def clustered(seed):
        rows = embeddings(4, 16, seed).repeat_interleave(5, dim=0)
        return (rows + spread * embeddings(20, 16, seed + 1) + offset).float()

    views = [clustered(seed) for seed in (1, 1, 5, 7)]
    views[1] = views[1] + spread * embeddings(20, 16, 9).float()
    gradients = []
    for dtype in (torch.float32, torch.float64):
        ends = [view.detach().to(dtype, copy=True) for view in views]
        value = loss(*[end.requires_grad_() for end in ends], form=form)
        gradients.append(torch.cat(torch.autograd.grad(value, ends[:2])).double())
    single, double = gradients
    assert (single - double).norm() < 1e-6 * double.norm()
    exact = direct(loss, [view.double() for view in views], form, value_edges(loss))
    torch.testing.assert_close(value, exact, rtol=1e-9, atol=1e-12)


def value_edges(loss):
    return "real-virtual" if loss is vrm_inter_sample_loss else "concatenated"


@pytest.mark.parametrize(("loss", "edge_set"), EVERY)
@pytest.mark.parametrize(("n", "c"), [(0, 3), (1, 3), (3, 1), (0, 0)])
def test_too_few_samples_or_classes_give_a_zero_in_the_graph(loss, edge_set, n, c):
    views = [torch.randn(n, c, requires_grad=True) for _ in range(4)]
    value = loss(*views, edges=edge_set)
    value.backward()
    assert value == 0
    assert all((view.grad == 0).all() for view in views[:2])
    assert all(view.grad is None for view in views[2:])


@pytest.mark.parametrize("edge_set", SAMPLE_EDGES)
def test_no_edge_kept_gives_a_zero_in_the_graph(edge_set):
    views = drawn(4, 3)
    value = vrm_inter_sample_loss(*views, edges=edge_set, keep_below=0.0)
    value.backward()
    assert value == 0
    assert any((view.grad == 0).all() for view in views[:2] if view.grad is not None)


@pytest.mark.parametrize("form", FORMS)
def test_edges_without_length_are_zero_and_get_no_gradient(form):
    views = drawn(5, 4)
    with torch.no_grad():
        views[1][:] = views[0]  # a student that does not notice the augmentation
    value = vrm_inter_sample_loss(*views, form=form)
    torch.testing.assert_close(value, direct(vrm_inter_sample_loss, views, form, "real-virtual"))
    value.backward()
    assert views[0].grad.abs().max() < 10
    one, other = (view.detach()[:2].clone().requires_grad_() for view in views[:2])
    one.data[1] = one.data[0] = other.data[1] = other.data[0]  # a student that collapsed
    value = vrm_inter_sample_loss(one, other, views[2][:2], views[3][:2], form=form)
    value.backward()
    assert value > 0
    assert (one.grad == 0).all()
    assert (other.grad == 0).all()


def test_rows_without_spread_have_a_zscore_of_zero_and_no_gradient():
    logits = torch.full((2, 3), 0.1, requires_grad=True)
    scores = predictions.vertices_of(logits, "zscore")
    scores.sum().backward()
    assert (scores == 0).all()
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("q", [0.0, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 2, 10, 101])
def test_quantile_is_that_of_torch(q, size, embeddings):
    values = embeddings(size, 1)[:, 0]
    torch.testing.assert_close(predictions.quantile(values, q), values.quantile(q))


def test_pruning_carries_no_gradient_and_rules_combine():
    views = drawn(6, 4)
    ends = tuple(views[:2]), tuple(views[2:])
    rules = {"keep_quantile": 0.7}, {"keep_below": 2.0}, {"keep_below_teacher": True}
    kept = [
        predictions.reliable_pairs(*ends, criterion="cross_entropy", **rule)
        for rule in (*rules, {k: v for rule in rules for k, v in rule.items()})
    ]
    assert not any(keep.requires_grad for keep in kept)
    assert (kept[3] == kept[0] & kept[1] & kept[2]).all()
    assert 0 < kept[3].sum() < min(keep.sum() for keep in kept[:3])


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(loss, dtype):
    views = [view.detach() for view in drawn(8, 10)]
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(*[view.to(dtype) for view in views])
    assert low.dtype == torch.float32
    torch.testing.assert_close(low.double(), loss(*views), rtol=2e-2, atol=1e-4)


def test_says_what_it_needs(unchecked_shapes):
    four, other = torch.randn(4, 10), torch.randn(4, 100)
    for loss in LOSSES:
        with pytest.raises(ValueError, match=r"\(4, 10\), \(4, 10\), \(4, 100\).* RKD or RRD"):
            loss(four, four, other, other)
        with pytest.raises(ValueError, match=r"unknown edges 'all': choose from .*real-virtual"):
            loss(four, four, four, four, edges="all")
        with pytest.raises(ValueError, match="unknown form 'l1': choose from huber, squared"):
            loss(four, four, four, four, form="l1")
        with pytest.raises(ValueError, match="unknown vertices"):
            loss(four, four, four, four, vertices="rank")
    with pytest.raises(ValueError, match="unknown criterion"):
        vrm_inter_sample_loss(four, four, four, four, criterion="kl", keep_quantile=0.5)
    with pytest.raises(ValueError, match=r"from 0 to 1.*got 90"):
        vrm_inter_sample_loss(four, four, four, four, keep_quantile=90)
    with pytest.raises(ValueError, match="both networks need a classifier"):
        VRM()(Outputs(four), Outputs(four))
    with pytest.raises(ValueError, match="5 rows cannot be divided into 2 views"):
        VRM()(*[Outputs(torch.randn(5, 3), torch.randn(5, 3))] * 2)
    with pytest.raises(ValueError, match="VRM needs labels"):
        VRM(virtual_target_weight=1.0)(*[Outputs(four, four)] * 2)


def both(*views):
    rows = torch.cat(views)
    return Outputs(rows, rows)


def test_method_weighs_its_terms():
    views = [view.detach() for view in drawn(6, 4)]
    outputs = both(*views[:2]), both(*views[2:])
    terms = VRM()(*outputs)
    sample = vrm_inter_sample_loss(*views, form="squared", keep_quantile=0.9)
    torch.testing.assert_close(terms["inter_sample"], 8 * sample)
    torch.testing.assert_close(
        terms["inter_class"], 2 * vrm_inter_class_loss(*views, form="squared")
    )
    assert set(VRM(inter_class_weight=0)(*outputs)) == {"inter_sample"}


def test_several_virtual_views_are_averaged():
    s, v, t, u = (view.detach() for view in drawn(6, 4))
    _, v2, _, u2 = (view.detach() for view in drawn(6, 4, seed=1))
    terms = VRM(virtual_views=2)(both(s, v, v2), both(t, u, u2))
    one, two = VRM()(both(s, v), both(t, u)), VRM()(both(s, v2), both(t, u2))
    assert VRM(virtual_views=2).views == 3
    for name, value in terms.items():
        torch.testing.assert_close(value, (one[name] + two[name]) / 2)


def test_weights_ramp_up_over_the_training_calls():
    outputs = [both(*views) for views in (drawn(4, 3)[:2], drawn(4, 3)[2:])]
    plain, ramped = VRM()(*outputs)["inter_class"], VRM(ramp_steps=4)
    for step in (1, 2, 3, 4, 4):
        torch.testing.assert_close(ramped(*outputs)["inter_class"], plain * step / 4)
    resumed = VRM(ramp_steps=4)
    resumed(*outputs)
    again = VRM(ramp_steps=4)
    again.load_state_dict(resumed.state_dict())
    again.eval()(*outputs)
    torch.testing.assert_close(again(*outputs)["inter_class"], plain / 4)
    torch.testing.assert_close(again.train()(*outputs)["inter_class"], plain / 2)


def test_needs_labels_only_for_the_virtual_task_loss():
    assert VRM().needs == {"logits"}
    assert VRM(virtual_target_weight=1.0).needs == {"logits", "target"}
    rows = torch.zeros(4, 5, requires_grad=True)
    batch = Batch((), torch.arange(2), torch.tensor([0, 1]))
    terms = VRM(virtual_target_weight=0.5)(Outputs(rows, rows), Outputs(rows, rows), batch)
    assert terms["virtual_target"].item() == pytest.approx(0.5 * math.log(5))
