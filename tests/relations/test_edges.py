"""Tests for asterism/relations/edges.py, through the losses of VRM."""

import pytest
import torch
import torch.nn.functional as F

from asterism import relation_memory, vrm_inter_class_loss, vrm_inter_sample_loss
from asterism.relations import edges

LOSSES = [vrm_inter_sample_loss, vrm_inter_class_loss]
FORMS = ["huber", "squared", "clipped"]
EVERY = [
    *((vrm_inter_sample_loss, e) for e in ("real-virtual", "real-real", "virtual-virtual", "full")),
    *((vrm_inter_class_loss, e) for e in ("concatenated", "real", "real-virtual")),
]


def drawn(n, c, seed=0, dtype=torch.float64):
    """Four random views; the virtual ones resemble the real ones, the student the teacher."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(4, n, c, generator=generator, dtype=dtype)
    teacher = 2 * noise[0]
    teacher_virtual = teacher + noise[1]
    student, student_virtual = teacher + noise[2], teacher_virtual + 2 * noise[3]
    return [student.requires_grad_(), student_virtual.requires_grad_(), teacher, teacher_virtual]


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


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("loss", "edge_set"), EVERY)
def test_tiles_and_blocks_of_every_size_agree(loss, edge_set, form):
    def run():
        views = drawn(9, 5)
        views[1].data[3] = views[0].data[2]  # an edge of length zero
        options = {"keep_quantile": 0.8} if loss is vrm_inter_sample_loss else {}
        value = loss(*views, edges=edge_set, form=form, **options)
        value.backward()
        gradients = (torch.zeros(()) if v.grad is None else v.grad for v in views[:2])
        return value.detach(), *gradients

    expected = run()
    for pairs in 1, 4, 16:
        with relation_memory(pairs * 100 / 2**20):  # tiles of 1 × 1, 2 × 2 and 4 × 4 pairs
            torch.testing.assert_close(run(), expected, rtol=1e-12, atol=1e-15)


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
    default = "real-virtual" if loss is vrm_inter_sample_loss else "concatenated"
    exact = direct(loss, [view.double() for view in views], form, default)
    torch.testing.assert_close(value, exact, rtol=1e-9, atol=1e-12)


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


def test_an_edge_as_short_as_the_rounding_of_its_ends_has_no_direction():
    """Both views of an image that its augmentation left alone: equal up to the last digits."""
    torch.manual_seed(0)
    real, teacher, teacher_virtual = torch.randn(3, 6, 5)
    noise = 6e-8 * real.abs() * torch.randn(6, 5).sign()  # the last digit

    def gradient(virtual):
        student = real.clone().requires_grad_()
        vrm_inter_sample_loss(student, virtual, teacher, teacher_virtual, form="squared").backward()
        return student.grad

    exact = gradient(real.clone())
    torch.testing.assert_close(gradient(real + noise), exact, rtol=1e-3, atol=1e-4)
    assert gradient(real + 100 * noise).abs().max() > 10 * exact.abs().max()
