"""Tests for asterism/names.py: what stands behind the `?` arrives as typed, or is refused."""

import re
from pathlib import Path

import pytest
from torch import nn

from asterism.cli import main
from asterism.data import open_source
from asterism.models import Spec, build
from asterism.models.build import named
from asterism.names import file_name, joined_name, located, resolved, split_name
from asterism.request import Request


@pytest.mark.parametrize("value", ["a+b c.safetensors", "x=y", "50%", "ü&?", "1"])
def test_values_arrive_as_they_were_typed(value):
    whole = joined_name("path/to/file.py:make", {"weights": value, "width": "8"})
    assert split_name(whole) == ("path/to/file.py:make", {"weights": value, "width": "8"})


def test_a_plus_is_no_space():
    assert split_name("mlp?weights=c++/a b.safetensors")[1] == {"weights": "c++/a b.safetensors"}


@pytest.mark.parametrize("query", ["weights=", "weights", "width=8&weights=", "=a"])
def test_an_argument_without_a_value_is_no_default(query):
    with pytest.raises(ValueError, match="has no value: write resnet20\\?key=value"):
        named(f"resnet20?{query}")
    with pytest.raises(ValueError, match="has no value"):
        open_source(f"table.csv?{query}")


def test_a_teacher_whose_weights_are_an_empty_variable_is_refused(capsys):
    """It would be random, and teach that."""
    assert main(["distill", "--teacher", "resnet20?weights=", "--student", "mlp",
                 "--data", "digits"]) == 2  # fmt: skip
    assert "'weights=' of resnet20?weights= has no value" in capsys.readouterr().err


def test_names_stay_text_and_other_values_are_what_yaml_makes_of_them():
    assert named("a.py:f?weights=2024-01-01&embedding=1&tokenizer=7")[1] == {
        "weights": "2024-01-01", "embedding": "1", "tokenizer": "7"
    }  # fmt: skip
    found = named("a.py:f?width=8&rate=0.5&pretrained=false&sizes=[1, 2]&day=2024-01-01&odd=[")[1]
    assert found == {"width": 8, "rate": 0.5, "pretrained": False, "sizes": [1, 2],
                     "day": "2024-01-01", "odd": "["}  # fmt: skip


def test_a_submodule_of_a_sequence_can_be_the_embedding(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n"
        "def make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Linear(5, 7))\n"
    )
    model = build(f"{file}:make?embedding=1", Spec(7, (1, 8, 8)))
    assert isinstance(model.module.get_submodule(model.embedding), nn.Linear)
    assert model.embedding == "1"


@pytest.mark.parametrize(
    ("typed", "placed"),
    [
        ("~/runs/a", "HOME/runs/a"),
        (Path("~/runs/a"), Path("HOME/runs/a")),
        ("~", "HOME"),
        ("~/net.py:make?weights=~/w&width=8", "HOME/net.py:make?weights=HOME/w&width=8"),
        ("~backup.csv", "~backup.csv"),
        ("a/~/b", "a/~/b"),
        ("digits", "digits"),
        ("hf/org/name?split=train", "hf/org/name?split=train"),
        ("timm/hf-hub:org/name", "timm/hf-hub:org/name"),
        ("data.csv?text=$price", "data.csv?text=$price"),
        ("../a b.csv", "../a b.csv"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_home_folder_is_written_out_and_other_names_stay(tmp_path, monkeypatch, typed, placed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("~backup.csv").write_text("a")
    expected = str(placed).replace("HOME", str(tmp_path))
    assert located(typed) == type(placed)(expected)


ELSEWHERE = {
    "s3://bucket/data.csv": "is a place on s3:, ",
    "az://bucket/data.csv": "is a place on az:, (which needs adlfs: pip install|.* copy it to)",
    "ftp://host/data.csv": "is a place on ftp:, .* copy it to this machine",
    "s3:/bucket/run": "is a place on s3:",
    "gs:bucket": "is a place on gs:",
    "me@host.org:/data": "is a place on host.org:",
    "file:///data.csv": "write the path itself",
    "$HOME/data.csv": "holds a variable, which only a shell writes out",
    "${DATA}/data.csv": "holds a variable",
    "~nobody-here/a": "begins with a home folder that there is not",
    "a\0b": "a character that no path has",
}


@pytest.mark.parametrize("typed", ELSEWHERE)
@pytest.mark.parametrize("option", ["model", "data", "out", "test-data"])
def test_places_elsewhere_are_refused_at_every_door(tmp_path, monkeypatch, capsys, typed, option):
    monkeypatch.chdir(tmp_path)
    options = {"model": "mlp", "data": "digits", "out": "r", option: typed}
    assert main(["train", *(f"--{name}={value}" for name, value in options.items())]) == 2
    assert re.search(ELSEWHERE[typed], capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        "evaluate {}", "align {}", "report {}", "report r --out {}.html",
        "compare {}", "cache --teacher mlp --data digits --out {}", "embed {} --data a --out b.npy",
        "embed r --data a --out {}.npy", "bench {}",
        "train --config {}", "doctor --student mlp --data {}", "export {} --to state",
    ],
)  # fmt: skip
def test_all_verbs_have_the_same_door(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert main(command.format("s3://bucket/x").split()) == 2
    assert "s3" in (said := capsys.readouterr().err), said
    assert len(said.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_names_mean_the_same_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "w.safetensors", "digits", "text"):
        Path(name).write_text("a")
    assert resolved("a.csv?text=text") == f"{tmp_path}/a.csv?text=text"
    assert resolved("mlp?weights=w.safetensors") == f"mlp?weights={tmp_path}/w.safetensors"
    assert [resolved(name) for name in ("digits", "nothing.csv")] == ["digits", "nothing.csv"]


def test_a_file_name_is_of_letters_digits_and_dashes():
    assert file_name("../RKD + [x]\x1b/µ") == "rkd-x-µ"


def test_several_names_are_one_text_of_a_teacher_alone():
    """A list of texts is data: what stands in it is no name."""
    from asterism.request import Request

    texts = ["how do I get there? 1", "~/x costs $HOME", "s3://bucket/x"]
    request = Request(teacher=["a", Path("~/b")], student="mlp", data=texts)
    assert request.data is texts
    plain = request.plain()
    assert plain["data"] == "python:builtins.list"
    assert plain["teacher"] == f"a + {Path.home() / 'b'}"


def test_only_teachers_are_several(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "a + ~/b"
    assert located(name) == name
    assert located(name, several=True) == f"a + {Path.home() / 'b'}"
    (tmp_path / "b").mkdir()
    assert resolved("a + b") == "a + b"
    assert resolved("a + b", several=True) == f"a + {tmp_path / 'b'}"
    request = Request(teacher=name, data=name, student="mlp", out=name)
    assert (request.teacher, request.data, str(request.out)) == (
        f"a + {Path.home() / 'b'}", name, name
    )  # fmt: skip
