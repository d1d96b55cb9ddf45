"""Archives of picture files with lists of their classes: retrieval, few-shot and transfer sets."""

import csv
from pathlib import Path
from typing import Any

import numpy as np

from asterism.data.archives.binary import matlab
from asterism.data.archives.layout import Layout, Listed, counted_from_one, rows_of

OFFICIAL = "official-"


def _by_class(split: str, classes: int) -> range:
    """Return the classes of one half: the first for training, the others for testing."""
    half = classes // 2
    return range(half) if split == "train" else range(half, classes)


def _cub(place: Path, split: str) -> Listed:
    files = dict(rows_of(place / "images.txt", columns=2))
    names = [name for _, name in rows_of(place / "classes.txt", columns=2)]
    label = {i: int(c) - 1 for i, c in rows_of(place / "image_class_labels.txt", columns=2)}
    if split.startswith(OFFICIAL):
        wanted = "1" if split.endswith("train") else "0"
        marked = rows_of(place / "train_test_split.txt", columns=2)
        chosen = [i for i, is_train in marked if is_train == wanted]
        part = range(len(names))
    else:
        part = _by_class(split, len(names))
        chosen = [i for i in files if label[i] in part]
    labels = [names[label[i]] for i in chosen]
    return Listed(place / "images", [files[i] for i in chosen], labels, [names[c] for c in part])


def _cars(place: Path, split: str) -> Listed:
    held = matlab(place / "cars_annos.mat")
    notes = held["annotations"].reshape(-1)
    names = [str(name.item()) for name in held["class_names"].reshape(-1)]
    given = np.array([int(note["class"].item()) for note in notes])
    numbers = counted_from_one(given, len(names)).tolist()
    rows = range(len(notes))
    part = range(len(names))
    if split.startswith(OFFICIAL):
        wanted = int(split.endswith("test"))
        rows_chosen = [i for i in rows if int(notes[i]["test"].item()) == wanted]
    else:
        part = _by_class(split, len(names))
        rows_chosen = [i for i in rows if numbers[i] in part]
    files = [str(notes[i]["relative_im_path"].item()) for i in rows_chosen]
    return Listed(place, files, [names[numbers[i]] for i in rows_chosen], [names[c] for c in part])


def _products(place: Path, split: str) -> Listed:
    rows = rows_of(place / f"Ebay_{split}.txt", columns=4, skip=1)
    return Listed(place, [file for *_, file in rows], [number for _, number, *_ in rows])


def _in_shop(place: Path, split: str) -> Listed:
    files = [place / x / "list_eval_partition.txt" for x in (".", "Eval")]
    file = next(f for f in files if f.exists())
    wanted = ("query", "gallery") if split == "test" else (split,)
    rows = [row for row in rows_of(file, columns=3, skip=2) if row[2] in wanted]
    return Listed(place, [file for file, *_ in rows], [item for _, item, _ in rows])


def _omniglot(place: Path, split: str) -> Listed:
    root = place / {"train": "images_background", "test": "images_evaluation"}[split]
    files = sorted(f.relative_to(root).as_posix() for f in root.glob("*/*/*.png"))
    return Listed(root, files, [file.rpartition("/")[0] for file in files], flip=False)


def _tiny_imagenet(place: Path, split: str) -> Listed:
    names = sorted((place / "wnids.txt").read_text().split())
    if split == "train":
        root = place / "train"
        files = sorted(f.relative_to(root).as_posix() for f in root.glob("*/images/*.JPEG"))
        return Listed(root, files, [file.partition("/")[0] for file in files], names)
    rows = rows_of(place / "val" / "val_annotations.txt", columns=2)
    rows = [[file, rest.split()[0]] for file, rest in rows]
    return Listed(place / "val" / "images", [r[0] for r in rows], [r[1] for r in rows], names)


def _mini_imagenet(place: Path, split: str) -> Listed:
    with open(place / f"{split}.csv", newline="") as file:
        rows = [(row["filename"], row["label"]) for row in csv.DictReader(file)]
    return Listed(place / "images", [file for file, _ in rows], [label for _, label in rows])


def _imagenet(place: Path, split: str) -> Listed:
    names = sorted(folder.name for folder in (place / "train").iterdir() if folder.is_dir())
    if split == "train":
        root = place / "train"
        files = sorted(f.relative_to(root).as_posix() for f in root.glob("*/*.JPEG"))
        return Listed(root, files, [file.partition("/")[0] for file in files], names)
    if (place / "LOC_val_solution.csv").exists():
        with open(place / "LOC_val_solution.csv", newline="") as file:
            pairs = [(f"{row[0]}.JPEG", row[1].split()[0]) for row in list(csv.reader(file))[1:]]
    else:  # numbers in the order of the folders, or their names
        rows = rows_of(place / "val.txt", columns=2)
        pairs = [(f, names[int(c)] if c.isdecimal() else c) for f, c in rows]
    return Listed(place / "val", [f for f, _ in pairs], [label for _, label in pairs], names)


def _pets(place: Path, split: str) -> Listed:
    part = {"train": "trainval", "test": "test"}[split]
    files = [row[0] for row in rows_of(place / "annotations" / f"{part}.txt", columns=2)]
    labels = [file.rpartition("_")[0] for file in files]
    return Listed(place / "images", [f"{file}.jpg" for file in files], labels)


def _flowers(place: Path, split: str) -> Listed:
    labels: Any = matlab(place / "imagelabels.mat")["labels"].reshape(-1)
    numbers = counted_from_one(labels, 102)
    name = {"train": "trnid", "val": "valid", "test": "tstid"}[split]
    chosen = matlab(place / "setid.mat")[name].reshape(-1).astype(int).tolist()
    files = [f"image_{i:05d}.jpg" for i in chosen]
    classes = [f"{i:03d}" for i in range(1, 103)]
    return Listed(place / "jpg", files, [classes[numbers[i - 1]] for i in chosen], classes)


BY_CLASS = ("train", "test", "official-train", "official-test")
LAYOUTS = {
    "cub": Layout(
        "CUB-200-2011: the first 100 classes train, the other 100 test; or the official split",
        ("images.txt", "image_class_labels.txt", "train_test_split.txt"),
        BY_CLASS,
        _cub,
    ),
    "cars": Layout(
        "Stanford Cars: the first 98 classes train, the other 98 test; or the official split",
        ("cars_annos.mat",),
        BY_CLASS,
        _cars,
    ),
    "sop": Layout(
        "Stanford Online Products",
        ("Ebay_train.txt", "Ebay_test.txt"),
        ("train", "test"),
        _products,
    ),
    "in-shop": Layout(
        "In-Shop Clothes Retrieval; test is query and gallery",
        ("list_eval_partition.txt|Eval/list_eval_partition.txt",),
        ("train", "test", "query", "gallery"),
        _in_shop,
    ),
    "omniglot": Layout(
        "Omniglot: a class is a character of an alphabet; background trains, evaluation tests",
        ("images_background/|images_evaluation/",),
        ("train", "test"),
        _omniglot,
    ),
    "tiny-imagenet": Layout(
        "Tiny ImageNet",
        ("wnids.txt", "val/val_annotations.txt"),
        ("train", "val"),
        _tiny_imagenet,
    ),
    "mini-imagenet": Layout(
        "miniImageNet with the lists of Ravi and Larochelle, whose classes are apart",
        ("images/", "train.csv", "val.csv", "test.csv"),
        ("train", "val", "test"),
        _mini_imagenet,
    ),
    "imagenet": Layout(
        "ImageNet: folders for training, validation pictures side by side with a list",
        ("train/", "val/", "val.txt|LOC_val_solution.csv"),
        ("train", "val"),
        _imagenet,
    ),
    "pets": Layout(
        "Oxford-IIIT Pets", ("annotations/trainval.txt", "images/"), ("train", "test"), _pets
    ),
    "flowers": Layout(
        "Oxford Flowers 102",
        ("imagelabels.mat", "setid.mat", "jpg/"),
        ("train", "val", "test"),
        _flowers,
    ),
}
