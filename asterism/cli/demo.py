"""`asterism demo`."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from asterism import KD, RKD
from asterism.cli.parser import Parser
from asterism.cli.screen import Screen
from asterism.cli.show import row_of, table
from asterism.data import open_data
from asterism.exporters import EXPORTERS
from asterism.recipe import distill, export, train
from asterism.words import number

# What a service does with the file: a process that never imports torch names a picture.
QUERY = """
import sys
import asterism.runtime

model = asterism.runtime.load(sys.argv[1])
for name, probability in model.predict(sys.argv[2]):
    print(f"a {name} ({probability:.0%})")
assert "torch" not in sys.modules
"""
TEACHER, STUDENT = "convnet", "convnet?width=8"


def run(arguments: Sequence[str]) -> None:
    """Train a teacher on handwritten digits, distil it in three ways, and ship one student."""
    Parser(prog="asterism demo").parse_args(list(arguments))
    # Networks this small gain nothing from a second core, and lose much if others want it too.
    torch.set_num_threads(1)
    begun = time.perf_counter()
    folder = Path("runs/demo")
    common: dict[str, Any] = {
        "data": "digits",
        "epochs": 30,
        "batch_size": 64,
        "lr": 0.05,
        "keep": "last",
        "overwrite": True,
    }
    console = Screen()
    console.print(f"Training a teacher ({TEACHER}) on scikit-learn's digits …")
    teacher = train(TEACHER, out=folder / "teacher", **common)
    name = str(teacher.run)
    rows = {"teacher": teacher.evaluation["student"]}
    console.print(f"Training a student ({STUDENT}) alone …")
    rows["student alone"] = row_of(train(STUDENT, out=folder / "alone", **common))
    ways: dict[str, tuple[Any, bool]] = {
        "KD": (KD(), True),
        "RKD, no labels": (RKD(), False),
        "RKD + KD": ([RKD(distance_weight=25, angle_weight=50), KD()], True),
    }
    for way, (method, labels) in ways.items():
        console.print(f"Distilling: {way} …")
        out = folder / way.lower().replace(",", "").replace(" + ", "-").replace(" ", "-")
        beside: dict[str, Any] = {"baseline": folder / "alone", "out": out}
        result = distill(name, STUDENT, method=method, labels=labels, **beside, **common)
        rows[way] = row_of(result)
    console.print(table(rows, title=f"500 test digits, {time.perf_counter() - begun:.0f} s"))
    ship(folder / "rkd-kd", console)
    console.print(
        f"Run folders: {folder}/… (config.yaml, metrics.jsonl, result.json, student.safetensors)\n"
        f"What each student kept, on a page: {folder}/rkd-kd/report.html and beside it\n"
        "Next: distil the same teacher your way,\n"
        f"  asterism distill --teacher {name} --student mlp --data digits --out runs/mine\n"
        "or your own: `asterism list` shows what can be named."
    )


def ship(run: Path, console: Screen) -> None:
    """Export a student to ONNX, and let a process without torch answer a query with it."""
    onnx = EXPORTERS["onnx"]
    if not all(importlib.util.find_spec(library) for library in onnx.libraries):
        console.print(
            f"With pip install 'asterism[{onnx.extra}]' the demo exports it to ONNX, too."
        )
        return
    console.print("Exporting RKD + KD to ONNX, and asking it without torch …")
    [exported] = export(run, "onnx", overwrite=True)
    source, rows, _ = open_data("digits").evaluation()
    images = np.asarray(source.__getitems__(rows[:1].tolist()).views[0])
    picture = run / "query.png"
    Image.fromarray(images[0, 0]).save(picture)
    command = [sys.executable, "-c", QUERY, str(exported.folder), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    console.print(
        f"{picture} is {done.stdout.strip()}, says {exported.folder}/model.onnx, "
        f"{number(exported.size, 'bytes')}"
    )
