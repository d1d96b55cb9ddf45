"""Tests for asterism/verdict: what is said of students whose worth is known."""

import json

import pytest
import torch

from asterism.measures import Cost
from asterism.types import Outputs
from asterism.verdict import judgement as judging
from asterism.verdict.baselines import reductions
from asterism.verdict.judgement import judge
from asterism.verdict.outputs import Observed
from asterism.verdict.table import MEASURES, cost_notes

N, LEARNT, WIDTH, CLASSES = 400, 300, 12, 5
COSTS = {
    "student": Cost(100, 400, WIDTH, {1: 1.0, 64: 8.0}, 200),
    "teacher": Cost(1000, 4000, WIDTH, {1: 2.0, 64: 32.0}, 2000),
}
NAMES = ("ant", "bee", "cat", "dog", "eel")
TARGET = torch.arange(N + LEARNT) % CLASSES


def seen(embedding, logits=None, *, labels=True):
    known, learnt = (
        Outputs(embedding[part], None if logits is None else logits[part])
        for part in (slice(N), slice(N, None))
    )
    target = (TARGET[:N], TARGET[N:]) if labels else (None, None)
    return Observed(known, target[0], torch.arange(N), learnt, target[1])


@pytest.fixture
def taught(embeddings):
    """A teacher's embedding of five overlapping classes, and logits that are mostly right."""
    rows = embeddings(N + LEARNT, WIDTH) + 1.5 * embeddings(CLASSES, WIDTH, seed=1)[TARGET]
    logits = torch.eye(CLASSES)[TARGET] * 3 + embeddings(N + LEARNT, CLASSES, seed=2)
    return rows, logits


def judged(student, teacher, baselines=None, **options):
    found = judge(student, teacher, baselines or {}, names=NAMES, costs=options.pop("costs", COSTS))
    return found, {(m["name"], m["k"]): m for m in found["measures"]}


def test_a_rotated_copy_keeps_everything_but_the_index(taught, embeddings):
    rows, logits = taught
    turned = 5 * rows @ torch.linalg.qr(embeddings(WIDTH, WIDTH, 3)).Q - 1
    teacher = seen(rows, logits)
    assert reductions(teacher, WIDTH) == {}  # at full width it would be the teacher
    found, by_key = judged(seen(turned, logits), teacher)
    perfect = {
        ("agreement", None): 100, ("divergence", None): 0, ("neighbour overlap", 10): 100,
        ("nearest neighbour found", 10): 100, ("trustworthiness", 10): 1, ("continuity", 10): 1,
        ("distance correlation", None): 1, ("distance error", None): 0, ("angle error", None): 0,
        ("linear CKA", None): 1, ("own item, rotated", 1): 100, ("own item, linear map", 1): 100,
    }  # fmt: skip
    for key, value in perfect.items():
        assert by_key[key]["student"]["value"] == pytest.approx(value, abs=1e-4), key
    for key in (("accuracy", None), ("recall", 1), ("MAP@R", None), ("k-NN accuracy", None)):
        ours, theirs = by_key[key]["student"], by_key[key]["teacher"]
        assert ours["value"] == pytest.approx(theirs["value"]), key
    raw = by_key["own item, as it is", 1]
    assert raw["student"]["value"] < 2
    assert "As good as chance (0.25 %)" in raw["note"]
    assert "relations alone cannot search the teacher's index without a map" in raw["note"]
    assert by_key["own item, rotated", 1]["note"] is None
    low, high = by_key["accuracy", None]["beside_teacher"]
    assert low == -high
    assert 0 < high < 1  # equal on these rows, and to a point on others
    assert found["headline"].startswith("The student keeps 100 % of the teacher's accuracy (")
    assert (
        "with 10 % of its parameters and 4.0 times its speed in batches of 64" in found["headline"]
    )
    assert "100 % of its ten nearest neighbours" in found["headline"]
    assert "class" not in found["headline"]


def test_verdicts_tell_better_from_worse_and_from_chance(taught, embeddings):
    rows, logits = taught
    noise = embeddings(N + LEARNT, WIDTH, seed=5)
    noisy_logits = embeddings(N + LEARNT, CLASSES, seed=6)
    student = seen(rows + 0.5 * noise, logits + 0.1 * noisy_logits)
    baselines = {
        "untrained": seen(noise, noisy_logits),
        "without teacher": seen(rows + 0.5 * noise, logits + 0.1 * noisy_logits),
        "better": seen(rows + 0.05 * noise, 9 * torch.eye(CLASSES)[TARGET]),
    }
    found, by_key = judged(student, seen(rows, logits), baselines)
    higher = [key for key in by_key if key[0] in MEASURES and MEASURES[key[0]][0] == "fidelity"]
    for key in (("accuracy", None), ("recall", 1), *higher):
        verdicts = {who: b["verdict"] for who, b in by_key[key]["baselines"].items()}
        # An untrained classifier is near an unsure teacher by its nature.
        assert verdicts["untrained"] == (None if key[0] == "divergence" else "better"), key
        scaled = key[0] not in ("distance error", "angle error")
        assert verdicts["without teacher"] == ("equal" if scaled else "cannot tell"), key
        if key[0] not in ("recall", "agreement", "divergence") and key[1] != 20:
            assert verdicts["better"] == "worse", key
        low, high = by_key[key]["baselines"]["without teacher"]["difference"]
        assert low <= 0 <= high
    assert by_key["calibration error", None]["baselines"]["untrained"]["verdict"] is None
    assert by_key["accuracy", None]["primary"]
    assert sum(m["primary"] for m in by_key.values()) == 1
    assert (
        "in accuracy it is no better than the same student trained without the teacher (one "
        "training each, and other seeds may turn it)"
    ) in found["headline"]


def test_noise_against_noise_cannot_be_told(taught, embeddings):
    """Two strangers to the teacher: hardly any report tells them apart anywhere."""
    rows, logits = taught
    verdicts = []
    for seed in range(4):
        one, two = (seen(embeddings(N + LEARNT, WIDTH, seed=s)) for s in (20 + seed, 40 + seed))
        _, by_key = judged(one, seen(rows, logits), {"untrained": two})
        verdicts += [
            m["baselines"]["untrained"]["verdict"] for m in by_key.values() if m["baselines"]
        ]
    assert {"better", "worse"} & set(verdicts) == set()


def test_a_collapsed_student_is_called_collapsed(taught):
    rows, logits = taught
    _, by_key = judged(seen(torch.ones(N + LEARNT, WIDTH)), seen(rows, logits))
    assert by_key["effective rank", None]["student"]["value"] == 0
    assert by_key["effective rank", None]["teacher"]["value"] > 8
    assert by_key["anisotropy", None]["student"]["value"] == pytest.approx(1)
    assert by_key["dead dimensions", None]["student"] == {"value": WIDTH, "low": None, "high": None}
    assert ("distance correlation", None) not in by_key
    assert by_key["neighbour overlap", 10]["student"]["value"] < 10
    assert "No such map brings" in by_key["own item, linear map", 1]["note"]


def test_a_narrower_student_gets_a_map_or_an_explanation(taught):
    rows, logits = taught
    _, by_key = judged(seen(rows[:, :8]), seen(rows, logits))
    raw = by_key["own item, as it is", 10]
    assert raw["student"] is None
    assert "the student has 8 columns and the teacher 12" in raw["note"]
    assert by_key["own item, linear map", 10]["student"]["value"] > 50
    same, own = by_key["same class, linear map", 1], by_key["recall", 1]
    assert same["teacher"] == own["teacher"]


def test_the_worst_class_is_the_one_that_lost_most(taught):
    rows, logits = taught
    lost = logits.clone()
    lost[TARGET == 2] = lost[TARGET == 2].roll(1, 1)
    found, by_key = judged(seen(rows, lost), seen(rows, logits))
    assert found["worst_class"] == "cat"
    assert "; it loses most on class 'cat' (" in found["headline"]
    assert [row["class"] for row in found["per_class"] if row["lost"]] == ["cat"]
    table = {row["class"]: row for row in found["per_class"]}
    assert list(table) == list(NAMES)
    right = (logits[:N].argmax(1) == TARGET[:N]).double()
    assert table["dog"] == {
        "class": "dog", "number": 3, "count": 80, "lost": False,
        "student": pytest.approx(100 * float(right[TARGET[:N] == 3].mean())),
        "teacher": pytest.approx(100 * float(right[TARGET[:N] == 3].mean())),
    }  # fmt: skip
    worst = by_key["worst class", None]
    assert worst["student"]["value"] == pytest.approx(table["cat"]["student"])
    assert worst["teacher"]["value"] == pytest.approx(table["cat"]["teacher"])
    assert worst["note"].startswith("Class 'cat', 80 rows. It lost most against the teacher.")


def test_a_few_rows_show_no_class_to_have_lost(taught):
    """Four rows of a class, half of them lost, beside 40 classes: luck."""
    rows, logits = taught
    rare = torch.tensor([2, 7, 12, 17])  # rows of the class 'cat'
    others = torch.arange(N)[TARGET[:N] == 2]
    kept = torch.ones(N, dtype=torch.bool)
    kept[others] = False
    kept[rare] = True
    lost = logits.clone()
    lost[rare[:2]] = lost[rare[:2]].roll(1, 1)

    def some(logits):
        one = seen(rows, logits)
        part = Outputs(one.outputs.embedding[kept], one.outputs.logits[kept])
        return Observed(part, one.target[kept], one.index[kept], one.learnt, one.learnt_target)

    found, by_key = judged(some(lost), some(logits))
    assert {row["class"]: row["count"] for row in found["per_class"]}["cat"] == 4
    assert found["worst_class"] is None
    assert ("worst class", None) not in by_key
    assert "class" not in found["headline"]


@pytest.mark.parametrize("n", [1, 5, 10])
def test_what_is_undefined_has_a_reason_and_no_value(taught, n):
    """One row per class: no query has a partner, and few rows have no ten neighbours."""
    rows, _ = taught
    model = Observed(Outputs(rows[:n]), torch.arange(n), torch.arange(n), Outputs(rows[:0]), None)
    found = judge(model, model, {}, names=[str(i) for i in range(n)], costs={})
    by_key = {(m["name"], m["k"]): m for m in found["measures"]}
    for key in (("recall", 1), ("recall", 10), ("MAP@R", None)):
        assert by_key[key]["student"] is None
        assert f"none of the {n} queries has another row" in by_key[key]["note"]
    if n > 1:
        assert by_key["neighbour overlap", 10]["student"] is None
        assert "10 neighbours are all that there are" in by_key["neighbour overlap", 10]["note"]
    assert found["headline"] == (
        "There are too few rows to tell what the student keeps of its teacher."
    )
    assert found["student"]["retrieval"]["recall"][1] is None


def test_where_no_query_has_a_partner_the_headline_is_of_the_nearest_training_rows(taught):
    rows, _ = taught
    known = Outputs(rows[5:25]), torch.arange(20) % 5
    model = Observed(Outputs(rows[:5]), torch.arange(5), torch.arange(5), *known)
    costs = {"student": COSTS["student"]}
    found = judge(model, None, {}, names=list("abcde"), costs=costs)
    share = 100 * found["student"]["knn"]
    assert found["headline"].startswith(f"The model reaches {share:.1f} % k-NN accuracy with 100 ")


def test_figures_say_over_how_many_rows_and_what_chance_brings(taught):
    rows, _ = taught
    target = torch.cat([torch.arange(20) // 10, torch.tensor([7])])
    model = Observed(Outputs(rows[:21]), target, torch.arange(21), Outputs(rows[:0]), None)
    found = judge(model, model, {}, names=[str(i) for i in range(8)], costs={})
    by_key = {(m["name"], m["k"]): m for m in found["measures"]}
    assert by_key["recall", 1]["student"]["count"] == 20
    assert by_key["recall", 1]["note"] == (
        "Over 20 of 21 queries: the rest have no other row of their class. By chance 45 %."
    )
    assert by_key["neighbour overlap", 10]["note"] == "By chance 50 %."
    assert by_key["neighbour overlap", 1]["note"] is None


def test_without_a_teacher_or_labels(taught):
    rows, logits = taught
    costs = {"student": COSTS["student"]}
    found, by_key = judged(seen(rows, logits), None, costs=costs)
    accuracy = by_key["accuracy", None]["student"]["value"]
    assert found["headline"] == (
        f"The model reaches {accuracy:.1f} % accuracy with 100 parameters; no teacher was given "
        "to compare it with."
    )
    assert by_key["accuracy", None]["teacher"] is None
    assert "fidelity" not in found
    unlabelled = seen(rows[:, :8], labels=False)
    found = judge(unlabelled, seen(rows, labels=False), {}, names=None, costs=COSTS)
    assert {m["group"] for m in found["measures"]} == {
        "fidelity",
        "health",
        "compatibility",
        "cost",
    }
    assert found["per_class"] == []
    assert (
        "of the teacher's ten nearest neighbours with 10 % of its parameters" in found["headline"]
    )


def test_records_follow_the_schema_and_are_ready_for_json(taught, embeddings):
    rows, logits = taught
    student = seen(rows + 0.3 * embeddings(N + LEARNT, WIDTH, seed=4), logits)
    found, by_key = judged(student, seen(rows, logits), {"untrained": seen(rows, logits)})
    assert json.loads(json.dumps(found, allow_nan=False))["rows"] == N
    assert len(by_key) == len(found["measures"])
    for record in found["measures"]:
        assert set(record) == {
            "group", "name", "k", "unit", "better", "primary", "student", "teacher",
            "beside_teacher", "baselines", "note",
        }  # fmt: skip
        group, unit, better = MEASURES[record["name"]]
        assert (record["group"], record["unit"], record["better"]) == (group, unit, better)
        shown = [record["student"], record["teacher"], *record["baselines"].values()]
        for one in filter(None, shown):
            if one["low"] is not None:
                assert one["low"] <= one["value"] + 1e-9
                assert one["value"] <= one["high"] + 1e-9
        if group == "cost":
            assert record["baselines"] == {}
            assert record["student"]["low"] is None
    assert found["sampling"] == {
        "rows": N, "pairs": 50_000, "triplets": 50_000, "seed": 0, "confidence": 0.95,
        "level": 0.05,
    }  # fmt: skip


def test_many_samples_are_searched_with_some(taught, monkeypatch):
    monkeypatch.setattr(judging, "QUERIES", 50)
    monkeypatch.setattr(judging, "SEARCHED", 100 * N)
    rows, logits = taught
    found, by_key = judged(seen(rows, logits), seen(rows, logits))
    assert found["sampling"]["rows"] == 100
    assert by_key["neighbour overlap", 10]["student"]["value"] == 100
    full = found["student"]["classification"]["top1"]
    assert by_key["accuracy", None]["student"]["value"] == pytest.approx(100 * full)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        (Cost(9, 9, 2, {8: 5.0}, 9, {8: (4.0, 6.0)}, 5, "an abacus"), "of the teacher's 4 to 6."),
        (Cost(9, 9, 2, {}, 9, machine="a loom"), "were taken on a loom, which is not this."),
        (Cost(9, 9, 2, {1: 2.0}, 9, machine="an abacus"), "on an abacus, of other batches."),
        (None, "half of them took 1 to 1.5 ms."),
    ],
)
def test_times_come_with_their_spread_and_machine(teacher, said):
    own = Cost(5, 5, 2, {8: 1.2}, 5, {8: (1.0, 1.5)}, 20, "an abacus")
    costs = {"student": own} if teacher is None else {"student": own, "teacher": teacher}
    note = cost_notes(costs)["latency", 8]
    assert note.startswith("Median of 20 passes, warmed up, on an abacus; half of them took 1 to")
    assert note.endswith(said)
