"""The rules of the house (CONTRIBUTING.md), as far as a test can hold them."""

import ast
import inspect
import re
import subprocess
import sys
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
    stub = (ROOT / "asterism/__init__.pyi").read_text()
    exported = re.findall(r"import \w+ as (\w+)", stub)
    listed = re.findall(r'"(\w+)"', stub.split("__all__")[1])
    assert listed == sorted(exported, key=_ruff_order)
    assert set(listed) == set(asterism.__all__)
    assert methods.__all__ == sorted(methods.__all__, key=_ruff_order)
    for module in (asterism, methods):
        assert all(hasattr(module, name) for name in module.__all__)
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
            arguments = [a.arg for a in node.args.args]
            arguments += [a.arg for a in (node.args.vararg,) if a]
            arguments += [a.arg for a in node.args.kwonlyargs]
            arguments += [a.arg for a in (node.args.kwarg,) if a]
            assert names == [a for a in arguments if a not in ("self", "cls")], node.name


# The public verbs and losses name their options one by one.
FLAT = {"distill", "train", "examine", "cache", "embed", "export", "probe"} | {
    n for n in asterism.__all__ if n.endswith("_loss")
}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_short_and_have_few_parameters(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef) or node.name in FLAT:
            continue
        documented = isinstance(node.body[0], ast.Expr) and len(node.body) > 1
        begin = node.body[1].lineno if documented else node.lineno
        assert node.end_lineno - begin < 50, node.name
        arguments = [*node.args.args, *node.args.kwonlyargs]
        configures = (
            node.name == "__init__" and not node.args.args[1:]
        )  # a method, a model, a module
        names = [a.arg for a in arguments if a.arg not in ("self", "cls")]
        assert len(names) <= 8 or configures, (node.name, names)


def test_what_is_told_goes_through_one_function():
    """Names spell out what a terminal would obey: `words.tell`, and verbs by `printable`."""
    for path in SOURCES:
        if path.parent.name != "cli" and path.name != "words.py":
            assert not re.search(r"(?<![\w.])print\(", path.read_text()), path


def test_seeds_never_come_from_pythons_hash():
    for path in SOURCES:
        assert not re.search(r"(?<![.\w])hash\(", path.read_text()), path


def test_what_a_run_folder_tells_needs_no_torch():
    code = "import asterism.report, asterism.run, asterism.request, sys\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_tree_in_the_docs_is_the_packages():
    """Every folder and file at the top of the package has its line, and no other has one."""
    shown = (ROOT / "docs" / "architecture.md").read_text().split("asterism/\n")[1].split("\n\n")[0]
    named = set(re.findall(r"^ {6}([a-z_]+(?:/|\.py)) ", shown, re.MULTILINE))
    there = {f"{p.name}/" for p in (ROOT / "asterism").iterdir() if (p / "__init__.py").exists()}
    there |= {p.name for p in (ROOT / "asterism").glob("*.py") if not p.name.startswith("__")}
    assert there <= named, there - named
    assert named <= there, named - there
