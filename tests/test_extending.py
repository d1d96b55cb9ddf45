"""docs/extending.md is followed to the letter, in a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from asterism.cli import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
FILES = dict(re.findall(r"^```\w+ (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))


def register(file, imports):
    """Add import lines, and their names to `__all__`."""
    text = file.read_text()
    names = "".join(f'"{name}", ' for name in re.findall(r"import (\w+)", imports))
    file.write_text(text.replace("\n\n", f"\n\n{imports}", 1).replace("[", f"[{names}", 1))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the repository with the page's method in it."""
    root = tmp_path_factory.mktemp("package")
    for name in ("asterism", "docs", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "fixtures")
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "asterism" / "methods" / "dcor.py").write_text(FILES["dcor.py"])
    (root / "tests" / "methods" / "test_dcor.py").write_text(FILES["tests/methods/test_dcor.py"])
    (root / "docs" / "methods" / "dcor.md").write_text(FILES["docs/methods/dcor.md"])
    for name in ("asterism/methods/__init__.py", "asterism/__init__.pyi"):
        register(root / name, FILES[name])
    table = root / "docs" / "methods.md"
    last = table.read_text().rindex("](methods/")
    end = table.read_text().index("\n", last) + 1
    table.write_text(table.read_text()[:end] + FILES["docs/methods.md"] + table.read_text()[end:])
    return root


def run(package, *words):
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_pages_method_becomes_a_part_of_the_package(package):
    new = ["asterism/methods/dcor.py", "tests/methods/test_dcor.py"]
    code, said = run(package, "ruff", "check", "--fix", "asterism", *new)
    assert code == 0, said
    code, said = run(package, "ruff", "format", "--check", *new)
    assert code == 0, said
    chosen = ["tests/methods/test_dcor.py", "tests/test_contract.py", "tests/test_house.py"]
    code, said = run(package, "pytest", "-q", *chosen, "-k", "dcor or DCOR or names")
    assert code == 0, said
    # Its own 8, the contract's, and of the house: file, test, page and line; public names;
    # docstrings; telling file names.
    assert int(re.search(r"(\d+) passed", said)[1]) >= 25, said
    code, said = run(package, "asterism", "list")
    assert re.search(r"DCOR +Match which samples are near", said)


def test_a_method_of_ones_own_by_its_import_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    (tmp_path / "my_own_method.py").write_text(FILES["dcor.py"])
    (tmp_path / "my_broken_method.py").write_text("import torchh")
    (tmp_path / "my_unfinished_method.py").write_text("class A(:")
    train = ["train", "--model", "mlp", "--data", "digits", "--limit-steps", "1"]
    assert main([*train, "--out", "teacher"]) == 0
    distill = ["distill", "--teacher", "teacher", "--student", "mlp", "--data", "digits"]
    distill += ["--limit-steps", "1", "--out", "run"]
    own = ["--method", "my_own_method.DCOR", "--method.weight", "5"]
    assert main([*distill, *own]) == 0
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    assert config["method"] == [{"class_path": "my_own_method.DCOR", "init_args": {"weight": 5.0}}]
    assert "train/correlation" in Path("run/metrics.jsonl").read_text()
    assert main(["distill", "--config", "run/config.yaml", "--out", "again"]) == 0
    for name, message in (
        ("my_own_method.NIX", "module 'my_own_method' has no attribute 'NIX'"),
        ("my_own_method.dcor_loss", "unknown method 'my_own_method.dcor_loss': choose from"),
        ("my_broken_method.X", "No module named 'torchh'"),
        ("my_unfinished_method.X", "invalid syntax (my_unfinished_method.py, line 1)"),
    ):
        capsys.readouterr()
        assert main([*distill, "--method", name]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
