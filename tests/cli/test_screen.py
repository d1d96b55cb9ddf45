"""Names that nobody vouches for: shown as they are, on the terminal, in tables and in files."""

import csv
import io
import re

import pytest
from rich.table import Table
from rich.text import Text

from asterism.cli.screen import Screen
from asterism.report.comparison import as_markdown
from asterism.words import csv_cell, markdown, printable, tell

HOSTILE = (
    "[/x]", "[bold]b[/bold]", "\x1b]0;title\x1b\\", "\x1b[31mred", "a\x9b31m", "\u202egnp.exe",
    "a\rb", "a\x08b", "\ud800", ":smile:", "=1+1", "<b>", "a|b", "`x`", "@me",
)  # fmt: skip
# What rich itself leaves out of a text.
DROPPED = re.compile("[\x07\x08\x0b\x0c\r]")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_terminal_obeys_no_name(capsys, name):
    screen = Screen()
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    screen.print(name)
    screen.print(table)
    tell(f"asterism: {name} is broken.")
    said = capsys.readouterr()
    assert not OBEYED.search(said.out + said.err)
    assert said.out.count(printable(name)) == 4
    assert printable(name) in said.err


@pytest.mark.parametrize("name", HOSTILE)
def test_a_colour_is_ours_alone(monkeypatch, name):
    """On a terminal there are escapes, and none of them is a name's."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen()
    with screen.capture() as shown:
        screen.print(Text(name, "red"))
    assert re.sub(r"\x1b\[[\d;]*m", "", shown.get()).strip() == printable(DROPPED.sub("", name))


@pytest.mark.parametrize("name", HOSTILE)
def test_tables_in_files_hold_names_as_texts(name):
    line = as_markdown([name], [[name]]).splitlines()
    assert len(line) == 3
    assert line[0] == line[2] == f"| {markdown(name)} |"
    assert not re.search(r"(?<!\\)[`*_\[\]|@]|<b>", markdown(name))
    text = io.StringIO()
    csv.writer(text).writerow([csv_cell(name)])
    assert not text.getvalue().startswith(("=", "+", "-", "@"))
    assert not OBEYED.search(text.getvalue().strip())
