"""Tests for asterism/bench/differences.py: rows of a table beside its first one."""

import json

import numpy as np
import pytest
import yaml

from asterism.bench import as_csv, as_markdown, read_grid

ROWS = 400


def grid_of(folder, accuracies, *, rows=True, measure="accuracy"):
    """Write a grid whose cells are finished: for each method the accuracy by seed, in per cent."""
    seeds = len(next(iter(accuracies.values())))
    methods = {name: {} if i == 0 else {"method": "KD"} for i, name in enumerate(accuracies)}
    text = {"out": str(folder / "g"), "common": {"data": "digits"}, "seeds": [*range(seeds)],
            "pairs": {"p": {"teacher": "t", "student": "mlp"}}, "methods": methods}  # fmt: skip
    (folder / "grid.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    grid = read_grid(folder / "grid.yaml")
    for cell in grid.cells:
        share = accuracies[cell.method][cell.seed] / 100
        cell.run.path.mkdir(parents=True)
        nested = {
            "accuracy": {"classification": {"top1": share}},
            "recall@1": {"retrieval": {"recall": {"1": share}}},
        }[measure]
        result = {"student": nested, "rows": ROWS, "seconds_per_step": None}
        (cell.run.path / "result.json").write_text(json.dumps(result))
        right = np.random.default_rng(7).permutation(ROWS) < share * ROWS
        if rows:
            index = np.arange(ROWS)
            np.savez(cell.run.path / "evaluation.npz", row=index, correct=right.astype(np.int8))
    return grid


@pytest.mark.parametrize(
    ("first", "other", "rows", "told"),
    [
        ([80.0, 80.5, 80.2, 79.9], [88.0, 88.6, 88.1, 88.0], True, "better"),
        ([80.0, 80.5, 80.2, 79.9], [72.0, 72.6, 72.1, 72.0], True, "worse"),
        ([80.0, 86.5, 74.0, 79.9], [88.0, 80.0, 83.0, 70.0], True, "cannot tell"),
        ([80.0, 80.5, 80.2], [80.1, 80.5, 80.0], False, "equal"),
        ([80.0], [90.0], True, "better ¹"),
    ],
)
def test_differences_are_paired_by_seed_and_by_sample(first, other, rows, told, tmp_path):
    table = as_markdown(grid_of(tmp_path, {"plain": first, "KD": other}, rows=rows))
    mean = np.mean(np.subtract(other, first))
    line = next(line for line in table.splitlines() if line.startswith("| p | KD"))
    assert f"| {mean:+.1f} (" in line
    assert f", {told} |" in line
    assert "| beside plain |" in table
    assert ("¹ One seed: of these students" in table) == (len(first) == 1)


def test_one_seed_without_samples_has_no_interval(tmp_path):
    table = as_markdown(grid_of(tmp_path, {"plain": [80.0], "KD": [90.0]}, rows=False))
    assert "| +10.0 |" in table
    assert "better" not in table


def test_without_a_classifier_it_is_recall(tmp_path):
    values = {"plain": [70.0, 70.2, 70.1], "KD": [80.0, 80.2, 80.2]}
    assert ", better |" in as_markdown(grid_of(tmp_path, values, measure="recall@1"))


@pytest.mark.parametrize(("others", "told"), [(0, "better"), (20, "cannot tell")])
def test_with_more_rows_each_must_be_surer(others, told, tmp_path):
    """Holm: what is shown beside one other row is not shown as one of twenty."""
    values = {"plain": [80.0, 80.0, 80.0], "KD": [82.0, 83.0, 84.0]}
    values |= {f"row {i}": [78.0, 82.0, 80.1] for i in range(others)}
    text = as_csv(grid_of(tmp_path, values, rows=False)).splitlines()
    assert next(line for line in text if line.startswith("p,KD")).endswith(f",{told}")
