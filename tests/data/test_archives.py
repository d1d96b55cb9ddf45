"""Standard archives, written here small and byte for byte as their authors give them."""

import gzip
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from archives import (
    DRAW,
    cars,
    cifar10,
    cifar100,
    cub,
    flowers,
    imagenet,
    in_shop,
    kaggle,
    mini_imagenet,
    omniglot,
    pets,
    products,
    python2,
    rows,
    svhn,
    tiny_imagenet,
)

from asterism.data import open_data, open_source
from asterism.data.archives import LAYOUTS
from asterism.names import ARCHIVES


def test_cifar10(tmp_path):
    images = cifar10(tmp_path / "a")
    train = open_source(f"cifar10:{tmp_path / 'a'}")
    assert np.array_equal(train.samples, images[:10])
    assert train.targets.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:  # as it is fetched
        tar.add(tmp_path / "a", "cifar-10-batches-py")
    for place in (tmp_path / "a", f"cifar10:{tmp_path / 'a.tar.gz'}"):  # known by what is inside
        test = open_source(f"{place}?split=test")
        assert np.array_equal(test.samples, images[10:])
        assert [test.names[i] for i in test.targets] == ["c3", "c4"]


@pytest.mark.parametrize("write", [python2, lambda held: pickle.dumps(held, protocol=2)])
def test_cifar100(tmp_path, write):
    images = cifar100(tmp_path, write=write)
    test = open_source(f"{tmp_path}?split=test")
    assert np.array_equal(test.samples.reshape(3, -1), images[3:])
    assert [test.names[i] for i in test.targets] == ["fine7", "fine99", "fine0"]
    coarse = open_source(f"cifar100:{tmp_path}?split=train-coarse")
    assert [coarse.names[i] for i in coarse.targets] == ["coarse1", "coarse19", "coarse0"]


class Code:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"data": Code()}, protocol=2),
        pickle.dumps({"data": np.array([Code()], dtype=object)}, protocol=2),
        b"\x80\x02cposix\nsystem\nU\x02ls\x85R.",
        b"\x80\x02cnumpy\nload\nU\x01a\x85R.",
        python2({"labels": [1], "data": rows(1)})[:-900],
        python2({"labels": [1, 2], "data": rows(1)}),
        python2({"data": rows(1)}),
        python2({"labels": [1], "data": rows(1)[:, :30]}),
        b"",
    ],
    ids="call objects system load cut counts labels width empty".split(),
)
def test_pickles_call_nothing(content, tmp_path, capsys):
    cifar10(tmp_path / "a")
    (tmp_path / "a" / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match="is not as cifar10's authors give it"):
        open_source(f"cifar10:{tmp_path / 'a'}?split=test")
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("packed", [False, True])
def test_mnist(tmp_path, packed):
    images = DRAW.integers(256, size=(5, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        for kind, values in (
            ("images-idx3", images),
            ("labels-idx1", np.arange(5, dtype=np.uint8)),
        ):
            content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            content += values.tobytes()
            file = tmp_path / f"{part}-{kind}-ubyte"
            if packed:
                file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(content))
            else:
                file.write_bytes(content)
    source = open_source(f"{tmp_path}?split=test")
    assert np.array_equal(source.samples[:, 0], images)
    assert (source.targets.tolist(), len(source.names), source.flip) == ([0, 1, 2, 3, 4], 10, False)


def test_stl10(tmp_path):
    images = DRAW.integers(256, size=(4, 3, 96, 96), dtype=np.uint8)
    images.transpose(0, 1, 3, 2).tofile(tmp_path / "train_X.bin")  # column by column
    np.array([1, 10, 3, 1], np.uint8).tofile(tmp_path / "train_y.bin")
    images[:1].tofile(tmp_path / "unlabeled_X.bin")
    (tmp_path / "class_names.txt").write_text("\n".join(f"c{i}" for i in range(10)))
    source = open_source(str(tmp_path))
    assert np.array_equal(source.samples, images)
    assert source.targets.tolist() == [0, 9, 2, 0]
    assert open_source(f"{tmp_path}?split=unlabeled").targets is None


def test_svhn(tmp_path):
    images = svhn(tmp_path)
    source = open_source(str(tmp_path))
    assert np.array_equal(source.samples[1], images[..., 1].transpose(2, 0, 1))
    assert source.targets.tolist() == [*range(10)]


@pytest.mark.parametrize(
    ("kind", "write", "split", "labels"),
    [
        ("cub", cub, "train", ["001.Bird_1"] * 2 + ["002.Bird_2"] * 2),
        ("cub", cub, "test", ["003.Bird_3"] * 2 + ["004.Bird_4"] * 2),
        ("cub", cub, "official-test", [f"00{c}.Bird_{c}" for c in range(1, 5)]),
        ("cars", cars, "train", ["Car 0", "Car 0", "Car 1", "Car 1"]),
        ("cars", cars, "official-train", ["Car 0", "Car 1", "Car 2", "Car 3"]),
        ("sop", products, "test", ["3", "3", "4", "4"]),
        ("in-shop", in_shop, "train", ["id_1", "id_1"]),
        ("in-shop", in_shop, "test", ["id_2"] * 4),
        ("omniglot", omniglot, "test", ["Angelic/character01"] * 2 + ["Angelic/character02"] * 2),
        ("tiny-imagenet", tiny_imagenet, "train", ["n01", "n01", "n02", "n02"]),
        ("tiny-imagenet", tiny_imagenet, "val", ["n02", "n01"]),
        ("mini-imagenet", mini_imagenet, "val", ["c", "c", "d", "d"]),
        ("imagenet", imagenet, "train", ["n01", "n02"]),
        ("imagenet", imagenet, "val", ["n02", "n01"]),
        ("imagenet", kaggle, "val", ["n02", "n01"]),
        ("pets", pets, "test", ["Abyssinian", "great_pyrenees"]),
        ("flowers", flowers, "train", ["001", "077"]),
    ],
)
def test_lists_of_pictures(kind, write, split, labels, tmp_path):
    write(tmp_path)
    for name in (f"{kind}:{tmp_path}", str(tmp_path)):  # by name, and by what is inside
        source = open_source(f"{name}?split={split}", image_size=6)
        batch = source.__getitems__(range(len(source)))
        assert not batch.broken
        assert [source.names[i] for i in batch.target] == labels


def test_the_papers_split_is_of_classes_of_its_own(tmp_path):
    cub(tmp_path)
    data = open_data(
        f"cub:{tmp_path}", test=f"cub:{tmp_path}?split=test", image_size=6, validation_share=0.5
    )
    assert data.classes == 2
    assert data.test.targets.tolist() == [2, 2, 3, 3]


def test_what_is_no_archive_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not hold CUB-200-2011.*images.txt"):
        open_source(f"cub:{tmp_path}")
    cub(tmp_path)
    with pytest.raises(ValueError, match=r"takes \?split= with one of train, test, official-train"):
        open_source(f"cub:{tmp_path}?split=dev")
    (tmp_path / "images.txt").write_text("1 a.jpg\n2\n")
    with pytest.raises(ValueError, match=r"images\.txt, line 2, has 1 of 2 columns"):
        open_source(f"cub:{tmp_path}")
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert all(f"`{kind}`" in page for kind in LAYOUTS)
    assert set(LAYOUTS) == ARCHIVES
