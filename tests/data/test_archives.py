"""Standard archives, written here small and byte for byte as their authors give them."""

import gzip
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from asterism.data import open_data, open_source
from asterism.data.archives import LAYOUTS
from asterism.names import ARCHIVES

DRAW = np.random.default_rng(0)


def picture(file, shade=0):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(file.with_suffix(".png"))
    file.with_suffix(".png").rename(file)


def python2(held):
    """Return a pickle as Python 2 wrote it: texts are bytes, numpy has its old name."""

    def text(x):
        raw = x if isinstance(x, bytes) else x.encode()
        return b"T" + struct.pack("<i", len(raw)) + raw

    def number(x):
        return b"J" + struct.pack("<i", x)

    def value(x):
        if isinstance(x, np.ndarray):
            begin = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
            dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + 2 * number(-1)
            shape = b"(" + b"".join(map(number, x.shape)) + b"t"
            return begin + b"(K\x01" + shape + dtype + b"K\x00tb\x89" + text(x.tobytes()) + b"tb"
        if isinstance(x, list):
            return b"](" + b"".join(map(value, x)) + b"e"
        return number(x) if isinstance(x, int) else text(x)

    items = b"".join(text(k) + value(v) for k, v in held.items())
    return b"\x80\x02}(" + items + b"u."


def rows(n):
    return DRAW.integers(256, size=(n, 3072), dtype=np.uint8)


def cifar10(place):
    place.mkdir()
    images = rows(12)
    for i in range(5):
        held = {"batch_label": "x", "labels": [i, 9 - i], "data": images[2 * i : 2 * i + 2]}
        (place / f"data_batch_{i + 1}").write_bytes(python2(held))
    (place / "test_batch").write_bytes(python2({"labels": [3, 4], "data": images[10:]}))
    (place / "batches.meta").write_bytes(python2({"label_names": [f"c{i}" for i in range(10)]}))
    return images.reshape(-1, 3, 32, 32)


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
    names = {
        f"{k}_label_names": [f"{k}{i}" for i in range(n)]
        for k, n in (("fine", 100), ("coarse", 20))
    }
    (tmp_path / "meta").write_bytes(write(names))
    images = rows(6)
    for i, part in enumerate(("train", "test")):
        held = {
            "fine_labels": [7, 99, 0],
            "coarse_labels": [1, 19, 0],
            "data": images[3 * i : 3 * i + 3],
        }
        (tmp_path / part).write_bytes(write(held))
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
    images = DRAW.integers(256, size=(32, 32, 3, 3), dtype=np.uint8)
    savemat(tmp_path / "train_32x32.mat", {"X": images, "y": np.array([[10], [1], [9]], np.uint8)})
    source = open_source(str(tmp_path))
    assert np.array_equal(source.samples[1], images[..., 1].transpose(2, 0, 1))
    assert source.targets.tolist() == [0, 1, 9]


def cub(place):
    files = [f"{c:03d}.Bird_{c}/Bird_{i}.jpg" for c in range(1, 5) for i in range(2)]
    for file in files:
        picture(place / "images" / file)
    lines = {
        "images.txt": [f"{i} {f}" for i, f in enumerate(files, 1)],
        "image_class_labels.txt": [f"{i} {(i + 1) // 2}" for i in range(1, 9)],
        "train_test_split.txt": [f"{i} {i % 2}" for i in range(1, 9)],
        "classes.txt": [f"{c} {c:03d}.Bird_{c}" for c in range(1, 5)],
    }
    for name, text in lines.items():
        (place / name).write_text("\n".join(text) + "\n")


def cars(place):
    kind = [("relative_im_path", "O"), ("class", "O"), ("test", "O")]
    notes = [(f"car_ims/{i:06d}.jpg", i // 2 + 1, i % 2) for i in range(8)]
    for file, *_ in notes:
        picture(place / file)
    names = np.array([f"Car {c}" for c in range(4)], dtype=object)
    savemat(
        place / "cars_annos.mat", {"annotations": np.array([notes], kind), "class_names": names}
    )


def products(place):
    for part, first in (("train", 1), ("test", 3)):
        lines = ["image_id class_id super_class_id path"]
        for i in range(4):
            file = f"bicycle_final/{first + i // 2}_{i}.JPG"
            picture(place / file)
            lines.append(f"{i} {first + i // 2} 1 {file}")
        (place / f"Ebay_{part}.txt").write_text("\n".join(lines))


def in_shop(place):
    lines = ["6", "image_name item_id evaluation_status"]
    for item, part in (("id_1", "train"), ("id_2", "query"), ("id_2", "gallery")):
        for i in range(2):
            file = f"img/WOMEN/{item}/{part}_{i}.jpg"
            picture(place / file)
            lines.append(f"{file}   {item}   {part}")
    (place / "Eval").mkdir()
    (place / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines))


def omniglot(place):
    for part, alphabet in (("background", "Greek"), ("evaluation", "Angelic")):
        for c in (1, 2):
            for i in (1, 2):
                picture(place / f"images_{part}" / alphabet / f"character{c:02d}" / f"0{c}_{i}.png")


def tiny_imagenet(place):
    for c in ("n02", "n01"):
        for i in range(2):
            picture(place / "train" / c / "images" / f"{c}_{i}.JPEG")
    for i in range(2):
        picture(place / "val" / "images" / f"val_{i}.JPEG")
    (place / "val" / "val_annotations.txt").write_text(
        "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t2\t3\t4\n"
    )
    (place / "wnids.txt").write_text("n02\nn01\n")


def imagenet(place):
    for c in ("n02", "n01"):
        picture(place / "train" / c / f"{c}_1.JPEG")
    for i in (1, 2):
        picture(place / "val" / f"ILSVRC2012_val_0000000{i}.JPEG")
    (place / "val.txt").write_text(
        "ILSVRC2012_val_00000001.JPEG 1\nILSVRC2012_val_00000002.JPEG 0\n"
    )


def kaggle(place):
    imagenet(place)
    (place / "val.txt").unlink()
    (place / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n02 85 1 499 272 \n"
        "ILSVRC2012_val_00000002,n01 1 2 3 4 n01 5 6 7 8 \n"
    )


def pets(place):
    (place / "annotations").mkdir(parents=True)
    for part, number in (("trainval", 1), ("test", 2)):
        names = ("Abyssinian", "great_pyrenees")
        lines = [f"{name}_{number} {c} 1 1" for c, name in enumerate(names, 1)]
        (place / "annotations" / f"{part}.txt").write_text("\n".join(lines))
        for name in names:
            picture(place / "images" / f"{name}_{number}.jpg")


def flowers(place):
    for i in range(1, 4):
        picture(place / "jpg" / f"image_{i:05d}.jpg")
    savemat(place / "imagelabels.mat", {"labels": np.array([[77, 77, 1]], np.uint8)})
    savemat(place / "setid.mat", {"trnid": [[3, 1]], "valid": [[2]], "tstid": [[2]]})


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
