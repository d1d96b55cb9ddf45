"""Tests for asterism/names.py: what stands behind the `?` arrives as typed, or is refused."""

import pytest
from torch import nn

from asterism.cli import main
from asterism.data import open_source
from asterism.models import Spec, build
from asterism.models.build import named
from asterism.names import joined_name, split_name


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
