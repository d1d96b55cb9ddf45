"""Tests for asterism/methods/vrm.py."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import VRM, Outputs, vrm_inter_class_loss, vrm_inter_sample_loss

LOSSES = [vrm_inter_sample_loss, vrm_inter_class_loss]
FORMS = ["huber", "squared", "clipped"]
SAMPLE_EDGES = ["real-virtual", "real-real", "virtual-virtual", "full"]
CLASS_EDGES = ["concatenated", "real", "real-virtual"]
EVERY = [(vrm_inter_sample_loss, e) for e in SAMPLE_EDGES]
EVERY += [(vrm_inter_class_loss, e) for e in CLASS_EDGES]


def drawn(n, c, seed=0, dtype=torch.float64):
    """Four random views; the virtual ones resemble the real ones, the student the teacher."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, n, c, generator=generator, dtype=dtype)
    teacher = 2 * noise[0]
    teacher_virtual = teacher + noise[1]
    student, student_virtual = teacher + noise[2], teacher_virtual + 2 * noise[3]
    return [student.requires_grad_(), student_virtual.requires_grad_(), teacher, teacher_virtual]


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
    with pytest.raises(ValueError, match=r"from 0 to 1.*got 90"):
        vrm_inter_sample_loss(four, four, four, four, keep_quantile=90)
    with pytest.raises(ValueError, match="unknown criterion"):
        vrm_inter_sample_loss(four, four, four, four, criterion="kl")
    for options in (
        {"virtual_views": 0},
        {"keep_quantile": 90},
        {"keep_quantile": -0.1},
        {"keep_below": -1},
        {"keep_below": float("nan")},
        {"ramp_steps": -5},
    ):
        with pytest.raises(ValueError, match="at least 1 virtual view, a keep_quantile from 0 to"):
            VRM(**options)
    for name in ("form", "vertices", "sample_edges", "class_edges", "criterion"):
        with pytest.raises(ValueError, match=f"unknown {name} 'x': choose from"):
            VRM(**{name: "x"})
    with pytest.raises(ValueError, match="both networks need a classifier"):
        VRM()(Outputs(four), Outputs(four))
    with pytest.raises(ValueError, match="5 rows cannot be divided into 2 views"):
        VRM()(*[Outputs(torch.randn(5, 3), torch.randn(5, 3))] * 2)


def both(*views):
    rows = torch.cat(views)
    return Outputs(rows, rows)


def test_method_weighs_its_terms():
    views = [view.detach() for view in drawn(6, 4)]
    outputs = both(*views[:2]), both(*views[2:])
    terms = VRM()(*outputs)
    sample = vrm_inter_sample_loss(*views, form="squared", keep_quantile=0.9)
    torch.testing.assert_close(terms["inter_sample"], 32 * sample)
    torch.testing.assert_close(
        terms["inter_class"], 8 * vrm_inter_class_loss(*views, form="squared")
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
    assert ramped.weight_grows
    assert not VRM().weight_grows
    for step in (1, 2, 3, 4, 4):
        torch.testing.assert_close(ramped(*outputs)["inter_class"], plain * step / 4)
    resumed = VRM(ramp_steps=4)
    resumed(*outputs)
    again = VRM(ramp_steps=4)
    again.load_state_dict(resumed.state_dict())
    again.eval()(*outputs)
    torch.testing.assert_close(again(*outputs)["inter_class"], plain / 4)
    torch.testing.assert_close(again.train()(*outputs)["inter_class"], plain / 2)
