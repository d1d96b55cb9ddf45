"""Tests for asterism/report/seeds.py: what several trainings show of the teacher's worth."""

import json

import pytest
import yaml
from report.folders import make_run

from asterism.chance import over_seeds
from asterism.report import read_accounts, write_report
from asterism.report.comparison import by_settings
from asterism.report.seeds import over_trainings


def trainings(folder, gaps, *, half=1.0, baseline="runs/alone-{}", seeds=None):
    """Write a run for each gap to the student without the teacher, in points of accuracy."""
    made = []
    for i, gap in enumerate(gaps):
        run = make_run(folder / f"run-{i}", seed=(seeds or range(9))[i], sampled=False)
        config = yaml.safe_load((run / "config.yaml").read_text())
        named = {"baseline": baseline.format(i)} if baseline else {}
        (run / "config.yaml").write_text(yaml.safe_dump({**config, **named}))
        result = json.loads((run / "result.json").read_text())
        for measure in result["measures"]:
            measure["primary"] = measure["name"] == "accuracy"
            if alone := measure["baselines"].get("without teacher"):
                of_it = gap if measure["primary"] else 0.0
                alone["value"] = measure["student"]["value"] - of_it
                alone["difference"] = [of_it - half, of_it + half]
        (run / "result.json").write_text(json.dumps(result))
        made.append(run)
    return made


def said_of(runs):
    remarks = over_trainings([*by_settings(read_accounts(runs)).values()])
    return [(remark.kind, remark.text) for remark in remarks]


@pytest.mark.parametrize(
    ("gaps", "half", "kind", "words"),
    [
        ([4.0, 4.4, 3.8, 4.2], 1.0, "for", "better than as many without the teacher in accuracy"),
        ([-4.0, -4.4, -3.8, -4.2], 1.0, "against", "worse than as many without the teacher"),
        ([4.0, -4.4, 3.8, 0.2], 1.0, "open", "cannot be told in accuracy"),  # seeds turn it
        ([4.0, 4.4, 3.8, 4.2], 6.0, "open", "cannot be told in accuracy"),  # rows are too few
        ([9.0, 5.0], 1.0, "open", "cannot be told in accuracy"),  # two seeds are hardly any
    ],
)
def test_seeds_and_rows_both_count(gaps, half, kind, words, tmp_path):
    [(found, text)] = said_of(trainings(tmp_path, gaps, half=half))
    assert found == kind
    assert words in text
    assert text.startswith(f"{len(gaps)} trainings like run-0, seeds 0, 1")
    mixed = over_seeds(gaps, [(gap - half, gap + half) for gap in gaps])
    assert f"{mixed.low:.1f} to {mixed.high:.1f} points" in text


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"baseline": "runs/alone"}, "are not one for each seed"),
        ({"baseline": None}, "are not one for each seed"),
        ({"seeds": [3, 3, 3]}, None),  # the same training three times is one
    ],
)
def test_without_a_baseline_for_each_seed_nothing_follows(known, words, tmp_path):
    found = said_of(trainings(tmp_path, [4.0, 4.1, 4.2], **known))
    assert [kind for kind, _ in found] == ([] if words is None else ["open"])
    assert words is None or words in found[0][1]


def test_the_page_and_the_summary_say_it_above_all_runs(tmp_path):
    runs = trainings(tmp_path, [4.0, 4.4, 3.8, 4.2])
    page = write_report(runs, tmp_path / "report.html")
    words = "better than as many without the teacher in accuracy"
    assert words in page.read_text()
    assert words in page.with_suffix(".md").read_text()
