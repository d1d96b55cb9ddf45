"""What every registered method promises (docs/extending.md)."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import asterism
from asterism import Batch, Method, Outputs, methods, relation_memory

METHODS = [getattr(methods, name) for name in methods.__all__]
CLASSES = 7


def drawn(method: Method, n: int, *, width: int, seed: int, dtype=torch.float32) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    rows = n * method.views
    embedding = torch.randn(rows, width, generator=generator).to(dtype)
    logits = torch.randn(rows, CLASSES, generator=generator).to(dtype)
    return Outputs(embedding, logits)


def batch_of(method: Method, n: int, seed: int = 9) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (n,), generator=generator)
    anchors = drawn(method, 6, width=12, seed=4), drawn(method, 6, width=20, seed=5)
    return Batch(
        views=(torch.rand(n, 3, 8, 8, generator=generator),) * method.views,
        index=torch.arange(n),
        target=target,
        anchors=anchors if "anchors" in method.needs else None,
    )


def ready(method_class, *, rows: int = 50, sample=None) -> Method:
    torch.manual_seed(0)
    method = method_class()
    given = {} if sample is None else {"sample": sample}
    method.setup(student_dim=12, teacher_dim=20, rows=rows, **given)
    return method


def outputs(method: Method, n: int, dtype=torch.float32) -> tuple[Outputs, Outputs]:
    student = drawn(method, n, width=12, seed=1, dtype=dtype)
    for rows in student:
        rows.requires_grad_()
    return student, drawn(method, n, width=20, seed=2, dtype=dtype)


def gradients(student: Outputs) -> list[torch.Tensor]:
    return [rows.grad for rows in student if rows.grad is not None]


class Largest(TorchDispatchMode):
    """Notes how many elements the largest tensor has that comes by, forwards or backwards.

    Parameters and buffers, parts of them and tensors of their size do not count: a bank is there
    whatever the batch.
    """

    def __init__(self, method):
        super().__init__()
        self.elements = 0
        state = method.state_dict().values()
        self.sizes = {x.numel() for x in state}
        self.places = {x.untyped_storage().data_ptr() for x in state}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor) and x.numel() not in self.sizes:
                if x.untyped_storage().data_ptr() in self.places:
                    continue
                self.elements = max(self.elements, x.numel())
        return result


def largest_tensor(method: Method, n: int) -> int:
    """Return the elements of the largest tensor of one training step, blocks being small."""
    student, teacher = outputs(method, n)
    batch = batch_of(method, n)
    with Largest(method) as seen, relation_memory(0.15):
        sum(method(student, teacher, batch).values()).backward()
    return seen.elements


@pytest.mark.parametrize("method_class", METHODS)
class TestEveryMethod:
    def test_is_exported_documented_and_configured_by_keywords(self, method_class):
        assert getattr(asterism, method_class.__name__) is method_class
        assert method_class.paper
        parameters = list(inspect.signature(method_class.__init__).parameters.values())[1:]
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters)
        for parameter in parameters:
            assert parameter.default is not parameter.empty
            assert f"{parameter.name}:" in method_class.__init__.__doc__
        defaults = {p.name: p.default for p in parameters}
        assert method_class().config() == defaults

    def test_weights_are_finite_numbers(self, method_class):
        weights = [name for name in method_class().config() if name.endswith("weight")]
        assert weights
        for name in weights:
            for value in (float("nan"), float("inf")):
                with pytest.raises(ValueError, match=f"needs a finite {name}; got {value}"):
                    method_class(**{name: value})

    def test_complex_rows_are_refused(self, method_class):
        method = ready(method_class).eval()
        student, teacher = outputs(method, 8)
        if "logits" in method.needs:
            teacher = Outputs(teacher.embedding, teacher.logits * 1j)
        else:
            teacher = Outputs(teacher.embedding * 1j)
        with pytest.raises(TypeError, match="takes real numbers; got complex ones"):
            method(student, teacher, batch_of(method, 8))

    def test_rows_of_other_views_are_refused(self, method_class):
        """One view of a batch must not be taken for two halves of one."""
        method = ready(method_class)
        if method.views == 1:
            return
        student, teacher = outputs(method, 8)
        whole = batch_of(method, 8 * method.views)
        for batch in (whole, Batch(target=whole.index % 3)):
            with pytest.raises(ValueError, match="16 samples have 32 rows; got 16"):
                method(student, teacher, batch)

    def test_bare_tensors_are_refused_in_words(self, method_class):
        """A method cannot know what a tensor alone is, nor a target that is no batch."""
        method = ready(method_class)
        student, teacher = outputs(method, 8)
        batch = batch_of(method, 8)
        for bare in (student.embedding, tuple(student), None):
            with pytest.raises(TypeError, match=r"takes Outputs\(embedding, logits\).*; got "):
                method(bare, teacher, batch)
            with pytest.raises(TypeError, match=r"takes Outputs\(embedding, logits\).*; got "):
                method(student, bare, batch)
        with pytest.raises(TypeError, match=r"takes an asterism.Batch .*Batch\(target=…\).*Tensor"):
            method(student, teacher, torch.arange(8))

    def test_a_batch_needs_only_what_the_method_asks_for(self, method_class):
        method = ready(method_class)
        student, teacher = outputs(method, 8)
        whole = batch_of(method, 8)
        asked = {need: getattr(whole, need) for need in ("index", "target", "anchors")}
        batch = Batch(**{need: value for need, value in asked.items() if need in method.needs})
        assert batch.size in (None, 8)
        found = []
        for given in (batch, whole):
            method = ready(method_class)  # from the same draws
            found.append(method(student, teacher, given))
        torch.testing.assert_close(*found)

    def test_first_call_gives_named_terms_and_gradients_for_the_student_only(self, method_class):
        method = ready(method_class)
        student, teacher = outputs(method, 8)
        teacher = Outputs(*(rows.requires_grad_() for rows in teacher))
        terms = method(student, teacher, batch_of(method, 8))
        assert terms
        for value in terms.values():
            assert value.shape == ()
            assert value.isfinite()
            assert value != 0
        sum(terms.values()).backward()
        assert any(g.abs().sum() > 0 for g in gradients(student))
        assert all(rows.grad is None for rows in teacher)

    def test_a_sample_is_taken_where_it_is_needed_and_any_sample_will_do(self, method_class):
        if "sample" not in method_class().needs:
            return
        whole = outputs(method_class(), 40)
        nothing = tuple(Outputs(torch.full_like(x.embedding, torch.nan)) for x in whole)
        same = tuple(Outputs(torch.ones_like(x.embedding)) for x in whole)
        few = tuple(Outputs(x.embedding[:1].detach()) for x in whole)
        none = tuple(Outputs(x.embedding[:0].detach()) for x in whole)
        for sample in (whole, nothing, same, few, none):
            one, two = (ready(method_class, sample=sample) for _ in range(2))
            state = one.state_dict()
            torch.testing.assert_close(state, two.state_dict())
            assert all(value.isfinite().all() for value in state.values())
            assert not any(p.requires_grad for p in state.values())
            student, teacher = outputs(one, 8)
            terms = one(student, teacher, batch_of(one, 8))
            sum(terms.values()).backward()
            assert all(value.isfinite() and value != 0 for value in terms.values())

    def test_an_aligner_maps_the_student_to_the_teacher(self, method_class):
        assert method_class().aligner() is None
        method = ready(method_class)
        if (aligner := method.aligner()) is None:
            return
        weight, bias = aligner
        assert (weight.shape, bias.shape) == ((20, 12), (20,))
        assert not weight.requires_grad
        assert not bias.requires_grad
        two = method_class()
        two.setup(student_dim=12, teacher_dim=20, rows=50)
        two.load_state_dict(method.state_dict())
        torch.testing.assert_close(two.aligner(), aligner)

    def test_setup_again_is_harmless_or_refused(self, method_class):
        method = ready(method_class)
        state = {k: v.clone() for k, v in method.state_dict().items()}
        try:
            method.setup(student_dim=12, teacher_dim=20, rows=50)
        except RuntimeError:
            torch.testing.assert_close(dict(method.state_dict()), state)
        else:
            assert not state

    def test_state_survives_a_round_trip(self, method_class):
        one, two = ready(method_class), method_class()
        torch.manual_seed(1)
        two.setup(student_dim=12, teacher_dim=20, rows=50)
        for seed in range(3):  # banks move on
            student, teacher = outputs(one, 8)
            one(student, teacher, batch_of(one, 8, seed))
        two.load_state_dict(one.state_dict())
        student, teacher = outputs(one, 8)
        batch = batch_of(one, 8)
        torch.testing.assert_close(two(student, teacher, batch), one(student, teacher, batch))

    @pytest.mark.parametrize("n", [0, 1, 2, 3])
    def test_tiny_batches_stay_finite_and_connected(self, method_class, n):
        method = ready(method_class)
        student, teacher = outputs(method, n)
        terms = method(student, teacher, batch_of(method, n))
        sum(terms.values()).backward()
        assert all(value.isfinite() for value in terms.values())
        assert gradients(student)
        assert all(g.isfinite().all() for g in gradients(student))

    @pytest.mark.parametrize("kind", ["duplicates", "zeros", "collapsed", "huge", "tiny"])
    def test_strange_batches_stay_finite(self, method_class, kind):
        method = ready(method_class)
        student, teacher = outputs(method, 8)
        with torch.no_grad():
            for rows in student:
                if kind == "duplicates":
                    rows[1] = rows[0]
                elif kind == "zeros":
                    rows[:3] = 0
                elif kind == "collapsed":
                    rows[:] = rows[0].clone()
                else:
                    rows *= 1e4 if kind == "huge" else 1e-8
        terms = method(student, teacher, batch_of(method, 8))
        sum(terms.values()).backward()
        assert all(value.isfinite() for value in terms.values())
        assert all(g.isfinite().all() for g in gradients(student))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_under_autocast_gives_float32(self, method_class, dtype):
        method = ready(method_class)
        student, teacher = outputs(method, 8, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16):
            terms = method(student, teacher, batch_of(method, 8))
        assert all(value.dtype == torch.float32 for value in terms.values())
        assert all(value.isfinite() for value in terms.values())

    @pytest.mark.parametrize("n", [160, 320])
    def test_no_tensor_is_larger_than_one_number_for_each_pair(self, method_class, n):
        """Neither n² d nor n³: what a method of one's own does about it is in extending.md."""
        method = ready(method_class, rows=n)
        assert largest_tensor(method, n) <= n * (n + 1)  # CRD: a positive beside the negatives

    def test_a_teacher_of_whole_numbers_is_a_teacher(self, method_class):
        n = 5
        method, batch = ready(method_class).eval(), batch_of(method_class(), n)
        student, exact = (drawn(method, n, width=w, seed=s) for w, s in ((12, 1), (20, 2)))
        whole = Outputs(*((4 * rows).to(torch.int8) for rows in exact))
        for name, value in method(student, whole, batch).items():
            floats = Outputs(*(rows.float() for rows in whole))
            torch.testing.assert_close(value, method(student, floats, batch)[name])

    def test_order_of_the_samples_does_not_matter(self, method_class):
        one, two = ready(method_class), ready(method_class)
        two.load_state_dict(one.state_dict())
        student, teacher = outputs(one, 8)
        batch = batch_of(one, 8)
        order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
        rows = torch.cat([order + 8 * view for view in range(one.views)])
        shuffled = Batch(batch.views, batch.index[order], batch.target[order], batch.anchors)
        moved = two(
            Outputs(*(x[rows] for x in student)), Outputs(*(x[rows] for x in teacher)), shuffled
        )
        torch.testing.assert_close(moved, one(student, teacher, batch), rtol=1e-4, atol=1e-6)

    def test_training_on_it_lowers_it(self, method_class):
        """A few steps on one fixed batch: the terms are losses, not constants."""
        method = ready(method_class)
        student, teacher = outputs(method, 16)
        optimizer = torch.optim.Adam([*student, *method.parameters()], lr=0.05)
        batch, losses = batch_of(method, 16), []
        for _ in range(40):
            loss = sum(method(student, teacher, batch).values())
            losses.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert losses[-1] < losses[0]


def test_a_custom_method_is_a_few_lines():
    class Cosine(Method):
        paper = "none"

        def forward(self, student, teacher, batch=None):
            return {"cosine": 1 - F.cosine_similarity(student.embedding, teacher.embedding).mean()}

    same = Outputs(torch.eye(3))
    assert Cosine()(same, same)["cosine"] == pytest.approx(0)
