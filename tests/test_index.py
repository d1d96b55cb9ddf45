"""Indexes: what is near, of whose making, for whom, and in whose hands."""

import json
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from students import finished_run

import asterism
from asterism.cli import main
from asterism.index import build_index, folder, open_index, reach, searching
from asterism.index.searching import Cells, exhaustive, placed, within
from asterism.modality import ARRAY
from asterism.models import Spec
from asterism.vectors import embed

ARRAYS = Spec(None, (5,), mean=(0.0,), std=(1.0,), modality=ARRAY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    return finished_run(place / "run", "mlp?hidden=8&dim=6", ARRAYS, "", aligned=4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(file, np.random.default_rng(0).normal(size=(300, 5)).astype("float32"))
    return file


def one_by_one(rows, query, metric):
    """Rows and scores in order, by the definition."""
    if metric == "cosine":
        norms = [float(np.linalg.norm(x)) for x in (query, *rows)]
        scores = [
            query @ x / (norms[0] * n) if n else 0 for x, n in zip(rows, norms[1:], strict=True)
        ]
        return sorted(range(len(rows)), key=lambda i: (-scores[i], i)), scores
    scores = [float(np.linalg.norm(query - x)) for x in rows]
    return sorted(range(len(rows)), key=lambda i: (scores[i], i)), scores


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_nearest_rows_are_those_of_the_definition(metric, monkeypatch):
    monkeypatch.setattr(searching, "ROWS", 16)
    monkeypatch.setattr(searching, "QUERIES", 3)
    draw = np.random.default_rng(0)
    table = draw.normal(size=(50, 7)) + (0 if metric == "cosine" else 1000)
    table[3] = table[40] = table[17]  # equal ones come in their order
    table[9] = 0
    queries = np.concatenate([table[17][None], draw.normal(size=(6, 7)) + table[:6]])
    hits = exhaustive(placed(table, metric), placed(queries, metric), 60, metric)
    for query, positions, scores in zip(queries.astype("f"), *hits, strict=True):
        order, values = one_by_one(table.astype("f"), query.astype("d"), metric)
        assert np.allclose(
            scores[:50], np.array(values)[order], atol=1e-5 if metric == "cosine" else 2e-3
        )
        apart = np.diff(scores[:50]) != 0
        assert set(positions[:50]) == set(range(50))
        assert all(positions[i] == order[i] for i in range(49) if apart[max(0, i - 1)] and apart[i])
        assert (positions[50:] == -1).all()
        assert np.isnan(scores[50:]).all()
    assert hits.positions[0, :3].tolist() == [3, 17, 40]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_query_finds_the_nearest_rows_of_the_cells_it_looks_into(metric):
    table = placed(np.random.default_rng(0).normal(size=(60, 4)), metric)
    starts = np.array([0, 10, 10, 35, 60])  # one cell is empty
    centres = np.stack([table[a:b].mean(0) if b > a else table[0] for a, b in pairwise(starts)])
    everything = exhaustive(table, table, 8, metric)
    assert (
        within(table, Cells(centres, starts, 4), table, 8, metric).positions == everything.positions
    ).all()
    one = within(table, Cells(centres, starts, 1), table, 30, metric)
    cell = exhaustive(centres, table, 1, "euclidean").positions[:, 0]
    for row in range(60):
        inside = np.arange(starts[cell[row]], starts[cell[row] + 1])
        found = one.positions[row][one.positions[row] >= 0]
        wanted = (
            inside[
                exhaustive(table[inside], table[row][None], 30, metric).positions[0][: len(inside)]
            ]
            if len(inside)
            else inside
        )
        assert found.tolist() == wanted[:30].tolist()


def test_vectors_and_their_network_give_the_same_index(run, rows, tmp_path, capsys):
    build_index(run, rows, out=tmp_path / "a")
    for suffix, dtype in ((".npy", "float32"), (".safetensors", "int8")):
        embed(run, rows, out=tmp_path / f"v{suffix}", dtype=dtype)
        build_index(tmp_path / f"v{suffix}", rows, out=tmp_path / "b", overwrite=True)
        first, second = open_index(tmp_path / "a"), open_index(tmp_path / "b")
        assert np.allclose(first.vectors, second.vectors, atol=1e-6 if dtype == "float32" else 0.02)
        assert first.ids == second.ids == [str(i) for i in range(300)]
        assert first.rows.tolist() == second.rows.tolist() == list(range(300))
    with torch.no_grad():
        own = asterism.load(run)(torch.from_numpy(np.load(rows))).embedding.numpy()
    hits = first.search(own[:20], 3)
    assert hits.positions[:, 0].tolist() == list(range(20))
    assert first.search(own[:2], 10**12).positions.shape == (2, 300)
    near = first.near([7, 9], 2)
    assert near.positions.tolist() == [
        first.search(own[[i]], 3).positions[0, 1:].tolist() for i in (7, 9)
    ]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
        "ids.txt", "index.json", "rows.npy", "vectors.npy",
    ]  # fmt: skip


def test_an_index_is_replaced_whole_or_not_at_all(run, rows, tmp_path, monkeypatch):
    place = tmp_path / "i"
    with pytest.raises(ValueError, match="embeds data: name them, --data"):
        build_index(run, out=place)
    build_index(run, rows, out=place)
    with pytest.raises(ValueError, match="holds an index: replace it with --overwrite"):
        build_index(run, rows, out=place)
    before = {p.name: p.read_bytes() for p in place.iterdir()}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(
            "asterism.index.making.write_ids",
            lambda *given: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        build_index(run, rows, out=place, metric="euclidean", overwrite=True)
    assert {p.name: p.read_bytes() for p in place.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["i"]
    with pytest.raises(ValueError, match="is a file, and an index is a folder"):
        build_index(run, rows, out=rows, overwrite=True)
    (place / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match=r"holds thesis\.txt, which is no part of an index"):
        build_index(run, rows, out=place, overwrite=True)


def test_data_are_matched_by_id_and_what_has_no_row_is_not_shown(run, tmp_path, capsys):
    np.savez(tmp_path / "v.npz", embedding=np.eye(3, dtype="f"), id=["b", "x", "a"])
    (tmp_path / "t.csv").write_text(
        "id,text,label\na,first <b>,one\nb,second \x1b[31m,two\nc,third,one\n"
    )
    build_index(tmp_path / "v.npz", tmp_path / "t.csv", out=tmp_path / "i")
    assert open_index(tmp_path / "i").rows.tolist() == [1, -1, 0]
    page = tmp_path / "page.html"
    command = ["search", str(tmp_path / "i"), "--row", "b", "--out", str(page)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert re.search(r"0\.000\s+a\s+one\s+first <b>", told)
    assert "first &lt;b&gt;" in page.read_text()
    assert "<b>" not in page.read_text()
    (tmp_path / "t.csv").write_text("id,text\na,other\n")
    assert main(command) == 0
    assert "has other contents now" in capsys.readouterr().out
    np.savez(tmp_path / "v.npz", embedding=np.eye(3, dtype="f"), id=["p", "q", "r"])
    with pytest.raises(ValueError, match="no id in common: 'p' there, 'a' here"):
        build_index(tmp_path / "v.npz", tmp_path / "t.csv", out=tmp_path / "j")


def test_pictures_are_queries_and_answers(tmp_path, capsys):
    run = finished_run(tmp_path / "run", "convnet?width=4", Spec(None, (3, 8, 8)), "")
    for i in range(6):
        (tmp_path / "p" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        file = tmp_path / "p" / "ab"[i % 2] / f"{i}.png"
        Image.new("RGB", (9, 8), (i * 40, 90, 255 - 30 * i)).save(file)
    (tmp_path / "p" / "a" / "2.png").write_bytes(b"no picture")
    assert (
        main(["index", str(run), "--data", str(tmp_path / "p"), "--out", str(tmp_path / "i")]) == 0
    )
    told = capsys.readouterr().out
    assert "5 rows of 16 columns" in told
    assert "2.png" in told
    page = tmp_path / "page.html"
    query = ["--query", str(tmp_path / "p" / "b" / "3.png"), "--k", "2", "--out", str(page)]
    assert main(["search", str(tmp_path / "i"), *query]) == 0
    assert re.search(r"1\s+1\.000\s+b/3\.png\s+b\s", capsys.readouterr().out)
    assert page.read_text().count('class="picture" role="img"') == 2


def test_queries_come_from_the_network_of_the_index_or_through_the_map_to_it(
    run, rows, tmp_path, capsys
):
    teacher = finished_run(tmp_path / "teacher", "mlp?hidden=8&dim=4", ARRAYS, "")
    build_index(teacher, rows, out=tmp_path / "i", metric="euclidean")
    index, source_of = str(tmp_path / "i"), ["--data", str(rows)]
    assert main(["search", index, "--student", str(run), "--measure"]) == 2
    assert "vectors of another network than the student" in capsys.readouterr().err
    embed(teacher, rows, out=tmp_path / "v.npy")
    build_index(tmp_path / "v.npy", rows, out=tmp_path / "j")
    assert main(["search", str(tmp_path / "j"), "--measure"]) == 2
    assert "name the student that embeds the query, --student RUN" in capsys.readouterr().err
    assert main(["search", str(tmp_path / "j"), "--student", str(run), "--measure"]) == 2
    assert "6 columns" in capsys.readouterr().err
    assert main(["search", index, "--student", str(run), "--aligned", "--measure", *source_of]) == 0
    assert "300 of its rows as queries" in capsys.readouterr().out
    student, found = asterism.load(run, aligned=True), open_index(index)
    from asterism.index import data_of

    measured = reach(found, student, data_of(found)[0])
    table = torch.from_numpy(np.load(rows))
    with torch.no_grad():
        apart = torch.cdist(student(table).embedding, asterism.load(teacher)(table).embedding)
        own = torch.cdist(*[asterism.load(teacher)(table).embedding] * 2).fill_diagonal_(torch.inf)
    rank = (apart < apart.diagonal()[:, None]).sum(1)
    assert measured.own_item == pytest.approx(float((rank == 0).float().mean()))
    assert measured.own_item_among_ten == pytest.approx(float((rank < 10).float().mean()))
    near = own.topk(10, largest=False).indices
    asked = apart.fill_diagonal_(torch.inf).topk(10, largest=False).indices
    both = [len({*a} & {*b}) / 10 for a, b in zip(near.tolist(), asked.tolist(), strict=True)]
    assert measured.neighbours == pytest.approx(np.mean(both), abs=2e-3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.json", b"[" * 9000),
        ("index.json", b"{}"),
        ("vectors.npy", b"\x80\x04pickle"),
        ("starts.npy", None),
        ("ids.txt", b"one\n"),
        ("rows.npy", None),
    ],
)
def test_a_strangers_index_is_met_with_a_sentence(name, content, run, rows, tmp_path, capsys):
    build_index(run, rows, out=tmp_path / "i")
    file = tmp_path / "i" / name
    if name == "starts.npy":  # cells that lead past the end
        card = json.loads((tmp_path / "i" / "index.json").read_text())
        (tmp_path / "i" / "index.json").write_text(json.dumps({**card, "cells": 2, "probes": 1}))
        np.save(tmp_path / "i" / "centres.npy", np.zeros((2, 6), "f"))
        np.save(file, np.array([0, 10**9, 300]))
    elif content is None:
        np.save(file, np.full(300, 10**15))
    else:
        file.write_bytes(content)
    assert main(["search", str(tmp_path / "i"), "--row", "0"]) == 2
    assert f"{name} is damaged" in capsys.readouterr().err
    assert {p.name for p in (tmp_path / "i").iterdir()} <= {*folder.FILES}
