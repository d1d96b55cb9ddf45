"""Tests for asterism/report: what is read, what is written, and what is refused in words."""

import base64
import hashlib
import html
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from report.folders import make_run

from asterism.cli import main
from asterism.report import render, write_report
from asterism.report.pictures import sheet
from asterism.run import RunError
from asterism.words import readable

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</script><!--",
    "\u202egnp.exe",
    "long" * 2_500,
    "| `pipe` [link](x) @all",
)


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.raw = ["html"], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags[-1] in ("script", "style"):
            self.raw.append(data)
        else:
            self.text += data


@pytest.mark.parametrize("texts", [None, HOSTILE])
def test_hostile_names_stay_text(tmp_path, texts):
    make_run(tmp_path / "run", names=HOSTILE, texts=texts)
    config = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(config + "added: '<b onload=x>'\n")
    page = Page(render([tmp_path / "run"]))
    assert page.tags.count("script") == 3
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    assert "longlon…" in page.text
    assert "long" * 100 not in page.text
    data = next(raw for raw in page.raw if raw.startswith("[{"))
    assert "<" not in data
    assert json.loads(data)[0]["map"]["classes"]


def test_the_page_asks_for_nothing_and_allows_its_own_scripts_only(tmp_path):
    text = render([make_run(tmp_path / "run")])
    page = Page(text)
    policy = html.unescape(re.search(r'content="(default-src[^"]*)"', text)[1])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{found}'" for found in hashes)
    assert len(scripts) == 2
    assert policy.startswith(f"default-src 'none'; script-src {allowed};")
    assert "connect-src" not in policy
    links = [value for name, value in page.attributes if name in ("src", "href", "action")]
    assert [x for x in links if not x.startswith(("#", "data:,"))] == []
    style = next(raw for raw in page.raw if ":root" in raw)
    assert set(re.findall(r"url\((.{11})", style)) == {"data:image/"}
    assert "@import" not in style


def test_all_parts_are_there_and_in_order(tmp_path):
    runs = [make_run(tmp_path / "a_0"), make_run(tmp_path / "a_1", seed=1, shift=2)]
    text = Page(render(runs)).text
    order = [
        "The student keeps 91 %", "Side by side", "83.6 ± 1.4", "Before you ship it",
        "Accuracy 82.6 % (81.1 to 84.1), the teacher's 90.6",
        "At 31.9 % of the teacher's parameters",
        "In accuracy it is no different from the same student without the teacher",
        "one training each", "Not known: what other seeds", "Every measure",
        "by the bootstrap of an older version",
        "Beside the same student trained without the teacher: no different in accuracy",
        "73.6 to 76.6", "Training, term by term", "Distances: teacher and student",
        "Neighbours kept", "Class by class", "The map", "Queries", "The worst", "Drawn at random",
    ]  # fmt: skip
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "accuracy, recall@1 and neighbour overlap@10" in text


def test_what_a_run_does_not_have_is_left_out(tmp_path):
    def headings(name, **options):
        text = render([make_run(tmp_path / name, **options)])
        return re.findall(r"<h3[^>]*>([^<]+)</h3>", text)

    always = ["Before you ship it", "Every measure", "Training, term by term"]
    beside = [*always, "Distances: teacher and student", "Neighbours kept"]
    all_of = [*beside, "Classes that go together", "Class by class"]
    shown = ["The map", "Queries", "Where it comes from"]
    assert headings("all") == [*all_of, *shown]
    assert headings("no labels", labels=False) == [*beside, *shown]
    assert headings("no teacher", beside=False) == [*always, "Class by class", *shown]
    assert headings("no sample", sampled=False) == [*always, "Class by class", shown[-1]]


def test_runs_of_older_versions_are_shown(tmp_path):
    run = make_run(tmp_path / "run", sampled=False)
    cost = {"parameters": 100, "bytes": 400, "embedding_dim": 8, "latency_ms": {"1": 0.5}}
    model = {"classification": {"top1": 0.826}, "retrieval": {"recall": {"1": 0.75}}, "cost": cost}
    old = {
        "split": "test", "rows": 500, "student": model, "teacher": model,
        "fidelity": {"agreement": 0.9, "neighbour_overlap": {"10": None}},
    }  # fmt: skip
    (run / "result.json").write_text(json.dumps(old))
    write_report([run], tmp_path / "report.html")
    data = json.loads((tmp_path / "report.json").read_text())["runs"][0]
    values = {m["name"]: m["student"]["value"] for m in data["measures"]}
    assert values["accuracy"] == pytest.approx(82.6)
    assert values["agreement"] == pytest.approx(90)
    assert "neighbour overlap" not in values
    assert "No baselines were measured" in (tmp_path / "report.md").read_text()
    assert "RKD: accuracy 82.6 % (teacher 82.6)" in data["headline"]


def test_json_and_markdown_have_the_same_numbers(tmp_path):
    run = make_run(tmp_path / "run", names=HOSTILE)
    out = write_report([run], tmp_path / "out" / "page.html")
    data = json.loads(out.with_suffix(".json").read_text())["runs"][0]
    overlap = np.load(run / "evaluation.npz")["overlap"].astype(float).mean(0) * 100
    rows = np.array(data["figures"]["overlap"]["rows"])
    assert np.allclose(rows[:, 1], overlap)
    assert np.allclose(rows[:, 4], 100 * np.arange(1, 21) / 59)
    assert ((rows[:, 2] < rows[:, 1]) & (rows[:, 1] < rows[:, 3])).all()
    assert [c["name"] for c in data["per_class"]] == list(HOSTILE)
    worst = [query["kept"] for query in data["queries"]["worst"]]
    all_of = np.sort(np.load(run / "evaluation.npz")["overlap"][:, 9].astype(float))
    assert np.allclose(worst, all_of[: len(worst)])
    summary = out.with_suffix(".md").read_text()
    assert "| accuracy, % | 82.6 (81.1 to 84.1) |" in summary
    assert "<script>" not in summary


def test_the_neighbours_of_a_query_are_marked(tmp_path):
    run = make_run(tmp_path / "run")
    out = write_report([run], tmp_path / "report.html")
    arrays = np.load(run / "evaluation.npz")
    for query in json.loads(out.with_suffix(".json").read_text())["runs"][0]["queries"]["random"]:
        near = {
            w: arrays[f"{w}_neighbours"][query["row"], :8].tolist() for w in ("teacher", "student")
        }
        for who, other in (("teacher", "student"), ("student", "teacher")):
            assert [n["row"] for n in query[who]] == near[who]
            assert [n["shared"] for n in query[who]] == [i in near[other] for i in near[who]]
            same = [arrays["target"][i] == arrays["target"][query["row"]] for i in near[who]]
            assert [n["same_class"] for n in query[who]] == same


def test_distances_are_summed_up_by_tenths(tmp_path):
    run = make_run(tmp_path / "run")
    out = write_report([run], tmp_path / "report.html")
    rows = json.loads(out.with_suffix(".json").read_text())["runs"][0]["figures"]["distances"][
        "rows"
    ]
    arrays = np.load(run / "evaluation.npz")
    teacher, student = (arrays[f"pair_distance_{w}"].astype(float) for w in ("teacher", "student"))
    first = np.argsort(teacher, kind="stable")[:60]
    assert rows[0][0] == pytest.approx(teacher[first].mean() / teacher.mean(), rel=1e-5)
    assert rows[0][2] == pytest.approx(np.median(student[first]) / student.mean(), rel=1e-5)


def test_pictures_are_exact_or_small():
    draw = np.random.default_rng(0)
    digits = draw.integers(0, 256, (10, 8, 8, 3), np.uint8)
    exact = sheet(digits, most_bytes=10_000)
    assert (exact.columns, exact.rows) == (4, 3)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(exact.uri.partition(",")[2]))))
    assert (pixels[8:16, 16:24] == digits[6]).all()
    assert exact.style(6) == "background-position:66.667% 50.000%"
    photographs = draw.integers(0, 256, (100, 64, 64, 3), np.uint8)  # noise: the worst case
    assert len(sheet(photographs, most_bytes=100_000).uri) < 4 / 3 * 100_000 + 100


def test_large_samples_stay_small_files(tmp_path):
    names = [f"class {i}" for i in range(150)]
    run = make_run(tmp_path / "run", names=names, n=2_000, side=64)
    assert write_report([run], tmp_path / "report.html").stat().st_size < 8e6


def ruin(path, name, content):
    (path / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("result.json", b'{"measures": [{"group": "task"', "result.json is damaged"),
        ("result.json", b'{"measures": [{"group": "tusk", "name": 1}]}', "group is 'tusk'"),
        ("result.json", b'{"measures": 3}', "result.json is damaged"),
        ("result.json", b'{"student": 3}', "result.json is damaged"),
        ("result.json", b'{"measures": [], "per_class": [{"class": "a"}]}', "damaged: KeyError"),
        ("metrics.jsonl", b"[1, 2]\n", "metrics.jsonl is damaged: a line has no step"),
        ("metrics.jsonl", b"{\n", "metrics.jsonl is damaged"),
        ("evaluation.npz", b"PK\x03\x04", "evaluation.npz is damaged"),
        ("config.yaml", b"a: [", "config.yaml is damaged"),
    ],
)
def test_a_damaged_folder_is_one_sentence_and_exit_code_2(tmp_path, capsys, name, content, message):
    ruin(make_run(tmp_path / "run"), name, content)
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "r.html")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("student_map", np.zeros((60, 3), np.float32)),
        ("teacher_neighbours", np.full((60, 20), 60, np.int32)),
        ("thumbnails", np.zeros((60, 8, 8), np.uint8)),
        ("target", np.zeros(3, np.int64)),
        ("texts", np.zeros(60, np.int64)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, name, array):
    run = make_run(tmp_path / "run")
    np.savez(run / "evaluation.npz", **{**np.load(run / "evaluation.npz"), name: array})
    with pytest.raises(RunError, match=f"{name} is .*, which does not fit 60 rows"):
        render([run])


def test_texts_of_unknown_origin_become_readable():
    assert readable("a\x00b\n\u2066c\ud800") == "a b c"
    assert readable("x" * 61) == "x" * 59 + "…"
    assert len(readable("y" * 10**7, 20)) == 20
    assert readable("مرحبا\u200f!") == "مرحبا\u200f!"
