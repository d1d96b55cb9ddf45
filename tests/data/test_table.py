"""Tests for asterism/data/tables.py, columns.py and texts.py."""

import json
import uuid

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from asterism.data import open_data, open_source


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def all_of(source):
    return source.__getitems__(range(len(source)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'id,text,label\n7,"one, two\nthree",x\n8,four,w\n'),
        ("a.csv", '\ufeffid,text,label\r\n7,"one, two\nthree",x\r\n8,four,w\r\n'),
        (
            "a.jsonl",
            '{"id": 7, "text": "one, two\\nthree", "label": "x"}\n'
            '{"label": "w", "text": "four", "id": 8, "other": [1]}\n',
        ),
    ],
)
def test_texts_labels_and_ids(name, content, tmp_path):
    source = open_source(write(tmp_path / name, content))
    assert source.modality.name == "text"
    assert all_of(source).views[0] == ["one, two\nthree", "four"]
    assert source.names == ("w", "x")
    assert all_of(source).target.tolist() == [1, 0]
    assert list(source.ids) == ["7", "8"]


def test_a_tab_separated_table_has_no_quotes(tmp_path):
    path = write(tmp_path / "a.tsv", 'sentence\tscore\nhe said "hi\t3\n"\t4\n')
    source = open_source(path)
    assert all_of(source).views[0] == ['he said "hi', '"']
    assert source.targets is None  # no column is named label
    assert open_source(f"{path}?label=score").targets.tolist() == [3, 4]


def test_columns_may_be_named(tmp_path):
    path = write(tmp_path / "a.csv", "text,title,topic\nA,B,2\nC,D,0\n")
    source = open_source(f"{path}?text=title&label=topic")
    assert all_of(source).views[0] == ["B", "D"]
    assert source.targets.tolist() == [2, 0]
    assert source.names == ("0", "1", "2")  # whole numbers are class numbers as they stand
    for query, message in (
        ("text=nix", "has the columns text, title, topic; there is no text column 'nix'"),
        (
            "txt=title",
            r"takes no argument 'txt' \(did you mean text\?\): it takes text, image, array",
        ),
        ("text=title&image=text", "name one column of samples, not text and image"),
    ):
        with pytest.raises(ValueError, match=message):
            open_source(f"{path}?{query}")
    unusual = write(tmp_path / "b.csv", "a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"has the columns a, b: name the one to use, \?text="):
        open_source(unusual)


def test_unusable_rows_are_left_out_and_named(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\nA,x\n,y\nB,\nC,y,z\nD,y\n")
    batch = all_of(open_source(path))
    assert batch.views[0] == ["A", "D"]
    assert batch.index.tolist() == [0, 4]
    assert batch.target.tolist() == [0, 1]
    assert list(batch.broken) == [
        f"{path}, row 2 (no text)",
        f"{path}, row 3 (no label)",
        f"{path}, row 4 (with 3 cells instead of 2)",
    ]
    lines = write(tmp_path / "a.jsonl", '{"text": "A"}\n{"text": 3}\nnonsense\n')
    assert [b.split(" (")[1] for b in all_of(open_source(lines)).broken] == [
        "no text, but a value of type int)", "no JSON object)",
    ]  # fmt: skip


def test_test_data_use_the_classes_of_the_training_data(tmp_path):
    train = write(tmp_path / "a.csv", "text,label\n" + "A,x\nB,y\nC,z\n" * 10)
    test = write(tmp_path / "b.csv", "text,label\nA,z\nB,x\n")
    data = open_data(train, test=test)
    assert data.test.targets.tolist() == [2, 0]
    strange = write(tmp_path / "c.csv", "text,label\nA,q\n")
    data = open_data(train, test=strange)  # a class of its own comes after theirs
    assert data.test.targets.tolist() == [3]
    assert (data.class_names, data.test.names[3]) == (("x", "y", "z"), "q")


def test_tables_of_pictures(tmp_path):
    for i in range(3):
        Image.new("RGB", (9, 9), (80 * i, 0, 0)).save(tmp_path / f"{i}.png")
    path = write(tmp_path / "a.csv", "path,label\n0.png,a\n1.png,b\nnix.png,a\n,b\n2.png,b\n")
    source = open_source(path, image_size=8)
    batch = all_of(source)
    assert batch.views[0][:, 0, 0, 0].tolist() == [0, 80, 160]
    assert batch.target.tolist() == [0, 1, 1]
    named = [broken.split(" (")[0].split("/")[-1] for broken in batch.broken]
    assert named == ["nix.png", "a.csv, row 4"]
    assert list(source.ids)[:3] == ["0.png", "1.png", "nix.png"]
    assert len(source.fingerprint()) == 16


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\n", "needs a first line with the columns' names, and rows"),
        ("a.csv", "text,label\n,x\n,y\n", "has no row that can be used: row 1 has no text"),
        ("a.jsonl", "nonsense\n", "must hold one JSON object per line"),
        ("a.csv", f"text,label\na,{10**20}\n", "100000000000000000000 is no number of a class"),
        ("a.csv", "text,label, text \na,b,c\n", "has several columns 'text': rename all but"),
        ("a.csv", 'text,label\nx,1\n"y,2\nz,3\n"w,4\n', "the row that begins in line 3, .*quote"),
        ("a.csv", 'text,label\nx,1\n"y,2\n', "the row that begins in line 3, unexpected end"),
        ("a.txt", "\n\n", "has no row that can be used"),
    ],
)
def test_says_what_is_wrong(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        open_source(write(tmp_path / name, content))


def test_not_utf_8(tmp_path):
    for name in ("a.csv", "a.txt"):
        (tmp_path / name).write_bytes(b"text\n\xff\xfe\n")
        with pytest.raises(ValueError, match=f"cannot read .*{name}"):
            open_source(tmp_path / name)


def test_lines_of_a_text_file(tmp_path):
    path = write(tmp_path / "a.txt", "one\ntwo \u2028 still two\n\nfour")
    batch = all_of(open_source(path))
    assert batch.views[0] == ["one", "two \u2028 still two", "four"]
    assert list(batch.broken) == [f"{path}, row 3 (no text)"]


class Texts:
    classes = ("calm", "loud")

    def __len__(self):
        return 3

    def __getitem__(self, i):
        return ["a", "B", "c"][i], [0, 1, 0][i]


def test_texts_of_the_users():
    for given in (Texts(), DataLoader(Texts(), batch_size=2)):
        source = open_source(given)
        assert source.names == ("calm", "loud")
        assert source.__getitems__([1, 2]).views[0] == ["B", "c"]
    assert open_source(["a", "b"]).targets is None


def test_texts_differ_by_fingerprint():
    one, two, other = (
        open_source(x).fingerprint() for x in (["ab", "c"], ["ab", "c"], ["a", "bc"])
    )
    assert one == two != other


def test_parquet(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="pip install 'asterism[parquet]'")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"text": ["a", None, "c"], "label": [2, 0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    batch = all_of(open_source(tmp_path / "a.parquet"))
    assert batch.views[0] == ["a", "c"]
    assert batch.target.tolist() == [2, 1]
    (tmp_path / "b.parquet").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"cannot read .*b\.parquet"):
        open_source(tmp_path / "b.parquet")
    from asterism.teachers.stored import open_stored

    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    table = arrow.table({"id": ["0", "2", "1"], "vector": list(rows)})
    parquet.write_table(table, tmp_path / "c.parquet")
    stored = open_stored(tmp_path / "c.parquet", {"embedding": "vector"})
    index = torch.tensor([1])
    outputs = stored.on(open_source(["x", "y", "z"])).clean(index, ["y"])
    assert outputs.embedding.tolist() == [[4.0, 5.0]]
    uuids = [uuid.UUID(int=number) for number in (5, 6)]
    ids = arrow.array([x.bytes for x in uuids], arrow.uuid())
    table = arrow.table({"id": ids, "vector": [[1.0, 2.0], [3.0, 4.0]]})
    parquet.write_table(table, tmp_path / "d.parquet")
    stored = open_stored(tmp_path / "d.parquet", {"embedding": "vector"})
    assert list(stored.rows) == list(map(str, uuids))
    parquet.write_table(arrow.table({"vector": [[1.0, 2.0], None]}), tmp_path / "e.parquet")
    with pytest.raises(
        ValueError, match="'vector' must hold 2 numbers in each row.*row 2 has noth"
    ):
        open_stored(tmp_path / "e.parquet", {"embedding": "vector"})


def test_a_deeply_nested_line_is_a_broken_row(tmp_path):
    lines = json.dumps({"text": "a"}) + "\n" + "[" * 100_000 + "\n"
    assert len(all_of(open_source(write(tmp_path / "a.jsonl", lines))).broken) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"text;label\na;x\nb;y\n", "looks like several: .* not by ';'"),
        ("a.csv", b"text\tlabel\na\tx\n", r"looks like several: .* not by '\\t'"),
        ("a.csv", "text,label\na,x\n".encode("utf-16"), "not UTF-8 .*: save it as UTF-8"),
        ("a.txt", "one\ntwo\n".encode("utf-16"), "not UTF-8 .*: save it as UTF-8"),
        ("a.npz", np.eye(2)[[0, 1] * 4], r"shape \(8, 2\)\. Store y\.argmax\(1\), if"),
        ("a.npz", np.arange(8)[:, None] % 2, r"shape \(8, 1\)\. Store y\[:, 0\]\."),
    ],
)
def test_what_another_program_wrote_is_refused_with_the_way_out(tmp_path, name, content, said):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, x=np.zeros((8, 4, 4), np.uint8), y=content)
    with pytest.raises(ValueError, match=said):
        open_data(str(path))
