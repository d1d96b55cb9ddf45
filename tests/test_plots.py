"""Tests for asterism/plots.py, and for what it and the page draw of classes that go together."""

import json
import re
import sys

import numpy as np
import pytest
import torch
from report.folders import make_run

from asterism import plots
from asterism.report import render
from asterism.run import Run, RunError
from asterism.verdict.sample import CLASSES, _class_correlations

NAMES = ("$cat", "_dog", "frog $x_$")  # no formula, and nothing that a legend hides


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    make_run(path, names=NAMES)
    return path


@pytest.fixture
def drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'asterism[plots]'")

    def save(figure):
        figure.savefig(tmp_path / "figure.png", dpi=40)
        return figure

    return save


def test_correlations_are_of_the_scores_over_all_rows():
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 50, 4, generator=draw)
    found = _class_correlations(student, teacher)
    expected = np.corrcoef(student.T.numpy())
    assert found["student_class_correlation"] == pytest.approx(expected, abs=1e-3)
    assert _class_correlations(student, teacher[:, :3]) == {}  # other classes
    assert _class_correlations(student, None) == {}
    assert _class_correlations(*torch.zeros(2, 3, CLASSES + 1)) == {}


def test_the_page_has_the_difference_worst_pairs_first(run):
    page = render([run])
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    figure = data[0]["figures"]["correlations"]
    arrays = Run(run).read_evaluation()
    gap = arrays["student_class_correlation"].astype(float) - arrays["teacher_class_correlation"]
    order = [NAMES.index(name) for name in figure["names"]]
    for column, row, value in figure["cells"]:
        assert value == pytest.approx(gap[order[row], order[column]], abs=2e-3)
    assert len(figure["cells"]) == 6
    one, other = np.unravel_index(np.abs(gap).argmax(), gap.shape)
    first = re.search(r"numbers: classes that go together.*?<tbody>(.*?)</tr>", page, re.DOTALL)[1]
    assert NAMES[one] in first
    assert NAMES[other] in first


def test_figures_show_the_numbers_of_the_run(run, drawn, tmp_path):
    arrays = Run(run).read_evaluation()
    teacher, student = drawn(plots.embedding_map(run)).axes[:2]
    shown = np.concatenate([each.get_offsets() for each in student.collections])
    assert sorted(shown[:, 0]) == pytest.approx(sorted(arrays["student_map"][:, 0]))
    assert (teacher.get_title(), student.get_title()) == ("teacher", "student")

    panel = drawn(plots.class_correlations(run)).axes[0]
    gap = arrays["student_class_correlation"].astype(float) - arrays["teacher_class_correlation"]
    assert np.asarray(panel.images[0].get_array()) == pytest.approx(gap)

    metrics = Run(run).read_metrics()
    figure = drawn(plots.dynamics([make_run(tmp_path / "$other"), run]))
    names = [name for name in metrics[-1] if name.startswith(("train/", "validation/"))]
    assert set(names) <= {panel.get_title() for panel in figure.axes}
    panel = next(panel for panel in figure.axes if panel.get_title() == names[0])
    assert list(panel.lines[1].get_ydata()) == [m[names[0]] for m in metrics if names[0] in m]


def test_tsne_keeps_groups_that_are_far_apart(run, drawn):
    evaluation = dict(Run(run).read_evaluation())
    centres = 20 * np.eye(3, 8)[evaluation["target"]]
    noise = np.random.default_rng(0).normal(size=centres.shape)
    evaluation["student_embedding"] = (centres + noise).astype(np.float16)
    Run(run).write_evaluation(evaluation)
    student = drawn(plots.embedding_map(run, how="tsne")).axes[1]
    groups = [np.asarray(each.get_offsets()) for each in student.collections]
    middles = np.stack([group.mean(0) for group in groups])
    for group, middle in zip(groups, middles, strict=True):
        others = np.linalg.norm(middles - middle, axis=1)
        assert np.linalg.norm(group - middle, axis=1).max() < others[others > 0].min()


def test_what_a_run_does_not_have_is_said(tmp_path, run):
    make_run(tmp_path / "alone", beside=False)
    with pytest.raises(ValueError, match="scores of the same classes"):
        plots.class_correlations(tmp_path / "alone")
    make_run(tmp_path / "old", sampled=False)
    with pytest.raises(ValueError, match="no sample of its rows"):
        plots.embedding_map(tmp_path / "old")
    with pytest.raises(ValueError, match="pca or tsne"):
        plots.embedding_map(run, how="umap")
    with pytest.raises(FileNotFoundError, match="run folder"):
        plots.embedding_map(tmp_path / "nowhere")
    evaluation = dict(Run(run).read_evaluation())
    evaluation["teacher_class_correlation"] = np.zeros((2, 2), np.float16)
    Run(run).write_evaluation(evaluation)
    with pytest.raises(RunError, match="damaged"):
        plots.class_correlations(run)


def test_without_matplotlib_the_extra_is_named(run, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"asterism\[plots\]"):
        plots.dynamics(run)
