"""Tests for asterism/cli/completion.py: what a shell offers."""

import shutil
import subprocess
import sys

import pytest

from asterism.cli import VERBS, main

TRY = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
_shtab_asterism asterism "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
def test_bash_offers_verbs_options_and_values(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    for words, offered in {
        "asterism d": {"distill", "demo", "doctor"},
        "asterism distill --te": {"--teacher", "--test-data", "--teacher-cache"},
        "asterism distill --method RR": {"RRD", "RRKD"},
        "asterism train --schedule co": {"cosine", "constant"},
        "asterism compare --format ma": {"markdown"},
    }.items():
        code = TRY.format(script=script, words=words)
        told = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
        assert set(told.stdout.split()) == offered, words


@pytest.mark.parametrize("shell", ["zsh", "tcsh"])
def test_other_shells_have_every_verb(shell, capsys):
    assert main(["completion", shell]) == 0
    written = capsys.readouterr().out
    assert all(verb in written for verb in VERBS)


def test_without_its_library_completion_says_so(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert "pip install 'asterism[completion]'" in capsys.readouterr().err
