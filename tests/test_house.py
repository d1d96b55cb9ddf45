"""The rules of the house (CONTRIBUTING.md), as far as a test can hold them."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import asterism
from asterism import methods

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "asterism").rglob("*.py"))
METHOD_FILES = [
    p for p in SOURCES if p.parent.name == "methods" and p.stem not in ("__init__", "base")
]


@pytest.mark.parametrize("path", METHOD_FILES, ids=lambda p: p.stem)
def test_a_method_is_one_file_one_test_one_page_and_a_line(path):
    name = path.stem
    assert (ROOT / "tests" / "methods" / f"test_{name}.py").exists()
    assert (ROOT / "docs" / "methods" / f"{name}.md").exists()
    assert f"](methods/{name}.md)" in (ROOT / "docs" / "methods.md").read_text()
    assert any(inspect.getfile(getattr(methods, method)) == str(path) for method in methods.__all__)


def test_public_names_are_complete_and_sorted():
    for module in (asterism, methods):
        assert module.__all__ == sorted(module.__all__, key=_ruff_order)
        assert all(hasattr(module, name) for name in module.__all__)
    exported = set(re.findall(r"import \w+ as (\w+)", (ROOT / "asterism/__init__.py").read_text()))
    assert exported == set(asterism.__all__)
    assert set(methods.__all__) <= set(asterism.__all__)


def _ruff_order(name):
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name


def test_files_stay_short_and_have_telling_names():
    for path in SOURCES:
        assert len(path.read_text().splitlines()) <= 350, path
        assert path.stem not in ("utils", "common", "core", "helpers", "misc"), path


def test_nothing_unpickles():
    bad = r"pickle\.load|weights_only=False|allow_pickle=True|trust_remote_code=True|yaml\.load\("
    for path in SOURCES:
        assert not re.search(bad, path.read_text()), path


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_name_the_arguments_there_are(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        documented = re.search(
            r"\n\s*Args:\n(.*?)(\n\s*\n|\Z)", ast.get_docstring(node) or "", re.S
        )
        if documented:
            names = re.findall(r"^    \**(\w+):", documented[1], re.M)
            arguments = [a.arg for a in (*node.args.args, *node.args.kwonlyargs)]
            arguments += [a.arg for a in (node.args.vararg, node.args.kwarg) if a]
            assert names == [a for a in arguments if a not in ("self", "cls")], node.name
