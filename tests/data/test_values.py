"""One reading of labels, ids and texts: the same written form means the same in every format.

docs/data.md has the table. What a format cannot write (CSV has no numbers, an array of text no
nothing) is left out of its row, never read otherwise.
"""

import json
import math
import unicodedata
import uuid

import numpy as np
import pytest
import torch
from PIL import Image

from asterism.data import ArraySource, TextSource, open_data, open_source
from asterism.data.values import read_ids, read_labels, read_texts

TEXTS = [f"text {i}" for i in range(6)]
NAN = math.nan
# Labels as they may be written; class of each row by name, None for rows that are left out.
FORMS = {
    "numbers": ([2, 0, 1, 1, 0, 2], ["2", "0", "1", "1", "0", "2"]),
    "whole floats": ([2.0, 0.0, 1.0, 1.0, 0.0, 2.0], ["2", "0", "1", "1", "0", "2"]),
    "floats, one missing": ([2.0, 0.0, NAN, 1.0, 0.0, 2.0], ["2", "0", None, "1", "0", "2"]),
    "unlabelled by -1": ([2, 0, -1, 1, -1, 2], ["2", "0", None, "1", None, "2"]),
    "numbers as text": (["2", "0", "1", "1.0", "0", "2"], ["2", "0", "1", "1", "0", "2"]),
    "numbers in blanks": ([" 2", "0 ", "1", "\t1", "0", "2"], ["2", "0", "1", "1", "0", "2"]),
    "more than nine": (["10", "2", "1", "0", "3", "10"], None),
    "missing in words": (["2", "nan", "1", "None", "0", ""], ["2", None, "1", None, "0", None]),
    "names": (
        ["cat", " dog", "cat ", "eel", "dog", "eel"], ["cat", "dog", "cat", "eel", "dog", "eel"]
    ),
    "names, some blank": (
        ["cat", "", "dog", "  ", "eel", "cat"], ["cat", None, "dog", None, "eel", "cat"]
    ),
    "a name that says none": (["cat", "none", "cat", "none", "cat", "none"], ["cat", "none"] * 3),
    "two normal forms": (
        [unicodedata.normalize(form, x) for x in ("café", "té") for form in ("NFC", "NFD", "NFD")],
        ["café"] * 3 + ["té"] * 3,
    ),
    "names and numbers": (["1", "cat", "2", "cat", "1", "2"], ["1", "cat", "2", "cat", "1", "2"]),
    "truth": ([True, False, True, False, True, True], ["1", "0", "1", "0", "1", "1"]),
}  # fmt: skip
REFUSED = {
    "similarity": ([0.5, 3.25, 1.0, 0.0, 2.0, 2.0], "no whole number"),
    "similarity as text": (["0.5", "3.25", "1.0", "0.0", "2.0", "2.0"], "no whole number"),
    "below": ([0, 1, -2, 0, 1, 2], "-2 is below 0"),
    "identifiers": ([10**9, 10**9 + 1, 1, 2, 3, 4], "no number of a class"),
    "infinite": ([0.0, 1.0, math.inf, 0.0, 1.0, 2.0], "no whole number"),
}


def as_csv(labels, path):
    rows = ["" if x is None or x != x else str(x) for x in labels]
    lines = [f"{text},{label}" for text, label in zip(TEXTS, rows, strict=True)]
    path.with_suffix(".csv").write_text("\n".join(["text, label", *lines, "", ""]), "utf-8")
    return str(path.with_suffix(".csv"))


def as_tsv(labels, path):
    rows = ["" if x is None or x != x else str(x).strip("\t") for x in labels]
    lines = [f"{text}\t{label}" for text, label in zip(TEXTS, rows, strict=True)]
    path.with_suffix(".tsv").write_text("\n".join(["text\tlabel ", *lines, ""]), "utf-8")
    return str(path.with_suffix(".tsv"))


def as_json(labels, path):
    rows = zip(TEXTS, labels, strict=True)
    lines = "\n\n".join(json.dumps({"text": text, "label": label}) for text, label in rows)
    path.with_suffix(".jsonl").write_text(lines)
    return str(path.with_suffix(".jsonl"))


def as_archive(labels, path):
    np.savez(path.with_suffix(".npz"), x=np.eye(6, dtype=np.float32), y=np.array(labels))
    return str(path.with_suffix(".npz"))


def as_parquet(labels, path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.table({"text": TEXTS, "label": labels}), path.with_suffix(".parquet"))
    return str(path.with_suffix(".parquet"))


def as_datasets(labels, path):
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict({"text": TEXTS, "label": labels})


def as_frame(labels, path):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"text": TEXTS, "label": labels}).sample(frac=1, random_state=0)


def as_list(labels, path):
    return list(zip(TEXTS, labels, strict=True))


def as_items(labels, path):
    return [(torch.eye(6)[i], label) for i, label in enumerate(labels)]


def as_numpy_items(labels, path):
    return [(np.eye(6)[i], label) for i, label in enumerate(np.array(labels))]


def as_arrays(labels, path):
    return ArraySource(torch.eye(6), labels)


def as_texts(labels, path):
    return TextSource(TEXTS, np.array(labels))


FORMATS = [
    as_csv, as_tsv, as_json, as_archive, as_parquet, as_datasets, as_frame, as_list, as_items,
    as_numpy_items, as_arrays, as_texts,
]  # fmt: skip


def written_by(write, labels):
    """Return whether a format can write labels as they are."""
    if write in (as_csv, as_tsv) and any(isinstance(x, bool) for x in labels):
        return False  # it writes `True`, a name
    return not (write is as_tsv and any("\t" in str(x) for x in labels))


@pytest.mark.parametrize("write", FORMATS, ids=lambda f: f.__name__[3:])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_means_the_same_in_every_format(form, write, tmp_path):
    labels, classes = FORMS[form]
    if not written_by(write, labels):
        pytest.skip("cannot be written so")
    source = open_source(write(labels, tmp_path / "a"))
    if write is as_frame:  # shuffled
        order = [int(text.split()[1]) for text in source.texts]
        classes = classes and [classes[row] for row in order]
        labels = [labels[row] for row in order]
    classes = classes or labels
    got = [source.names[number] for number in source.targets.tolist()]
    assert [None if row in source.unusable else name for row, name in enumerate(got)] == classes
    assert all(reason.startswith("no label") for reason in source.unusable.values())
    batch = source.__getitems__(range(6))
    assert len(batch.index) + len(batch.broken) == 6
    if all(name is None or name.isdecimal() for name in classes):
        assert [source.names[int(n)] for n in classes if n] == [n for n in classes if n]


@pytest.mark.parametrize("write", FORMATS, ids=lambda f: f.__name__[3:])
@pytest.mark.parametrize("form", REFUSED)
def test_what_is_no_label_is_refused_in_every_format(form, write, tmp_path):
    labels, message = REFUSED[form]
    data = write(labels, tmp_path / "a") if write not in (as_arrays, as_texts) else None
    with pytest.raises(ValueError, match=rf"in row \d of .*{message}"):
        open_source(data) if data is not None else write(labels, tmp_path)


def test_scalars_of_other_libraries_are_what_they_hold():
    names = ["a", "b", "c"]
    read = read_labels([np.int64(2), torch.tensor(0), np.str_("b"), b"b", np.float32(1)], 5, names)
    assert read.targets.tolist() == [2, 0, 1, 1, 1]
    assert read_labels([1, "1", 0], 3, ["1", "0"]).targets.tolist() == [1, 0, 0]  # a name is one
    for odd in ([0, 1], {"a": 1}, torch.zeros(2)):
        with pytest.raises(ValueError, match="in row 2 of"):
            read_labels([0, odd], 2)
    for names, message in ((4, "must be a list of texts"), (["a", "a "], "'a' comes twice")):
        with pytest.raises(ValueError, match=message):
            read_labels([0, 1], 2, names)


def test_ids_and_texts():
    one = uuid.UUID(int=7)
    values = [7.0, 8, " a ", b"b", one, None, None, NAN, "a", "café"]
    values[5] = uuid.UUID(int=9).bytes
    ids, missing = read_ids([*values, "cafe\u0301"], 11)
    assert ids[:6] == ["7", "8", "a", "b", str(one), str(uuid.UUID(int=9))]
    assert missing == {
        6: "no id", 7: "no id", 8: "an id that an earlier row has",
        10: "an id that an earlier row has",
    }  # fmt: skip
    with pytest.raises(ValueError, match="must name one row each; 9 rows have 2 different"):
        read_ids(["u1", "u2"] + ["u1"] * 7, 9)
    texts, missing = read_texts(["a", np.str_("b"), b"c", "", " \t", None, NAN, 3, "\ud83d", "😀"])
    assert texts == ["a", "b", "c", "", "", "", "", "", "", "😀"]
    assert missing == {
        3: "no text", 4: "no text", 5: "no text", 6: "no text",
        7: "no text, but a value of type int",
        8: "no valid text: it holds half of a character",
    }  # fmt: skip


def folder_of(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (8, 8), (90, 9, 9)).save(root / name / f"{i}.png")
    return root


TWELVE = [str(i) for i in range(12)]


@pytest.mark.parametrize(
    ("training", "other", "mapped"),
    [
        (TWELVE, "npz of 0 to 11", TWELVE),  # folders come in another order, 10 before 2
        ("csv of 0 to 11", ["10", "2"], ["10", "2"]),
        (["cat", "dog", "eel"], ["eel", "cat"], ["cat", "eel"]),
        ("csv of names", "csv of some names", ["eel"]),
        (["cat", "dog"], "npz of 0 to 1", ["cat", "dog"]),  # one side has no names: by number
        (["cat", "dog"], ["emu", "cat"], ["cat", "emu"]),  # a class of its own
        (["3", "7"], "npz of 0 to 1", ["0", "1"]),
        ("csv of 0 to 2", "csv of some names", "cannot be matched: one side has names and"),
    ],
)
def test_classes_of_the_parts_are_matched_by_name(training, other, mapped, tmp_path):
    def made(what, name):
        if isinstance(what, list):
            return folder_of(tmp_path / name, what)
        kind, last = what.split(" of ")
        known = {"names": ["cat", "dog", "eel"], "some names": ["eel"]}
        names = known.get(last) or [str(i) for i in range(int(last.split()[-1]) + 1)]
        if kind == "npz":
            x = np.zeros((3 * len(names), 8, 8, 3), np.uint8)
            np.savez(tmp_path / f"{name}.npz", x=x, y=np.repeat(np.arange(len(names)), 3))
            return str(tmp_path / f"{name}.npz")
        lines = [f"{i}.png,{n}" for i, n in enumerate(names * 3)]
        text = "\n".join(["path,label", *lines, ""])
        (tmp_path / f"{name}.csv").write_text(text)
        return str(tmp_path / f"{name}.csv")

    one, two = made(training, "one"), made(other, "two")
    if isinstance(mapped, str):
        with pytest.raises(ValueError, match=mapped):
            open_data(one, test=two, image_size=8)
        return
    data = open_data(one, test=two, image_size=8)
    names = {data.test.names[number] for number in data.test.targets.tolist()}
    assert names == set(mapped)
    if isinstance(other, list):
        rows = zip(data.test.ids, data.test.targets.tolist(), strict=True)
        assert all(name.split("/")[0] == data.test.names[number] for name, number in rows)
    batch = data.test.__getitems__(range(len(data.test)))
    if len(batch.index):
        assert batch.target.tolist() == data.test.targets[batch.index].tolist()
