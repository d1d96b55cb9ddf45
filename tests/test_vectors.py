"""Vectors of data of any length: order, ids, restarts, forms."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from students import finished_run

import asterism
from asterism.cli import main
from asterism.data import open_source
from asterism.modality import ARRAY
from asterism.models import Spec
from asterism.vectors import embed, writing

ARRAYS = Spec(None, (5,), mean=(0.0,), std=(1.0,), modality=ARRAY)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return finished_run(folder / "run", "mlp?hidden=8&dim=6", ARRAYS, "", aligned=3)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    file = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(file, np.random.default_rng(0).normal(size=(1000, 5)).astype("float32"))
    return file


@pytest.fixture
def short_parts(monkeypatch):
    monkeypatch.setattr(writing, "PART_ROWS", 256)
    monkeypatch.setattr(writing, "BATCH", 64)


@torch.no_grad()
def wanted(run, rows, **options):
    given = torch.from_numpy(np.load(rows))
    return asterism.load(run, **options)(given).embedding.numpy()


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_every_form_holds_the_students_rows_in_order(
    suffix, dtype, run, rows, tmp_path, short_parts
):
    out = tmp_path / f"vectors{suffix}"
    if (suffix, dtype) == (".npy", "int8"):
        with pytest.raises(ValueError, match="int8 not to .npy"):
            embed(run, rows, out=out, dtype=dtype)
        return
    made = embed(run, rows, out=out, dtype=dtype)
    read = {"embedding": np.load(out)} if suffix == ".npy" else load_file(out)
    expected = wanted(run, rows)
    assert (made.rows, made.width) == expected.shape == read["embedding"].shape == (1000, 6)
    assert read["embedding"].dtype == dtype
    got = read["embedding"] * read.get("scale", np.ones(1, "float32"))[:, None]
    apart = np.abs(got - expected).max() / np.abs(expected).max()
    assert apart < {"float32": 1e-6, "float16": 1e-3, "int8": 5e-3}[dtype]
    assert (tmp_path / f"{out.name}.ids.txt").read_text().split() == [str(i) for i in range(1000)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [out.name, f"{out.name}.ids.txt"]


def test_killed_and_gone_on_with_the_bytes_are_the_same(run, rows, tmp_path):
    """Killed for good, by a signal that no program can answer, in the middle of the work."""
    code = f"""
import time
import numpy as np
from asterism.vectors import embed, writing
writing.PART_ROWS, writing.BATCH = 100, 50
save = np.savez
def slowly(*given, **arrays):
    time.sleep(0.05)
    save(*given, **arrays)
np.savez = slowly
embed({str(run)!r}, {str(rows)!r}, out="killed.npy")
"""
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(Path(asterism.__path__[0]).parent), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    parts = tmp_path / ".killed.npy.parts"
    for _ in range(3000):
        if len(list(parts.glob("0*.npz"))) >= 2:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 2 <= len(list(parts.glob("0*.npz"))) < 10
    assert not (tmp_path / "killed.npy").exists()
    (parts / ".000002.npz.half").write_bytes(b"half a part")  # as a kill within a write leaves
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "PART_ROWS", 100)
        patch.setattr(writing, "BATCH", 50)
        embed(run, rows, out=tmp_path / "whole.npy")
    assert (tmp_path / "killed.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert not parts.exists()


def test_parts_of_other_vectors_are_refused(run, rows, tmp_path, monkeypatch, short_parts):
    def stop(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writing, "_joined", stop)
        embed(run, rows, out=tmp_path / "a.npy")
    for other in ({"dtype": "float16"}, {"aligned": True}, {"part": "1/2"}):
        with pytest.raises(ValueError, match="holds the beginning of other vectors"):
            embed(run, rows, out=tmp_path / "a.npy", **other)
    embed(run, rows, out=tmp_path / "a.npy")
    with pytest.raises(ValueError, match="is there: delete it"):
        embed(run, rows, out=tmp_path / "a.npy")


def test_parts_for_several_machines_join_to_the_whole(run, rows, tmp_path, short_parts):
    pieces = []
    for i in (1, 2, 3):
        embed(run, rows, out=tmp_path / f"{i}.npy", part=f"{i}/3", aligned=True)
        pieces.append(np.load(tmp_path / f"{i}.npy"))
    assert np.allclose(np.concatenate(pieces), wanted(run, rows, aligned=True), atol=1e-5)
    for part in ("0/3", "4/3", "1", "a/b", "-1/2"):
        with pytest.raises(ValueError, match="--part is i/n"):
            embed(run, rows, out=tmp_path / "x.npy", part=part)


def test_pictures_that_cannot_be_read_are_named_and_have_no_row(tmp_path, capsys):
    run = finished_run(tmp_path / "run", "convnet?width=4", Spec(None, (3, 8, 8)), "")
    (tmp_path / "pictures" / "a").mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (9, 8), (i * 40, 0, 0)).save(tmp_path / "pictures" / "a" / f"{i}.png")
    (tmp_path / "pictures" / "a" / "2.png").write_bytes(b"no picture")
    out = tmp_path / "vectors.npy"
    assert main(["embed", str(run), "--data", str(tmp_path / "pictures"), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "5 rows of 16 columns" in told
    assert "1 samples could not be read and have no row: " in told
    assert "2.png" in told
    ids = (tmp_path / "vectors.npy.ids.txt").read_text().split()
    assert ids == [f"a/{i}.png" for i in (0, 1, 3, 4, 5)]
    assert len(np.load(out)) == 5


def test_parquet_has_ids_and_is_a_teacher(tmp_path, tokenizer):
    pytest.importorskip("pyarrow", reason="pip install 'asterism[parquet]'")
    texts = Spec(None, None, tokenizer=tokenizer)
    run = finished_run(tmp_path / "run", "text-static?width=6", texts, "")
    lines = ["key,text", *(f"k{i},the cat sat on a mat {'far ' * i}" for i in range(40))]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "vectors.parquet"
    made = embed(run, tmp_path / "table.csv", out=out, ids="key")
    assert made.rows == 40
    from asterism.teachers.stored import open_stored

    teacher = open_stored(out, {})
    source = open_source(f"{tmp_path}/table.csv?id=key")
    rows = torch.tensor([3, 0, 39])
    batch = source.__getitems__(rows.tolist())
    looked_up = teacher.on(source).clean(batch.index, batch.views[0]).embedding
    own = asterism.load(run)(batch.views[0]).embedding
    torch.testing.assert_close(looked_up, own)


def test_a_teacher_is_not_embedded_but_cached(capsys):
    for option in (["--teacher", "t"], ["--teacher=t"]):
        assert main(["embed", *option, "--data", "digits", "--out", "c"]) == 2
        assert (
            "are kept for trainings by `asterism cache`, with the same" in capsys.readouterr().err
        )


def test_data_that_the_student_does_not_take(run, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((4, 7), "float32"))
    (tmp_path / "texts.txt").write_text("a\nb\n")
    for data in ("wide.npy", "texts.txt"):
        with pytest.raises(ValueError, match=r"the student takes arrays of shape \(5,\), and"):
            embed(run, tmp_path / data, out=tmp_path / "x.npy")
    assert not list(tmp_path.glob(".x*"))
    with pytest.raises(ValueError, match="are written to a .parquet, .npy or .safetensors file"):
        embed(run, tmp_path / "wide.npy", out=tmp_path / "x.csv")
