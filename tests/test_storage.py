"""Places on a store: what is written and read there is what it is here."""

import importlib

import fsspec
import numpy as np
import pytest
import torch
from students import finished_run

from asterism import Outputs, recipe, storage
from asterism.cli import main
from asterism.data import open_source
from asterism.modality import ARRAY
from asterism.models import Spec
from asterism.names import STORES, located
from asterism.teachers import cache as cache_module
from asterism.teachers.open import open_teacher
from asterism.vectors import embed, writing


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    """A folder here, and one on a store."""
    memory = fsspec.filesystem("memory")
    yield storage.place(tmp_path / "f" if request.param == "local" else "memory://bucket/f")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def test_every_kind_keeps_the_same_promises(folder):
    file = storage.made(folder / "a") / "b.bin"
    assert not storage.is_file(file)
    assert storage.listed(folder) == {}
    with pytest.raises(FileNotFoundError):
        storage.read(file)
    storage.write(file, b"first")
    storage.write(file, b"second")
    assert storage.read(file) == b"second"
    with pytest.raises(ValueError, match="more than"):
        storage.read(file, most=3)
    with storage.opened(file) as here:
        assert here.read_bytes() == b"second"
        assert here.name == "b.bin"
    with pytest.raises(KeyboardInterrupt), storage.writing(file.with_name("c")) as unfinished:
        unfinished.write_bytes(b"half")
        raise KeyboardInterrupt
    with storage.writing(file.with_name("d")) as unfinished:
        unfinished.write_bytes(b"whole")
    assert storage.listed(folder) == {"a/b.bin": 6, "a/d": 5}
    assert not storage.is_file(folder / "a")
    storage.remove(folder / "a")
    assert storage.listed(folder) == {}


def test_a_store_that_does_not_answer_is_said_in_one_sentence(monkeypatch):
    store = fsspec.filesystem("memory")
    monkeypatch.setattr(type(store), "info", lambda *given, **more: 1 / 0)
    with pytest.raises(OSError, match=r"memory://b/x cannot be had: division by zero\."):
        storage.is_file(storage.place("memory://b/x"))
    for method in (storage.made, lambda place: storage.write(place, b"")):
        with pytest.raises(ValueError, match="https://h/x is only read: https takes no files"):
            method(storage.place("https://h/x"))
    with pytest.raises(ValueError, match="gives single files, and lists none"):
        storage.listed(storage.place("https://h/x"))


@pytest.mark.parametrize("protocol", STORES)
def test_stores_are_let_in_where_they_can_be_and_nowhere_else(protocol):
    library, extra = STORES[protocol]
    name = f"{protocol}://bucket/x.csv"
    with pytest.raises(ValueError, match=f"on {protocol}:, and only .* this machine"):
        located(name)
    if importlib.util.find_spec(library):
        assert located(name, stores=True) == name
    else:
        with pytest.raises(ValueError, match=rf"needs {library}: pip install 'asterism\[{extra}\]"):
            located(name, stores=True)
    with pytest.raises(ValueError, match=f"no whole one: write {protocol}://PLACE"):
        located(f"{protocol}:/bucket/x.csv", stores=True)


def put(name, content):
    storage.write(storage.place(f"memory://bucket/{name}"), content)
    return f"memory://bucket/{name}"


@pytest.fixture
def files(tmp_path):
    generator = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", generator.normal(size=(700, 5)).astype("float32"))
    pixels = generator.integers(0, 255, (20, 4, 4), "uint8")
    np.savez(tmp_path / "x.npz", x=pixels, y=np.arange(20) % 3)
    (tmp_path / "x.csv").write_text(
        "words,label\n" + "".join(f"t {i},c{i % 2}\n" for i in range(9))
    )
    (tmp_path / "x.txt").write_text("one\ntwo\n")
    (tmp_path / "pictures.csv").write_text("image\na.png\n")
    yield tmp_path
    fsspec.filesystem("memory").store.clear()


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv?text=words", "x.txt"])
def test_data_on_a_store_are_the_same_data(files, name):
    file = name.partition("?")[0]
    put(file, (files / file).read_bytes())
    there, here = open_source(f"memory://bucket/{name}"), open_source(f"{files}/{name}")
    assert there.fingerprint() == here.fingerprint()
    assert there.place == f"memory://bucket/{file}"
    rows = [0, len(here) - 1]
    one, other = there.__getitems__(rows).views[0], here.__getitems__(rows).views[0]
    assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_what_is_wrong_with_data_on_a_store_is_said_of_the_store(files):
    bad = put("bad.npz", b"no archive")
    with pytest.raises(ValueError, match=f"cannot read {bad}: "):
        open_source(bad)
    with pytest.raises(ValueError, match="memory://bucket/x.csv.* there is no text column 'w'"):
        open_source(put("x.csv", (files / "x.csv").read_bytes()) + "?text=w")
    with pytest.raises(ValueError, match="names pictures by their paths"):
        open_source(put("pictures.csv", (files / "pictures.csv").read_bytes()))
    for name in ("memory://bucket/nothing.csv", "memory://bucket"):
        with pytest.raises(FileNotFoundError, match=f"there is no file at {name}: "):
            open_source(name)


@pytest.fixture
def run(files):
    spec = Spec(None, (5,), (0.0,), (1.0,), modality=ARRAY)
    return str(finished_run(files / "run", "mlp?hidden=8&dim=6", spec, ""))


def interrupting(monkeypatch, after):
    """Let the making of a cache be interrupted after some files."""
    write, written = cache_module.write, []

    def stop(file, content):
        if len(written) == after:
            raise KeyboardInterrupt
        written.append(write(file, content))

    monkeypatch.setattr(cache_module, "write", stop)


def shards(folder):
    names = [name for name in storage.listed(folder) if name.endswith(".safetensors")]
    return {name: storage.read(folder / name) for name in names}


def test_a_cache_in_parts_is_that_of_one_go(folder, files, run, monkeypatch, capsys):
    """Each part is interrupted once, and one is done again by mistake."""
    options = {"shard_rows": 64, "batch_size": 32}
    recipe.cache(run, files / "x.npy", out=files / "whole", **options)
    command = ["cache", "--teacher", run, "--data", str(files / "x.npy"), "--out", str(folder)]
    command += ["--shard-rows", "64", "--batch-size", "32"]
    for i in (3, 1, 2, 4):
        with monkeypatch.context() as patch:
            interrupting(patch, 1)
            assert main([*command, f"--part={i}/4"]) == 130
        assert main([*command, "--finish"]) == 2
        assert main([*command, f"--part={i}/4"]) == 0
    told = capsys.readouterr()
    assert "is not complete, 1 of 11 files are there" in told.err
    assert "3 of 11 files. When all parts are there: --finish." in told.out
    assert not storage.is_file(folder / "sealed.json")
    before = shards(folder)
    (files / "y.npy").write_bytes((files / "x.npy").read_bytes())
    renamed = [str(files / "y.npy") if each == str(files / "x.npy") else each for each in command]
    assert main([*command, "--part=2/4"]) == main([*renamed, "--finish"]) == 0
    assert shards(folder) == before == shards(files / "whole")
    assert storage.read(folder / "cache.json") == storage.read(files / "whole" / "cache.json")
    data = type("Data", (), {"source": open_source(str(files / "x.npy"))})
    taught = open_teacher(str(folder), data)
    assert taught.card.parameters
    found = taught.on(data.source).clean(torch.tensor([650, 3]), None).embedding
    expected = open_teacher(str(files / "whole"), data).on(data.source)
    assert torch.equal(found, expected.clean(torch.tensor([650, 3]), None).embedding)
    storage.write(folder / "training/clean/00003.safetensors", b"another")
    with pytest.raises(ValueError, match="is not what was sealed: 11 files of"):
        open_teacher(str(folder), data)
    for wrong in ("0/4", "5/4", "x"):
        assert main([*command, f"--part={wrong}"]) == 2
    assert main([*command, "--part=1/4", "--finish"]) == 2


def test_a_store_has_no_locks_to_share_a_cache_by(run, files):
    with pytest.raises(ValueError, match=r"by locks, and memory://b/c has none: .* --part 1/2"):
        recipe.cache(run, str(files / "x.npy"), out="memory://b/c", processes=2)


def test_many_rows_have_larger_files_and_a_cache_keeps_its_own(files, run, monkeypatch):
    from asterism.teachers import making

    monkeypatch.setattr(making, "MANY_ROWS", 600)
    monkeypatch.setattr(making, "LARGE_SHARD_ROWS", 300)
    recipe.cache(run, files / "x.npy", out=files / "many")
    assert len(shards(files / "many")) == 3
    monkeypatch.undo()
    recipe.cache(run, files / "x.npy", out=files / "many")
    assert len(shards(files / "many")) == 3


def test_vectors_are_written_to_a_store_and_teach_from_there(files, run, monkeypatch, capsys):
    monkeypatch.setattr(writing, "PART_ROWS", 256)
    put("x.npy", (files / "x.npy").read_bytes())
    embed(run, files / "x.npy", out=files / "v.npy")
    out = "memory://bucket/out/v.npy"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(writing, "_joined", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        embed(run, "memory://bucket/x.npy", out=out)
    assert "00002.npz" in storage.listed(storage.place("memory://bucket/out/.v.npy.parts"))
    assert main(["embed", run, "--data", "memory://bucket/x.npy", "--out", out]) == 0
    assert f"{out}: 700 rows of 6 columns, 16.9 kB." in capsys.readouterr().out
    assert storage.read(storage.place(out)) == (files / "v.npy").read_bytes()
    assert set(storage.listed(storage.place("memory://bucket/out"))) == {"v.npy", "v.npy.ids.txt"}
    with pytest.raises(ValueError, match=f"{out} is there: delete it"):
        embed(run, files / "x.npy", out=out)
    data = type("Data", (), {"source": open_source("memory://bucket/x.npy")})
    taught = open_teacher(out, data).on(data.source)
    assert isinstance(found := taught.clean(torch.tensor([3]), None), Outputs)
    assert torch.equal(found.embedding[0], torch.from_numpy(np.load(files / "v.npy")[3]))
