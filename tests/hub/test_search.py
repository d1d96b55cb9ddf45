"""Cells that faiss finds, and vectors in a database as docs/search.md puts them there."""

import re
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from students import finished_run

import asterism
from asterism.index import build_index, cells, open_index
from asterism.index.searching import exhaustive
from asterism.models import Spec

DOCS = Path(__file__).parents[2] / "docs" / "search.md"


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_cells_find_the_share_of_the_nearest_that_is_told(metric, tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="pip install 'asterism[search]'")
    draw = np.random.default_rng(0)
    centres, noise = draw.normal(size=(60, 12)), 0.4 * draw.normal(size=(4000, 12))
    table = centres[draw.integers(0, 60, 4000)] + noise
    np.save(tmp_path / "v.npy", table.astype("f"))
    monkeypatch.setattr("asterism.index.making.MANY", 4000)
    made = build_index(tmp_path / "v.npy", out=tmp_path / "i", metric=metric)
    index = open_index(tmp_path / "i")
    assert 0 < made.card.probes < made.card.cells == 126
    assert made.sight.recall == index.card.recall >= cells.WANTED
    back = np.argsort([int(name) for name in index.ids])
    exact = build_index(tmp_path / "v.npy", out=tmp_path / "e", metric=metric, search="exact")
    assert np.array_equal(index.vectors[back], open_index(exact.folder).vectors)
    rows = np.sort(np.random.default_rng(cells.SEED).permutation(4000)[: cells.QUERIES]).tolist()
    found = index.near(rows, 10).positions
    wanted = index.near(rows, 10, exact=True).positions
    alone = exhaustive(np.array(index.vectors), np.array(index.vectors[rows]), 11, metric)
    assert np.array_equal(wanted, alone.positions[:, 1:])
    share = np.mean([np.isin(a, b).mean() for a, b in zip(wanted, found, strict=True)])
    assert made.sight.recall == pytest.approx(share, abs=1e-9)
    again = build_index(tmp_path / "v.npy", out=tmp_path / "again", metric=metric)
    assert again.card == made.card


def test_the_vectors_go_into_sqlite_as_the_docs_say(tmp_path, monkeypatch):
    for name in ("apsw", "sqlite_vec"):
        pytest.importorskip(name, reason="pip install apsw sqlite-vec")
    vocabulary = {word: i for i, word in enumerate("[PAD] [UNK] a b c d e f g".split())}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    run = finished_run(
        tmp_path / "run", "text-static?width=6", Spec(None, None, tokenizer=tokenizer.to_str()), ""
    )
    monkeypatch.chdir(tmp_path)
    texts = [f"{a} {b} {a}" for a in "abcdefg" for b in "abcdefg"]
    Path("texts.txt").write_text("\n".join(texts) + "\n")
    asterism.embed(run, "texts.txt", out="vectors.parquet")
    build_index("vectors.parquet", out="index")
    code = re.search(r"```py\n(import apsw.*?)```", DOCS.read_text(), re.DOTALL)[1]
    names = {"query": asterism.load(run).embed("b c b").embedding[0].numpy()}
    exec(compile(code, str(DOCS), "exec"), names)
    hits = open_index("index").search(names["query"][None], 10)
    assert [distance for _, distance in names["found"]] == pytest.approx(
        (1 - hits.scores[0]).tolist(), abs=1e-5
    )
    assert names["found"][0][0] == str(texts.index("b c b"))
