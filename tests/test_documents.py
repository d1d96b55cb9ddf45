"""Tests for asterism/documents.py."""

import math
import os

import pytest

from asterism.documents import (
    DEEPEST,
    MOST_YAML,
    as_yaml,
    parse_json,
    read_file,
    read_json,
    read_yaml,
    replacing,
)

BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]\n" for i in range(10))
DEEP = DEEPEST + 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BOMB, "with what its aliases repeat it has more than"),
        ("a: &a [*a]", "stands for what it is a part of"),
        ("a: &a {b: 1}\nc: {<<: [" + ", ".join(["*a"] * 15_000) + "]}", "more than"),
        ("a: " + "[" * DEEP + "]" * DEEP, "nested deeper"),
        ("a: " + "[" * 100_000, "nested deeper"),
        ("a: " + "{b: " * DEEP, "nested deeper"),
        (f"a: {'x' * MOST_YAML}", "has more than 1 MB"),
        ("a: !!python/object/apply:os.mkdir [x]", "could not determine a constructor"),
        ("a: !!binary aGk=", "holds a bytes, which is no plain value"),
        ("a: !!bool x", "x"),
        ("a: 1\na: 2", "'a' stands twice in the mapping from line 1 on"),
        ("1: a\n'1': b", "'1' stands twice"),
        ("[a]: 1", "a name in it is a list or a mapping"),
        ("a: " + "9" * 30, "a number in it is too large"),
        ("- 1", "it holds no names with values"),
        ("", "it holds no names with values"),
        ("a: \x00", "unacceptable character"),
    ],
)
def test_yaml_that_repeats_climbs_or_runs_is_refused(tmp_path, text, reason):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=reason):
        read_yaml(tmp_path / "a.yaml")


def test_yaml_means_what_it_says(tmp_path):
    """A name is a text whatever it looks like, 1e-3 a number and a date a text."""
    (tmp_path / "a.yaml").write_text(
        "a: &a {lr: 1e-3, at: 2020-01-01}\nb: {<<: *a, lr: .5}\nno: yes\n1: =\n"
    )
    assert read_yaml(tmp_path / "a.yaml") == {
        "a": {"lr": 0.001, "at": "2020-01-01"},
        "b": {"lr": 0.5, "at": "2020-01-01"},
        "no": True,
        "1": "=",
    }


def test_what_is_written_is_read_back(tmp_path):
    shared = [1.0, None]
    value = {
        "texts": ["1e-3", "2020-01-01", "12", "yes", "", "=", "a: b", "ü\x1b\u202e\n", "~", "<<"],
        "numbers": [1e-3, 1e300, -0.5, 12, True, math.inf, 10.0],
        "shared": [shared, shared], "yes": {"1": "x"},
    }  # fmt: skip
    (tmp_path / "a.yaml").write_text(as_yaml(value), encoding="utf-8")
    assert read_yaml(tmp_path / "a.yaml") == value
    assert "&" not in as_yaml(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested deeper"),
        ("[" * DEEP + "]" * DEEP, "nested deeper"),
        ('{"a": ' + "9" * 5_000 + "}", "digits"),
        ('{"a": ' + "9" * 30 + "}", "too large"),
        ("{", "Expecting"),
        ("\udcff", "decode"),
    ],
)
def test_json_is_bounded_too(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text.encode(errors="surrogateescape"))


def test_only_regular_files_are_read(tmp_path):
    """A pipe that nobody writes into, a device without end and a folder are told at once."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match="and a file is needed"):
            read_file(path)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nothing")


def test_what_is_replaced_is_replaced_whole_and_no_link_is_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "page").symlink_to("precious")
    with pytest.raises(KeyError), replacing(tmp_path / "page") as file:
        file.write_text("half")
        raise KeyError
    assert (tmp_path / "page").read_text() == "years of work"
    with replacing(tmp_path / "page") as file:
        file.write_text("whole")
    assert (tmp_path / "page").read_text() == "whole"
    assert (tmp_path / "precious").read_text() == "years of work"
    assert {p.name for p in tmp_path.iterdir()} == {"page", "precious"}
