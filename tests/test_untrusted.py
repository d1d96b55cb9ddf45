"""Files from strangers: nothing in them runs, and what they claim is not believed."""

import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import asterism
from asterism import recipe
from asterism.data import open_data, open_source
from asterism.engine.checkpoints import latest_state, read_state
from asterism.models import Spec, build
from asterism.run import Run, RunError

SPEC = Spec(10, (1, 8, 8))


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trap(tmp_path):
    path = tmp_path / "it ran"
    yield Bomb(path)
    assert not path.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "t"
    return recipe.train("mlp", "digits", epochs=1, limit_steps=2, out=out).run


@pytest.fixture
def run(finished, tmp_path):
    """A copy of a run folder that may be damaged."""
    copy = tmp_path / "run"
    copy.mkdir()
    for file in finished.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


def archive(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name.replace("__", "."), content)
    return path


def npy(shape, dtype="|u1", content=b""):
    """An array file whose header claims a shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + content


def test_a_pickle_for_a_checkpoint_does_not_run(trap, tmp_path):
    for name, content in (("plain", pickle.dumps(trap)), ("torch", io.BytesIO())):
        file = tmp_path / f"step-1{len(name)}.ckpt"
        if name == "torch":
            torch.save({"state_dict": {}, "callbacks": trap}, file)
        else:
            file.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            read_state(file, None)
    with pytest.raises(ValueError, match=r"Start again with --overwrite"):
        latest_state(tmp_path, None)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_a_pickle_for_weights_does_not_run(trap, tmp_path, name):
    torch.save({"weight": trap}, tmp_path / name)
    with pytest.raises(ValueError, match=r"is not a safetensors file|nothing in a file is run"):
        build(f"mlp?weights={tmp_path / name}", SPEC)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10) + b"{" * 10,
        struct.pack("<Q", 100_000) + b'{"a":' * 20_000,
        struct.pack("<Q", 67)
        + b'{"a":{"dtype":"F32","shape":[999999999999],"data_offsets":[0,4]}}  ',
        b"",
    ],
    ids=["long header", "no json", "deep json", "absurd shape", "empty"],
)
def test_absurd_safetensors_are_refused(tmp_path, content):
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a safetensors file|nothing in a file is run"):
        build(f"mlp?weights={file}", SPEC)


@pytest.mark.parametrize(
    "member",
    [
        npy("(1000000000000, 32, 32, 3)"),
        npy("(-1, 8, 8)"),
        npy("(10, 8, 8)", content=b"short"),
        npy("(3,)", dtype="|O", content=pickle.dumps([1, 2, 3])),
        npy("((" * 500),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
    ids=["absurd shape", "negative", "short", "objects", "deep", "version", "empty"],
)
def test_absurd_arrays_are_refused(tmp_path, member):
    file = archive(tmp_path / "x.npz", x__npy=member)
    with pytest.raises(ValueError, match="x.npz"):
        open_source(str(file))


def test_pickled_arrays_do_not_run(trap, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([trap, trap], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="x.npz"):
        open_source(str(tmp_path / "x.npz"))


def test_an_archive_that_grows_is_refused_before_it_fills_the_memory(tmp_path):
    """A thousand times larger than its file, and it says so only while it is read."""
    zeros = npy("(40000, 1024, 1024)") + bytes(2**20)
    file = archive(tmp_path / "x.npz", x__npy=zeros)
    with pytest.raises(ValueError, match="x.npz"):
        open_source(str(file))


def test_names_that_climb_out_of_an_archive_write_nothing(tmp_path):
    plain = io.BytesIO()
    np.save(plain, np.zeros((40, 8, 8), np.uint8))
    inside = tmp_path / "inside"
    inside.mkdir()
    file = inside / "x.npz"
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("../../climbed.npy", plain.getvalue())
        packed.writestr("x.npy", plain.getvalue())
    assert len(open_source(str(file))) == 40
    assert [p.name for p in tmp_path.rglob("*")] == ["inside", "x.npz"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("student.json", "[" * 100_000),
        ("student.json", '{"model": "mlp"}'),
        ("student.json", '{"model": "mlp", "classes": 1e400, "image_shape": [1, 8, 8]}'),
        ("student.json", '{"model": "mlp", "classes": 10, "image_shape": [3, 9999999, 9999999]}'),
        ("student.json", '{"model": "mlp", "classes": 9e18, "image_shape": [1, 8, 8]}'),
        (
            "student.json",
            '{"model": "mlp?width=999999999999", "classes": 10, "image_shape": [1, 8, 8]}',
        ),
        ("student.json", '{"model": "nothing", "classes": 10, "image_shape": [1, 8, 8]}'),
        ("student.json", "\udcff"),
        ("student.safetensors", "no weights"),
    ],
)
def test_a_damaged_or_absurd_card_is_refused_in_words(run, name, content):
    (run / name).write_text(content, errors="surrogateescape")
    with pytest.raises(ValueError, match=r"student\.(json|safetensors)|unknown model"):
        asterism.load(run)


def test_a_card_imports_nothing_and_reads_no_other_file(run, trap, tmp_path):
    code = tmp_path / "code.py"
    code.write_text(f"import os\nos.mkdir({str(trap.path)!r})\ndef make(): pass\n")
    card = json.loads((run / "student.json").read_text())
    for model in (f"{code}:make", "os:mkdir", f"python:os.mkdir?path={trap.path}"):
        (run / "student.json").write_text(json.dumps({**card, "model": model}))
        with pytest.raises(ValueError, match=r"nothing named in a run folder|unknown model"):
            asterism.load(run)
    other = tmp_path / "other.safetensors"
    save_file({"secret": torch.ones(1)}, other)
    model = f"{card['model']}?weights={other}"
    (run / "student.json").write_text(json.dumps({**card, "model": model}))
    asterism.load(run)  # the run's own weights, and no complaint about the others


@pytest.mark.parametrize(
    "content",
    [
        "!!python/object/apply:os.mkdir ['PATH']",
        "teacher: !!python/name:os.mkdir",
        "a: &a [*a, *a]",
        "[" * 5_000,
        "- 1",
        "\x00",
        "",
    ],
)
def test_hostile_settings_are_refused_in_words(run, trap, content):
    (run / "config.yaml").write_text(content.replace("PATH", str(trap.path)))
    with pytest.raises(ValueError, match=r"config\.yaml"):
        recipe.evaluate(run)


@pytest.mark.parametrize("content", ["{", "[" * 100_000 + "\n", '{"step": "x"}\n', "1\n", "\x00\n"])
def test_damaged_metrics_are_refused_in_words(run, content):
    (run / "metrics.jsonl").write_text(content + "\n" if "\n" not in content else content)
    with pytest.raises(RunError, match=r"metrics\.jsonl"):
        Run(run).cut_metrics(3)


def test_a_class_in_a_config_file_of_a_run_is_looked_up_not_imported(run, trap):
    config = (run / "config.yaml").read_text()
    hostile = config + f"method:\n- class_path: os.mkdir\n  init_args: {{path: {trap.path}}}\n"
    (run / "config.yaml").write_text(hostile)
    recipe.evaluate(run)


def test_a_folder_of_links_is_read_not_written(tmp_path):
    """A run folder whose checkpoints are a link elsewhere loses the link, not what it leads to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").write_text("a")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("a: 1\n")
    (run / "checkpoints").symlink_to(elsewhere)
    with Run(run).writing(overwrite=True):
        pass
    assert (elsewhere / "precious").read_text() == "a"
    assert open_data("digits").classes == 10
