"""Scripts of benchmarks/ run: a small piece of each that needs no data of its own."""

import importlib.util
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from asterism import train
from asterism.models import Spec, build, weights_of

FOLDER = Path(__file__).parents[1] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mnist_rrkd(tmp_path):
    mnist_rrkd = script("mnist_rrkd")
    generator = np.random.default_rng(0)
    for name in ("train", "test"):
        y = np.arange(300) % 10
        # Bars at a height that is the class, in noise.
        x = generator.integers(0, 100, (300, 28, 28), dtype=np.uint8)
        x[np.arange(300), 2 * y + 3] = 255
        np.savez(tmp_path / f"{name}.npz", x=x, y=y)
    files = [str(tmp_path / f"{name}.npz") for name in ("train", "test")]
    found = [mnist_rrkd.run(*files, tmp_path, seed=seed, epochs=1) for seed in (0, 1)]
    assert found[0] != found[1]
    assert found[0]["distilled by RRKD"] != found[0]["untrained"]
    table = mnist_rrkd.as_markdown(found)
    assert table.count("52,320") == 3
    assert "| teacher | 108,736 | " in table
    assert "The student has 48.1 % of the teacher's parameters." in table
    study = mnist_rrkd.run(*files, tmp_path, seed=0, epochs=1, study=True)
    assert set(study) == {"teacher", "untrained", *mnist_rrkd.ANCHORS}
    assert study["teacher"] == found[0]["teacher"]


def test_throughput(tmp_path, capsys):
    y = np.arange(512) % 10
    x = np.random.default_rng(0).integers(0, 256, (512, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "train.npz", x=x, y=y)
    save_file(weights_of(build("convnet?width=4", Spec(10, (3, 32, 32)))), tmp_path / "teacher")
    words = [str(tmp_path / "train.npz"), f"convnet?width=4&weights={tmp_path / 'teacher'}"]
    words += ["--student", "convnet?width=2", "--rounds", "1", "--threads", "1", "--workers", "0"]
    script("throughput").main(words)
    table = capsys.readouterr().out
    assert "| plain loop | " in table
    assert re.search(r"\| ours, without a teacher \| .* \| 1.00 / 1.00 \|", table)


def test_omniglot(tmp_path):
    """Alphabets stay whole; a run is measured on those that it was not trained on."""
    omniglot = script("omniglot")
    y = np.arange(4 * 3 * 20) // 20
    x = np.random.default_rng(0).integers(0, 2, (len(y), 40, 40), dtype=np.uint8)
    alphabets = np.array(["c", "a", "b", "d"])
    names = np.array([f"{alphabets[i // 3]}/{i % 3}" for i in range(12)])
    source, train_file, test_file = (str(tmp_path / f"{name}.npz") for name in ("all", "a", "b"))
    np.savez(source, x=x, y=y, names=names, alphabet=y // 3, alphabet_names=alphabets)
    omniglot.convert(source, train_file, test_file, 16)
    for file, kept in ((train_file, "ac"), (test_file, "bd")):
        with np.load(file) as made:
            assert made["x"].shape == (120, 16, 16)
            assert {str(name)[0] for name in made["names"]} == set(kept)
            first = np.flatnonzero(names[y] == made["names"][made["y"][0]])[0]
            assert abs(made["x"][0].mean() - 255 * (1 - x[first].mean())) < 1
    options = {"loss": "triplet", "batch_size": 20, "limit_steps": 1, "check": False}
    run = train("conv4?width=4", train_file, test_data=test_file, out=tmp_path / "run", **options)
    line = omniglot.measure(str(run.run))
    assert re.search(r"recall@1/2/4/8 [\d. ]+, MAP@R [\d.]+; 1-shot .* %; 5-shot", line)


def test_transfer(tmp_path):
    """A probe tells classes that the network does not know."""
    transfer = script("transfer")
    files = []
    for i in range(20):
        stream = io.BytesIO()
        Image.new("RGB", (9, 7), (200, 0, 0) if i % 2 else (0, 0, 200)).save(stream, "PNG")
        files.append(stream.getvalue())
    ends = np.cumsum([0, *map(len, files)])
    content = np.frombuffer(b"".join(files), np.uint8)
    names = np.array(["blue", "red"])
    np.savez(tmp_path / "a.npz", jpeg=content, offsets=ends, y=np.arange(20) % 2, names=names)
    transfer.convert(str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), 8)
    part = transfer.samples(str(tmp_path / "b.npz"), 16)
    assert part[0].shape == (16, 3, 8, 8)
    line = transfer.measure("convnet?width=2", [part, part], 10)
    assert re.fullmatch(r"\| convnet\?width=2 \| 8 \| 100\.0 \| [\d.]+ \|", line)
