"""Standard archives, written small and byte for byte as their authors give them.

Each writer lays out a few classes with `each` samples of a class and part.
"""

import struct

import numpy as np
from PIL import Image
from scipy.io import savemat

DRAW = np.random.default_rng(0)


def picture(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    shade = DRAW.integers(256, size=(6, 8, 3), dtype=np.uint8)
    Image.fromarray(shade).save(file.with_suffix(".png"))
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


def cifar10(place, each=1):
    """Return all images, those of the test last."""
    place.mkdir(parents=True)
    images = rows(12 * each)
    parts = np.split(images, 6)
    for i in range(5):
        held = {"batch_label": "x", "labels": [i, 9 - i] * each, "data": parts[i]}
        (place / f"data_batch_{i + 1}").write_bytes(python2(held))
    (place / "test_batch").write_bytes(python2({"labels": [3, 4] * each, "data": parts[5]}))
    (place / "batches.meta").write_bytes(python2({"label_names": [f"c{i}" for i in range(10)]}))
    return images.reshape(-1, 3, 32, 32)


def cifar100(place, each=1, write=python2):
    """Return all images, those of the test last."""
    place.mkdir(parents=True, exist_ok=True)
    names = {
        f"{k}_label_names": [f"{k}{i}" for i in range(n)]
        for k, n in (("fine", 100), ("coarse", 20))
    }
    (place / "meta").write_bytes(write(names))
    images = rows(6 * each)
    for part, data in zip(("train", "test"), np.split(images, 2), strict=True):
        labels = {"fine_labels": [7, 99, 0] * each, "coarse_labels": [1, 19, 0] * each}
        (place / part).write_bytes(write({**labels, "data": data}))
    return images


def svhn(place, each=1):
    """Return the images of the training part, which are those of the test."""
    place.mkdir(parents=True, exist_ok=True)
    images = DRAW.integers(256, size=(32, 32, 3, 10 * each), dtype=np.uint8)
    labels = np.array([[10], *([c] for c in range(1, 10))] * each, np.uint8)
    for part in ("train", "test"):
        savemat(place / f"{part}_32x32.mat", {"X": images, "y": labels})
    return images


def cub(place, each=2):
    files = [f"{c:03d}.Bird_{c}/Bird_{i}.jpg" for c in range(1, 5) for i in range(each)]
    for file in files:
        picture(place / "images" / file)
    lines = {
        "images.txt": [f"{i} {f}" for i, f in enumerate(files, 1)],
        "image_class_labels.txt": [f"{i + 1} {i // each + 1}" for i in range(len(files))],
        "train_test_split.txt": [f"{i} {i % 2}" for i in range(1, len(files) + 1)],
        "classes.txt": [f"{c} {c:03d}.Bird_{c}" for c in range(1, 5)],
    }
    for name, text in lines.items():
        (place / name).write_text("\n".join(text) + "\n")


def cars(place, each=2):
    kind = [("relative_im_path", "O"), ("class", "O"), ("test", "O")]
    notes = [(f"car_ims/{i:06d}.jpg", i // each + 1, i % 2) for i in range(4 * each)]
    for file, *_ in notes:
        picture(place / file)
    names = np.array([f"Car {c}" for c in range(4)], dtype=object)
    savemat(
        place / "cars_annos.mat", {"annotations": np.array([notes], kind), "class_names": names}
    )


def products(place, each=2):
    for part, first in (("train", 1), ("test", 3)):
        lines = ["image_id class_id super_class_id path"]
        for i in range(2 * each):
            file = f"bicycle_final/{first + i // each}_{i}.JPG"
            picture(place / file)
            lines.append(f"{i} {first + i // each} 1 {file}")
        (place / f"Ebay_{part}.txt").write_text("\n".join(lines))


def in_shop(place, each=2):
    lines = ["6", "image_name item_id evaluation_status"]
    for item, part in (("id_1", "train"), ("id_2", "query"), ("id_2", "gallery")):
        for i in range(each):
            file = f"img/WOMEN/{item}/{part}_{i}.jpg"
            picture(place / file)
            lines.append(f"{file}   {item}   {part}")
    (place / "Eval").mkdir()
    (place / "Eval" / "list_eval_partition.txt").write_text("\n".join(lines))


def omniglot(place, each=2, characters=2):
    for part, alphabet in (("background", "Greek"), ("evaluation", "Angelic")):
        for c in range(1, characters + 1):
            for i in range(1, each + 1):
                folder = place / f"images_{part}" / alphabet / f"character{c:02d}"
                picture(folder / f"0{c}_{i:02d}.png")


def tiny_imagenet(place, each=2):
    for c in ("n02", "n01"):
        for i in range(each):
            picture(place / "train" / c / "images" / f"{c}_{i}.JPEG")
    lines = []
    for i in range(each):
        picture(place / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\tn0{2 - i % 2}\t0\t32\t44\t62\n")
    (place / "val" / "val_annotations.txt").write_text("".join(lines))
    (place / "wnids.txt").write_text("n02\nn01\n")


def mini_imagenet(place, each=2):
    for part, classes in (("train", "ab"), ("val", "cd"), ("test", "ef")):
        files = [(f"{c}{i}.jpg", c) for c in classes for i in range(each)]
        for file, _ in files:
            picture(place / "images" / file)
        lines = ["filename,label", *(",".join(pair) for pair in files)]
        (place / f"{part}.csv").write_text("\n".join(lines) + "\n")


def imagenet(place, each=1):
    for c in ("n02", "n01"):
        for i in range(each):
            picture(place / "train" / c / f"{c}_{i}.JPEG")
    lines = []
    for i in range(1, 2 * each + 1):
        picture(place / "val" / f"ILSVRC2012_val_{i:08d}.JPEG")
        lines.append(f"ILSVRC2012_val_{i:08d}.JPEG {i % 2}\n")
    (place / "val.txt").write_text("".join(lines))


def kaggle(place):
    imagenet(place)
    (place / "val.txt").unlink()
    (place / "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n02 85 1 499 272 \n"
        "ILSVRC2012_val_00000002,n01 1 2 3 4 n01 5 6 7 8 \n"
    )


def pets(place, each=1):
    (place / "annotations").mkdir(parents=True)
    names = ("Abyssinian", "great_pyrenees")
    for part, first in (("trainval", 0), ("test", each)):
        held = [(f"{name}_{first + i}", c) for c, name in enumerate(names, 1) for i in range(each)]
        lines = [f"{file} {c} 1 1" for file, c in held]
        (place / "annotations" / f"{part}.txt").write_text("\n".join(lines))
        for file, _ in held:
            picture(place / "images" / f"{file}.jpg")


def flowers(place, each=1):
    """Parts of two, one and two numbers; the classes of each three pictures are 77, 77 and 1."""
    for i in range(1, 3 * each + 1):
        picture(place / "jpg" / f"image_{i:05d}.jpg")
    savemat(place / "imagelabels.mat", {"labels": np.array([[77, 77, 1] * each], np.uint8)})
    thirds = [[3 * i + k for i in range(each)] for k in (3, 1, 2)]
    parts = {"trnid": [thirds[0] + thirds[1]], "valid": [thirds[2]]}
    savemat(place / "setid.mat", {**parts, "tstid": [thirds[0] * (each > 1) + thirds[2]]})


WRITERS = {
    "cifar10": cifar10, "cifar100": cifar100, "svhn": svhn, "cub": cub, "cars": cars,
    "sop": products, "in-shop": in_shop, "omniglot": omniglot, "tiny-imagenet": tiny_imagenet,
    "mini-imagenet": mini_imagenet, "imagenet": imagenet, "pets": pets, "flowers": flowers,
}  # fmt: skip
