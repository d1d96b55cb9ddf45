"""Tests for asterism/methods/neighbourhood.py."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism import Anchored, Neighbourhood, Outputs, neighbourhood_loss


def loop_reference(student, teacher, others_s, others_t, tau_s, tau_t, with_self):
    """The formula, neighbour by neighbour, in plain Python."""

    def cosine(x, y):
        inner = sum(a * b for a, b in zip(x, y, strict=True))
        return inner / (math.hypot(*x) * math.hypot(*y))

    def attention(i, row, others, tau):
        near = {j: cosine(row, o) for j, o in enumerate(others) if with_self or j != i}
        powers = {j: math.exp(x / tau) for j, x in near.items()}
        return {j: p / sum(powers.values()) for j, p in powers.items()}

    total = 0.0
    for i, (s, t) in enumerate(zip(student, teacher, strict=True)):
        p_s, p_t = attention(i, s, others_s, tau_s), attention(i, t, others_t, tau_t)
        total += sum(p * math.log(p / p_s[j]) for j, p in p_t.items())
    return total / len(student)


@pytest.mark.parametrize("with_self", [False, True])
@pytest.mark.parametrize("queue", [0, 3])
def test_follows_the_formula_against_its_own_rows(queue, with_self, embeddings):
    student, teacher = embeddings(5 + queue, 3, seed=1), embeddings(5 + queue, 4, seed=2)
    queues = {"student_queue": student[5:], "teacher_queue": teacher[5:]} if queue else {}
    value = neighbourhood_loss(
        student[:5], teacher[:5], **queues, temperature=0.3, student_temperature=0.5,
        with_self=with_self,
    )  # fmt: skip
    s, t = student.tolist(), teacher.tolist()
    expected = loop_reference(s[:5], t[:5], s, t, 0.5, 0.3, with_self)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("with_self", [False, True])
def test_follows_the_formula_against_the_teachers_rows(with_self, embeddings):
    student, teacher = embeddings(5, 4, seed=1), embeddings(8, 4, seed=2)
    value = neighbourhood_loss(
        student, teacher[:5], against="teacher", teacher_queue=teacher[5:], temperature=0.4,
        with_self=with_self,
    )  # fmt: skip
    s, t = student.tolist(), teacher.tolist()
    expected = loop_reference(s, t[:5], t, t, 0.4, 0.4, with_self)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_rows_of_a_queue_that_have_not_come_do_not_count(embeddings):
    rows, queue = (
        (embeddings(5, 4, 1), embeddings(5, 3, 2)),
        (embeddings(6, 4, 3), embeddings(6, 3, 4)),
    )
    queued = torch.tensor([1, 1, 0, 1, 0, 0]).bool()
    value = neighbourhood_loss(*rows, student_queue=queue[0], teacher_queue=queue[1], queued=queued)
    expected = neighbourhood_loss(
        *rows, student_queue=queue[0][queued], teacher_queue=queue[1][queued]
    )
    torch.testing.assert_close(value, expected)
    none = neighbourhood_loss(
        *rows, student_queue=queue[0], teacher_queue=queue[1], queued=torch.zeros(6).bool()
    )
    torch.testing.assert_close(none, neighbourhood_loss(*rows))


@pytest.mark.parametrize("against", ["own", "teacher"])
@pytest.mark.parametrize("perplexity", [None, 2.0])
def test_gradient(against, perplexity, embeddings):
    student, teacher = embeddings(5, 3, seed=1).requires_grad_(), embeddings(5, 3, seed=2)
    queue = embeddings(4, 3, seed=3)
    assert torch.autograd.gradcheck(
        lambda s: neighbourhood_loss(
            s, teacher, against=against, student_queue=queue, teacher_queue=queue,
            temperature=0.3, perplexity=perplexity,
        ),
        student,
    )  # fmt: skip


@given(seed=st.integers(0, 2**16), scale=st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=15)
def test_ignores_lengths_rotation_and_order(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    student, teacher, square, lengths = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((7, 4), (7, 5), (4, 4), (7, 1))
    )
    turn = torch.linalg.qr(square).Q
    order = torch.randperm(7, generator=generator)
    for options in ({}, {"perplexity": 3.0}):
        value = neighbourhood_loss(student, teacher, **options)
        moved = (scale * student * lengths.exp() @ turn)[order]
        torch.testing.assert_close(neighbourhood_loss(moved, teacher[order], **options), value)
        assert value >= -1e-12
        copy = neighbourhood_loss(scale * teacher, teacher, **options)
        assert copy.item() == pytest.approx(0, abs=1e-10)


def test_a_hard_teacher_is_info_nce_with_the_nearest_as_the_positive(embeddings):
    student, teacher = embeddings(6, 3, seed=1), embeddings(6, 4, seed=2)
    near = F.normalize(teacher) @ F.normalize(teacher).T
    nearest = near.fill_diagonal_(-2).argmax(1)
    logits = F.normalize(student) @ F.normalize(student).T / 0.2
    expected = F.cross_entropy(logits.fill_diagonal_(-torch.inf), nearest)
    value = neighbourhood_loss(student, teacher, temperature=1e-4, student_temperature=0.2)
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("against", ["own", "teacher"])
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_rows_stay_connected(against, n):
    student = torch.randn(n, 3, requires_grad=True)
    for options in ({}, {"perplexity": 5.0}):
        value = neighbourhood_loss(student, torch.randn(n, 3), against=against, **options)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
    if n == 1:
        assert value == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_near_double(dtype, embeddings):
    student, teacher = embeddings(8, 4, seed=1), embeddings(8, 6, seed=2)
    with torch.autocast("cpu", torch.bfloat16):
        low = neighbourhood_loss(student.to(dtype), teacher.to(dtype), temperature=0.3)
    assert low.dtype == torch.float32
    expected = neighbourhood_loss(student, teacher, temperature=0.3)
    torch.testing.assert_close(low.double(), expected, rtol=1e-1, atol=1e-2)


def test_the_teacher_gets_no_gradient():
    student, teacher, queue = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    for against in ("own", "teacher"):
        neighbourhood_loss(
            student, teacher, against=against, teacher_queue=queue, student_queue=queue
        ).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert queue.grad is None


def steps(method, count, seed=0, n=6):
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(count):
        student, teacher = (torch.randn(n, d, generator=generator) for d in (3, 5))
        values.append(method(Outputs(student), Outputs(teacher))["neighbourhood"])
    return values


@pytest.mark.parametrize(
    "options",
    [{}, {"against": "teacher"}, {"against": "teacher", "through": "linear"}],
)
def test_a_queue_is_earlier_batches_and_survives_a_restart(options):
    def made():
        torch.manual_seed(0)
        method = Neighbourhood(queue_size=10, **options)
        method.setup(student_dim=3, teacher_dim=5)
        return method

    whole, half, rest = made(), made(), made()
    expected = steps(whole, 4)
    steps(half, 2)
    rest.load_state_dict(half.state_dict())
    generator = torch.Generator().manual_seed(0)
    [torch.randn(6, d, generator=generator) for d in (3, 5, 3, 5)]
    for value in expected[2:]:
        student, teacher = (torch.randn(6, d, generator=generator) for d in (3, 5))
        found = rest(Outputs(student), Outputs(teacher))["neighbourhood"]
        torch.testing.assert_close(found, value)
    before = {k: v.clone() for k, v in whole.state_dict().items()}
    steps(whole.eval(), 2)
    torch.testing.assert_close(dict(whole.state_dict()), before)


def test_the_first_batch_has_itself_alone_and_later_ones_the_queue():
    method = Neighbourhood(queue_size=8)
    method.setup(student_dim=3, teacher_dim=5)
    generator = torch.Generator().manual_seed(1)
    batches = [[torch.randn(6, d, generator=generator) for d in (3, 5)] for _ in range(2)]
    first, second = (method(Outputs(s), Outputs(t))["neighbourhood"] for s, t in batches)
    torch.testing.assert_close(first, neighbourhood_loss(*batches[0]))
    queues = {"student_queue": batches[0][0], "teacher_queue": batches[0][1]}
    torch.testing.assert_close(second, neighbourhood_loss(*batches[1], **queues))


def test_through_a_fixed_map_it_shares_that_of_anchored():
    student, teacher = Outputs(torch.randn(40, 3)), Outputs(torch.randn(40, 5) + 2)
    for start in ("procrustes", "pca", "random"):
        one = Neighbourhood(against="teacher", through=start, centre=True, weight=2)
        two = Anchored(start=start, centre=True)
        for method in (one, two):
            assert method.needs == {"sample"}
            method.setup(student_dim=3, teacher_dim=5, sample=(student, teacher))
        torch.testing.assert_close(one.map, two.map)
        mapped, centred = student.embedding @ one.map.T, teacher.embedding - one.mean
        expected = neighbourhood_loss(mapped, centred, against="teacher")
        torch.testing.assert_close(one(student, teacher)["neighbourhood"], 2 * expected)
        torch.testing.assert_close(one.aligner(), (one.map, one.mean))


def test_a_linear_head_learns_and_is_the_aligner():
    method = Neighbourhood(against="teacher", through="linear")
    assert method.needs == frozenset()
    method.setup(student_dim=3, teacher_dim=5)
    student, teacher = Outputs(torch.randn(8, 3)), Outputs(torch.randn(8, 5))
    method(student, teacher)["neighbourhood"].backward()
    assert method.head.weight.grad.abs().sum() > 0
    weight, bias = method.aligner()
    torch.testing.assert_close(weight, method.head.weight.detach())
    torch.testing.assert_close(bias, method.head.bias.detach())
    own = Neighbourhood()
    own.setup(student_dim=3, teacher_dim=5)
    assert own.aligner() is None
    assert not own.needs


def test_says_what_it_needs(unchecked_shapes):
    rows, wide = torch.randn(4, 3), torch.randn(4, 5)
    with pytest.raises(ValueError, match=r"one row per sample.*got \(4, 3\) and \(5, 3\)"):
        neighbourhood_loss(rows, torch.randn(5, 3))
    with pytest.raises(ValueError, match=r"equally wide; got \(4, 3\) and \(4, 5\)"):
        neighbourhood_loss(rows, wide, against="teacher")
    for queues in (
        {"teacher_queue": wide},
        {"student_queue": rows},
        {"student_queue": rows, "teacher_queue": wide[:2]},
        {"student_queue": wide, "teacher_queue": wide},
    ):
        with pytest.raises(ValueError, match="queues with a row for the same samples"):
            neighbourhood_loss(rows, wide, **queues)
    with pytest.raises(ValueError, match=r"say of each of 4 rows.*got \(2,\)"):
        neighbourhood_loss(
            rows, wide, student_queue=rows, teacher_queue=wide, queued=torch.ones(2).bool()
        )
    for ask in (Neighbourhood, lambda **options: neighbourhood_loss(rows, wide, **options)):
        with pytest.raises(ValueError, match="positive temperature; got 0"):
            ask(temperature=0)
        with pytest.raises(ValueError, match="positive temperature; got -1"):
            ask(student_temperature=-1)
        with pytest.raises(ValueError, match="perplexity above 1.*got 1"):
            ask(perplexity=1)
        with pytest.raises(ValueError, match="unknown against 'both': choose from own, teacher"):
            ask(against="both")
    with pytest.raises(ValueError, match="queue_size of 0 or more; got -1"):
        Neighbourhood(queue_size=-1)
    with pytest.raises(ValueError, match="unknown through 'mlp'"):
        Neighbourhood(through="mlp")
    with pytest.raises(RuntimeError, match=r"before Neighbourhood\.setup\(\)"):
        Neighbourhood()(Outputs(rows), Outputs(rows))
