"""Every Python block and every `$ asterism …` line of README and docs runs."""

import re
import runpy
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import asterism
from asterism.cli import VERBS, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def found(pattern, page):
    return re.findall(pattern, page.read_text(), re.DOTALL | re.MULTILINE)


PAGES_OF_METHODS = sorted((ROOT / "docs" / "methods").glob("*.md"))
WITH_CODE = [page for page in PAGES if found(r"^```python\n", page)]
COMMANDS = [
    pytest.param(line, id=f"{page.relative_to(ROOT)}-{i}")
    for page in PAGES
    for i, line in enumerate(found(r"^\$ asterism (.*?[^\\])$", page))
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder in which the commands of the docs find what they name."""
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train = "train --model convnet --data digits --limit-steps 2 --out runs/teacher"
        assert main(shlex.split(train)) == 0
        for page in PAGES:  # files that a page shows, by the name in their first line
            shown = found(r"^```yaml\n# (\S+)\n(.*?)^```", page)
            for name, text in shown + found(r"^```python (\w+\.py)\n(.*?)^```", page):
                (folder / name).write_text(text)
        yield folder


def test_the_site_has_every_page_and_every_public_name():
    listed = set(re.findall(r"^[ -].*?([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    notebooks = {f"notebooks/{p.stem}.md" for p in (ROOT / "examples/notebooks").glob("*.py")}
    assert listed == pages | notebooks
    named = found(r"^::: asterism\.(\w+)$", ROOT / "docs" / "api.md")
    assert sorted(named) == sorted(asterism.__all__)
    packages = found(r"^::: asterism\.(\w+)\.(\w+)$", ROOT / "docs" / "packages.md")
    for package in ("index", "measures", "relations"):
        names = sorted(name for of, name in packages if of == package)
        assert names == sorted(import_module(f"asterism.{package}").__all__)
    for package in ("plots", "runtime"):
        module = import_module(f"asterism.{package}")
        own = [
            name
            for name, value in vars(module).items()
            if name[0] != "_" and getattr(value, "__module__", "") == module.__name__
        ]
        assert sorted(name for of, name in packages if of == package) == sorted(own)


@pytest.mark.parametrize("page", PAGES_OF_METHODS, ids=lambda page: page.stem)
def test_the_page_of_a_method_says_when_to_take_which_and_whom_to_cite(page):
    [beside] = found(r"^(?:## |\*\*)Beside the others\.?(.*?)\n\n(?:\*\*|## )", page)
    others = set(re.findall(r"\]\((\w+)\.md", beside)) - {page.stem}
    assert len(others) > 1
    assert found(r"https?://", page)


def test_links_that_leave_the_docs_lead_somewhere():
    """Links that leave docs/ lead to files of the repository; scripts/site takes them along."""
    for page in PAGES[1:]:
        for link in found(r"\]\((\.\./[^)#]+)", page):
            assert (page.parent / link).resolve().is_file(), f"{page}: {link}"


def test_the_tour_is_drawn_from_what_its_commands_print():
    """The picture of the README is what scripts/tour draws, of commands that are still there."""
    tour = runpy.run_path(str(ROOT / "scripts" / "tour"))
    told = tour["KEPT"].read_text()
    assert tour["PICTURE"].read_text() == tour["drawn"](told)
    typed = [line.removeprefix("$ ") for line in told.splitlines() if line.startswith("$ ")]
    assert typed == list(tour["COMMANDS"])
    assert all(shlex.split(command)[1] in VERBS for command in typed)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page, workshop, monkeypatch):
    """The blocks of a page follow each other, as its reader would type them."""
    monkeypatch.chdir(workshop)
    monkeypatch.syspath_prepend(workshop)
    names = {"__name__": "docs"}
    for code in found(r"^```python\n(.*?)^```", page):
        exec(compile(code, str(page), "exec"), names)


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run(line, workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    assert words[0] in VERBS
    if any("FILE" in word or "FOLDER" in word or "/path/" in word for word in words):
        return  # a pattern with the reader's own names in it
    if words[0] in ("train", "distill"):
        words += ["--limit-steps", "2", "--overwrite"]
    if words[0] == "bench":
        words += ["--table-only"]  # test_bench.py runs grids
    if words[0] == "demo":
        return  # `make demo` is run as it stands
    if words[0] == "doctor":  # a teacher of two steps may be wrong, or only one to look at
        assert main(words) in (0, 1)
        return
    assert main(words) == 0
