"""The table of docs/export.md: every kind of student in every format.

    python benchmarks/exports.py OUT --images FILE.npz --texts FILE.tsv --text-model FOLDER \
        [--only resnet20 hf] [--docs docs/export.md]

IMAGES has images of 32 × 32 pixels with labels, TEXTS a column `text`; TEXT-MODEL is a folder with
a transformer and its tokeniser. Students are not trained, which nothing here depends on: weights
are drawn, and the statistics of their batch norm are those of some batches of the data. Each is
exported by `asterism.export`, which compares; then torch and the format answer 1 and 64 rows in
turn, on one core, for 0.2 s each at least, and the fastest round counts. Times are those of the
processor, which a busy machine changes little. What is finished in OUT is not run again. `--docs`
puts the table between the marks of a page.
"""

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import asterism
from asterism.data import Data, open_data
from asterism.exporters import EXPORTERS, TOLERANCE
from asterism.exporters.subject import Subject
from asterism.exporters.trials import real_rows
from asterism.modality import IMAGE, TEXT
from asterism.models import BUILT_IN, MODELS_OF, Spec, tokeniser_of, weights_of
from asterism.run import Run
from asterism.student import load
from asterism.training.models import open_student

SIZES = (1, 64)
# One of each family comes first, for who cannot wait for all.
FIRST = (
    "resnet20 resnet8x4 resnet18 wrn-16-2 vgg8 mobilenetv2-half shufflenetv2 deit-tiny mlp convnet "
    "text-static text-transformer"
).split()
SECONDS = 0.2
MARKS = ("<!-- benchmarks/exports.py -->", "<!-- end -->")
OWN = """
import torch
from asterism import Outputs


class Own(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 3, 2), torch.nn.ReLU(), torch.nn.Conv2d(32, 64, 3, 2)
        )
        self.classifier = torch.nn.Linear(64, classes)

    def forward(self, images):
        embedding = self.features(images).relu().mean((2, 3))
        return Outputs(embedding, self.classifier(embedding))


def make(classes):
    return Own(classes)
"""


@dataclass(frozen=True)
class Cell:
    """One student in one format.

    Attributes:
        reason: Why there is nothing else; None where there is.
        difference: The largest from the student, as a share of its largest value.
        size: Bytes.
        milliseconds: Of 1 and of 64 rows.
        torch_milliseconds: Of the student itself, measured in turn.
    """

    reason: str | None = None
    difference: float = 0.0
    size: int = 0
    milliseconds: tuple[float, ...] = ()
    torch_milliseconds: tuple[float, ...] = ()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--text-model", required=True)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--docs", type=Path)
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    with suppress(AttributeError):  # one core for every library, whatever it takes by itself
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    data = {IMAGE: asked.images, TEXT: asked.texts}
    for name, model, modality in students(asked.text_model, asked.out):
        if not asked.only or name in asked.only:
            fill(asked.out, name, model, data[modality], asked.text_model)
    cells = {}
    for name, *_ in students(asked.text_model, asked.out):
        for to in EXPORTERS:
            if (file := place_of(asked.out, name, to)).exists():
                cells[name, to] = Cell(**json.loads(file.read_text()))
    table = as_markdown(cells)
    print(table)
    if asked.docs:
        before, _, rest = asked.docs.read_text().partition(MARKS[0])
        after = rest.partition(MARKS[1])[2]
        asked.docs.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")


def students(text_model: str, out: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield each kind of student: what it is called, its name for `--student`, what it takes."""
    (out / "own.py").write_text(OWN)
    yield "own module", f"{out / 'own.py'}:make", IMAGE
    yield (
        "timm/mobilenetv3_small_050",
        "timm/mobilenetv3_small_050?pretrained=false&image_size=64",
        IMAGE,
    )
    yield "torchvision/resnet18", "torchvision/resnet18?pretrained=false&image_size=64", IMAGE
    yield "hf/all-MiniLM-L6-v2", f"hf/{text_model}", TEXT
    yield "st/all-MiniLM-L6-v2", f"st/{text_model}", TEXT
    for name in sorted(BUILT_IN, key=lambda name: name not in FIRST):
        modality = next(m for m, known in MODELS_OF.items() if name in known)
        yield name, name, modality


def place_of(out: Path, name: str, to: str) -> Path:
    return out / f"{name.replace('/', '-')}-{to}.json"


def fill(out: Path, name: str, model: str, data: str, text_model: str) -> None:
    """Measure what is missing of a student; what it is exported to is thrown away."""
    missing = [to for to in EXPORTERS if not place_of(out, name, to).exists()]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as place:
        try:
            run, opened = finished(Path(place) / "run", model, data, text_model)
        except ValueError as error:
            made = dict.fromkeys(missing, Cell(str(error).replace(text_model, "FOLDER")))
        else:
            made = {to: measured(run, opened, model, to) for to in missing}
    for to, cell in made.items():
        place_of(out, name, to).write_text(json.dumps(asdict(cell)))
        print(name, to, cell, flush=True)


def measured(run: Path, opened: Data, model: str, to: str) -> Cell:
    """Export a student, and measure what was written."""
    factory = model if ".py:" in model else None
    try:
        # What is beyond the default tolerance is shown, and shown to be so.
        [made] = asterism.export(run, to, factory=factory, tolerance=1.0)
    except ValueError as error:
        told = re.search(r"cannot hold the student of .*?\): (.*?)\. onnx, ", str(error))
        return Cell(told[1] if told else str(error))
    student = load(run, factory=factory)
    subject = Subject(run, student, Run(run).read_card(), factory=factory)
    encode = EXPORTERS[to].read(subject, made.folder)
    rows: Any = real_rows(opened, max(SIZES))
    pairs = [in_turn(encode, subject.outputs, rows[:size]) for size in SIZES]
    theirs, own = zip(*pairs, strict=True)
    return Cell(None, made.largest_difference, made.size, theirs, own)


@torch.no_grad()
def finished(folder: Path, model: str, data: str, text_model: str) -> tuple[Path, Data]:
    """Write the folder of a run without a training."""
    torch.manual_seed(0)
    opened = open_data(data)
    source = opened.source
    tokenizer = Path(text_model, "tokenizer.json").read_text() if source.shape is None else None
    statistics = opened.statistics()
    spec = Spec(opened.classes, source.shape, *statistics, modality=source.modality)
    if tokenizer is not None:
        spec = Spec(None, None, tokenizer=tokenizer)
    student, card = open_student(model, spec, opened.class_names if tokenizer is None else None)
    if tokenizer is None:
        images: Any = real_rows(opened, 640)
        student.train()
        for batch in images.split(64):
            student(batch)
    run = Run(folder)
    tokeniser = tokeniser_of(student)
    config = {"data": data, "image_size": None, "validation_share": 0.1, "split_seed": 0}
    none = dict.fromkeys(["validation_data", "test_data", "teacher"])
    with run.writing():
        run.write_config({**none, **config}, {"torch": "2"})
        run.write_student(weights_of(student), card, tokeniser and tokeniser.json)
        run.write_result({"steps": 1})
    return folder, opened


def in_turn(
    one: Callable[[Any], Any], other: Callable[[Any], Any], samples: Any
) -> tuple[float, float]:
    """Return the milliseconds of the fastest call of both, called in turn."""
    fastest = [float("inf"), float("inf")]
    spent = 0.0
    one(samples), other(samples)  # what is made at the first call counts for nobody
    while spent < 2 * SECONDS:
        for i, call in enumerate((one, other)):
            begun = time.process_time()
            call(samples)
            taken = time.process_time() - begun
            fastest[i], spent = min(fastest[i], taken), spent + taken
    return 1e3 * fastest[0], 1e3 * fastest[1]


def as_markdown(cells: dict[tuple[str, str], Cell]) -> str:
    """Return the table, and under it the reasons of the cells that have nothing else."""
    reasons: dict[str, str] = {}
    lines = [
        "| student | torch, ms of 1 / 64 rows | "
        + " | ".join(f"`{to}`" for to in EXPORTERS)
        + " |",
        "|---|---|" + "---|" * len(EXPORTERS),
    ]
    for name in dict.fromkeys(student for student, _ in cells):
        row = [cells.get((name, to), Cell("not measured")) for to in EXPORTERS]
        own = next((times(c.torch_milliseconds) for c in row if c.reason is None), "–")
        shown = [
            f"{apart(c.difference)}, {c.size / 1e6:.2f} MB, {times(c.milliseconds)}"
            if c.reason is None
            else f"– ({reasons.setdefault(c.reason, chr(97 + len(reasons)))})"
            for c in row
        ]
        lines.append(f"| `{name}` | {own} | " + " | ".join(shown) + " |")
    lines += ["", *(f"({letter}) {reason.rstrip('.')}.  " for reason, letter in reasons.items())]
    return "\n".join(lines)


def apart(difference: float) -> str:
    """Return a difference, in bold beyond what is exported by default."""
    shown = f"{difference:.0e}" if difference else "0"
    return f"**{shown}**" if difference > TOLERANCE else shown


def times(milliseconds: Sequence[float]) -> str:
    return " / ".join(f"{each:,.0f}" if each >= 100 else f"{each:.3g}" for each in milliseconds)


if __name__ == "__main__":
    main()
