"""An option that is added in one place works everywhere; the public functions have them all."""

import inspect
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import asterism
from asterism.index import build_index
from asterism.options import help_of, options_of, said_of
from asterism.recipe.keywords import SettingsByName
from asterism.request import CacheRequest, Request, typed_name
from asterism.settings import Settings

PACKAGE = Path(asterism.__file__).parent
VERBS = {"distill": asterism.distill, "train": asterism.train, "doctor": asterism.examine}

FIELD = '    sparkle: int = option(3, bounds={"at most": 9})\n'
HELP = "        sparkle: How much it glitters.\n"
TRY = r"""
import json, pathlib, sys, yaml
from asterism.cli import main
run = ["--model", "mlp", "--data", "digits", "--limit-steps", "2", "--no-check"]
def told(arguments, code):
    import contextlib, io
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            found = main(arguments)
        except SystemExit as ended:
            found = ended.code or 0
    assert found == code, (arguments, found, err.getvalue())
    return out.getvalue() + err.getvalue()
assert "How much it glitters." in told(["train", "--help", "all"], 0)
assert "How much it glitters." in told(["distill", "--help", "all"], 0)
assert "sparkle must be at most 9; got 10" in told(["train", *run, "--sparkle", "10"], 2)
told(["train", *run, "--out", "a", "--sparkle", "4"], 0)
assert yaml.safe_load(open("a/config.yaml"))["sparkle"] == 4
told(["train", "--config", "a/config.yaml", "--out", "b"], 0)
assert yaml.safe_load(open("b/config.yaml"))["sparkle"] == 4
assert "begun with sparkle 4; resuming with 5" in told(
    ["train", *run, "--out", "a", "--sparkle", "5", "--resume"], 2)
told(["train", *run, "--out", "a", "--sparkle", "4", "--resume"], 0)
told(["train", *run, "--out", "c"], 0)
assert "sparkle 3" in told(["compare", "a", "c", "--format", "markdown"], 0)
told(["doctor", "--student", "mlp", "--data", "digits", "--sparkle", "4", "--epochs", "1"], 0)
grid = {"common": {"data": "digits", "epochs": 1, "sparkle": 4, "limit_steps": 2},
        "pairs": {"p": {"student": "mlp"}}, "methods": {"m": {}}, "out": "grid"}
pathlib.Path("g.yaml").write_text(yaml.safe_dump(grid))
told(["bench", "g.yaml"], 0)
grid["common"]["sparkle"] = 5
pathlib.Path("g.yaml").write_text(yaml.safe_dump(grid))
assert "finished with sparkle 4, and the grid now says 5" in told(["bench", "g.yaml"], 2)
"""


def test_an_option_added_in_one_place_works_everywhere(tmp_path):
    """A copy of the package with one more field, and its line of help."""
    shutil.copytree(PACKAGE, tmp_path / "asterism", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "asterism" / "settings.py"
    text = file.read_text()
    for before, line in (("        seed: ", HELP), ("    seed: int = ", FIELD)):
        text = text.replace(before, line + before, 1)
    file.write_text(text)
    command = [sys.executable, "-c", TRY]
    environment = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert not done.returncode, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_the_public_functions_have_the_options_of_their_verbs(verb):
    """Names, defaults and what is said of them; the settings come as keywords."""
    parameters = inspect.signature(VERBS[verb]).parameters
    documented = help_of_arguments(VERBS[verb])
    said = help_of(Request)
    for each in options_of(Request, verb=verb):
        name = typed_name(each.name, verb)
        if each.name not in ("teacher", "student", "data"):
            assert parameters[name].default == each.default, name
        if verb == "distill":
            assert documented[name] == said[each.name], name
    known = {typed_name(each.name, verb) for each in options_of(Request, verb=verb)}
    extra = set(parameters) - known - {"settings", "callbacks"}
    assert not extra


def test_cache_has_the_options_of_its_request():
    parameters = inspect.signature(asterism.cache).parameters
    documented, said = help_of_arguments(asterism.cache), help_of(CacheRequest)
    assert set(parameters) == {each.name for each in options_of(CacheRequest)}
    for each in options_of(CacheRequest):
        if each.name not in ("teacher", "data", "out"):
            assert parameters[each.name].default == each.default
        assert documented[each.name] == said[each.name]


def test_the_settings_by_name_are_the_settings():
    assert typing.get_type_hints(SettingsByName) == typing.get_type_hints(Settings)


def test_every_option_is_documented():
    for kind in (Request, Settings, CacheRequest):
        assert {each.name for each in options_of(kind)} <= help_of(kind).keys()


def test_a_word_that_is_none_of_an_options_is_refused_from_python_too():
    """A misspelt optimiser would train with another one."""
    needed = {CacheRequest: {"teacher": "t", "data": "d", "out": "o"}}
    for kind in (Request, Settings, CacheRequest):
        chosen = [each.name for each in options_of(kind) if "Literal[" in str(each.type)]
        assert chosen
        for name in chosen:
            with pytest.raises(ValueError, match=f"^{name} must be one of .*; got 16"):
                kind(**{**needed.get(kind, {}), name: 16})


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (asterism.evaluate, "metric"), (asterism.probe, "metric"), (asterism.probe, "solver"),
        (asterism.embed, "dtype"), (build_index, "metric"), (build_index, "search"),
    ],
)  # fmt: skip
def test_words_of_other_verbs_are_looked_at_first(call, option, tmp_path):
    out = {"out": tmp_path / "x.npy"}
    with pytest.raises(ValueError, match=f"unknown {option} 'fair': choose from "):
        call(tmp_path / "nothing", data="digits", **out, **{option: "fair"})


def help_of_arguments(function):
    return said_of(function.__doc__, "Args")
