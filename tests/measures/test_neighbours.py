"""Tests for asterism/measures/neighbours.py."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asterism.measures import nearest
from asterism.measures.neighbours import neighbour_blocks


def exhaustive(query, gallery, k, *, alone=False):
    """Float64 differences and a stable sort: the lower row first among equals."""
    query, gallery = query.double(), gallery.double()
    distance = torch.cdist(query, gallery, compute_mode="donot_use_mm_for_euclid_dist")
    if alone:
        distance.fill_diagonal_(float("inf"))
    return distance.sort(dim=1, stable=True).indices[:, : min(k, len(gallery) - alone)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "dim"), [(2, 3), (7, 1), (300, 2), (200, 64)])
def test_finds_what_an_exhaustive_search_finds(n, dim, dtype, embeddings):
    rows, gallery = embeddings(n, dim, seed=1).to(dtype), embeddings(150, dim, seed=2).to(dtype)
    assert torch.equal(nearest(rows, k=9), exhaustive(rows, rows, 9, alone=True))
    assert torch.equal(nearest(rows, gallery, k=9), exhaustive(rows, gallery, 9))


def test_cosine_is_the_distance_of_unit_rows(embeddings):
    rows = embeddings(100, 5)
    units = rows / rows.norm(dim=1, keepdim=True)
    stretched = rows * torch.logspace(-12, 12, 100, dtype=rows.dtype)[:, None]
    expected = exhaustive(units, units, 7, alone=True)
    assert torch.equal(nearest(stretched, k=7, metric="cosine"), expected)


def test_a_zero_row_is_orthogonal_to_all():
    gallery = torch.tensor([[0.0, -1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])
    query = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    found = nearest(query, gallery, k=4, metric="cosine")
    assert found.tolist() == [[3, 1, 2, 0], [0, 1, 2, 3]]


@pytest.mark.parametrize("offset", [0, 100])
@pytest.mark.parametrize("spread", [1, 1e-2, 1e-3, 1e-4])
def test_float32_survives_offsets_and_tight_clusters(spread, offset, embeddings):
    centres = embeddings(6, 32, seed=1).repeat_interleave(40, dim=0)
    rows = (centres + spread * embeddings(240, 32, seed=2) + offset).float()
    found, expected = (
        (rows[neighbours].double() - rows[:, None].double()).norm(dim=2)
        for neighbours in (nearest(rows, k=10), exhaustive(rows, rows, 10, alone=True))
    )
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


def test_survives_one_far_outlier(embeddings):
    rows = embeddings(200, 16)
    rows[17] *= 1e5
    assert torch.equal(
        nearest(rows.float(), k=5), exhaustive(rows.float(), rows.float(), 5, alone=True)
    )


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_survives_any_scale(scale, embeddings):
    rows = embeddings(50, 8).float()
    assert torch.equal(nearest(rows * scale, k=5), nearest((rows * scale).double() / scale, k=5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_takes_any_type(dtype, embeddings):
    rows = (10 * embeddings(50, 4)).to(dtype)
    assert torch.equal(nearest(rows, k=5), exhaustive(rows, rows, 5, alone=True))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_among_equals_the_lower_row_comes_first(value, metric):
    rows = torch.full((40, 30), value)
    expected = exhaustive(torch.zeros(40, 1), torch.zeros(40, 1), 6, alone=True)
    assert torch.equal(nearest(rows, k=6, metric=metric), expected)


def test_ties_of_a_grid_are_in_order():
    side = torch.arange(6.0)
    grid = torch.cartesian_prod(side, side, side).double()
    assert torch.equal(nearest(grid / 7 + 3, k=30), exhaustive(grid, grid, 30, alone=True))


def test_leaves_out_the_row_itself_and_not_its_duplicates():
    rows = torch.tensor([[5.0], [1.0], [5.0], [5.0], [0.0]])
    assert nearest(rows, k=2).tolist() == [[2, 3], [4, 0], [0, 3], [0, 2], [1, 0]]
    assert nearest(rows, rows, k=2)[0].tolist() == [0, 2]


@given(seed=st.integers(0, 2**16), n=st.integers(2, 60), memory=st.integers(1, 20_000))
@settings(deadline=None, max_examples=40)
def test_blocks_change_nothing(seed, n, memory):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(-2, 3, (n, 3), generator=generator).float() / 3  # many ties
    for metric in ("euclidean", "cosine"):
        whole = nearest(rows, k=4, metric=metric)
        assert torch.equal(nearest(rows, k=4, metric=metric, memory=memory), whole)


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_ignores_scale_rotation_and_translation_and_follows_the_order(scale, seed):
    generator = torch.Generator().manual_seed(seed)
    rows, square = (torch.randn(30, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    rotation = torch.linalg.qr(square[:5]).Q
    order = torch.randperm(30, generator=generator)
    moved = nearest((scale * rows @ rotation + 1)[order], k=6)
    assert torch.equal(order[moved], nearest(rows, k=6)[order])


def test_gives_what_there_is(embeddings):
    rows = embeddings(4, 3)
    assert nearest(rows, k=9).shape == (4, 3)
    assert nearest(rows, rows[:2], k=9).shape == (4, 2)
    assert nearest(rows, rows[:0], k=9).shape == (4, 0)
    assert nearest(rows[:1], k=9).shape == (1, 0)
    assert nearest(rows[:0], k=9).shape == (0, 0)
    assert nearest(rows[:0], rows, k=2).shape == (0, 2)


def test_leaves_its_arguments_alone(embeddings):
    rows = embeddings(9, 3).requires_grad_()
    before = rows.detach().clone()
    for metric in ("euclidean", "cosine"):
        assert not nearest(rows, k=2, metric=metric).requires_grad
    assert torch.equal(rows, before)


def test_blocks_keep_to_the_memory_they_are_given(embeddings):
    rows = embeddings(1000, 2)
    memory = 100_000
    blocks = list(neighbour_blocks(rows, k=5, memory=memory))
    assert torch.equal(torch.cat([number for number, _ in blocks]), torch.arange(1000))
    assert max(8 * len(number) * len(rows) for number, _ in blocks) <= memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory in kilobytes")
def test_memory_is_that_of_the_embeddings_and_of_one_block():
    script = """
import resource, torch
from asterism.measures import nearest
torch.set_num_threads(1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
nearest(torch.randn(100, 2), k=1)
rows = torch.randn(40_000, 64)  # 10 MB; all distances: 12,800 MB
before = peak()
nearest(rows[:500], rows, k=10, memory=2**24)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 60  # a copy in float64: 20 MB; a block: 16 MB


def test_says_what_it_needs(embeddings):
    rows = embeddings(4, 3)
    with pytest.raises(ValueError, match=r"rows of one width.*got \(4, 3\) and \(4, 2\)"):
        nearest(rows, rows[:, :2], k=1)
    with pytest.raises(ValueError, match=r"k of at least 1 .* got k=0"):
        nearest(rows, k=0)
    with pytest.raises(ValueError, match=r"a metric among euclidean, cosine; got .*'dot'"):
        nearest(rows, k=1, metric="dot")


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_refuses_embeddings_that_are_not_finite(value, metric, embeddings):
    rows = embeddings(4, 3)
    broken = rows.clone()
    broken[2, 1] = value
    for query, gallery in ((broken, None), (broken, rows), (rows, broken)):
        with pytest.raises(ValueError, match=r"finite embeddings.*has the training diverged"):
            nearest(query, gallery, k=1, metric=metric)
