"""The notebooks of examples/ run from their first cell to their last."""

from pathlib import Path

import pytest

import asterism

jupytext = pytest.importorskip("jupytext", reason="pip install jupytext")
SOURCES = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_runs(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = jupytext.read(source, fmt="py:percent").cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    names = {"__name__": "__main__"}
    for cell in cells:
        if cell.cell_type == "code":
            exec(compile(cell.source.replace("EPOCHS = 15", "EPOCHS = 2"), source, "exec"), names)
    assert capsys.readouterr().out
    if isinstance(names.get("result"), asterism.Result):  # shown by the name alone, as a page
        assert [cell.source.splitlines()[-1] for cell in cells].count("result") == 1
        assert "<iframe" in names["result"]._repr_html_()
