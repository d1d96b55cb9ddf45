"""The card of an export: README.md, as model hubs show it."""

from pathlib import Path
from typing import Any

import yaml

from asterism.exporters.account import Exported
from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Subject, shipped_name
from asterism.run import Run, RunError
from asterism.words import number, readable

# Measures of the run that a card shows, where they are there.
SHOWN = (
    "accuracy",
    "recall",
    "k-NN accuracy",
    "agreement",
    "neighbour overlap",
    "own item, stored map",
)
# Settings that say how a student was trained.
TOLD = ("epochs", "batch_size", "lr", "optimizer", "task_weight", "seed", "image_size")
LIBRARIES = {
    "sentence-transformers": "sentence-transformers",
    "model2vec": "model2vec",
    "transformers": "transformers",
    "timm": "timm",
    "onnx": "onnx",
    "openvino": "openvino",
}


def card_of(exporter: Exporter, subject: Subject, exported: Exported) -> str:
    """Return the card: what it is, how to load it, what it kept, and how it was made.

    No folder of this machine is named in it.
    """
    run = Run(subject.run)
    result = run.read_result() if run.finished() else {}
    try:
        config = run.read_config()
    except (FileNotFoundError, RunError):
        config = {}
    front = yaml.safe_dump(_front(exporter, subject, config), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---\n",
        f"# {subject.kind}\n",
        _what(subject, config, result),
        f"## Loading it\n\n```python\n{exporter.snippet(subject)}```\n\n{_given(subject)}",
        _parity(exported),
        _kept(result),
        _made(config),
        "Exported by asterism. The licences of the teacher, of the weights that the student began "
        "with and of the data are theirs: state yours in `license` above.\n",
    ]
    return "\n".join(part for part in parts if part)


def _front(exporter: Exporter, subject: Subject, config: dict[str, Any]) -> dict[str, Any]:
    tasks = {
        "text": "sentence-similarity",
        "image": "image-classification" if subject.has_logits else "image-feature-extraction",
    }
    front: dict[str, Any] = {"library_name": LIBRARIES.get(exporter.name, "asterism")}
    if task := tasks.get(subject.student.modality.name):
        front["pipeline_tag"] = task
    front["tags"] = ["asterism", "knowledge-distillation"]
    if str(config.get("data")).startswith("hf/"):
        front["datasets"] = [str(config["data"]).partition("?")[0].removeprefix("hf/")]
    return front


def _what(subject: Subject, config: dict[str, Any], result: dict[str, Any]) -> str:
    teacher = config.get("teacher")
    made = f"distilled from `{_name(teacher)}`" if teacher else "trained from labels"
    modality, shape = subject.student.modality, subject.student.shape
    headline = f" {readable(result['headline'], 1000)}" if result.get("headline") else ""
    classes = ""
    if subject.classes:
        named = ", ".join(readable(name, 40) for name in subject.classes[:20])
        more = ", …" if len(subject.classes) > 20 else ""
        classes = f" Classes, in the order of the logits: {named}{more}."
    space = " Its embeddings are in the teacher's space." if subject.aligned else ""
    return f"A student for {modality.described(shape)}, {made}.{headline}{classes}{space}\n"


def _given(subject: Subject) -> str:
    modality, shape = subject.student.modality, subject.student.shape
    if subject.of_texts:
        return "`samples` is a list of texts.\n"
    size = ", ".join(map(str, shape or ()))
    if not modality.pixels:
        return f"`samples` is a float32 array (n, {size}).\n"
    return f"`samples` is a float32 array (n, {size}) in [0, 1]. A picture is {modality.reading}.\n"


def _parity(exported: Exported) -> str:
    what = "of the float graph from the student" if exported.int8 else "from the student"
    lines = [
        f"Largest difference {what}, as a share of its largest value, on "
        f"{readable(exported.compared_on, 200)}: {exported.largest_difference:.1e} "
        f"({exported.tolerance:g} allowed); {number(exported.size, 'bytes')}."
    ]
    lines += [f"{note[0].upper()}{note[1:]}." for note in exported.notes]
    if (cost := exported.int8) is not None:
        figures = [f"on {cost.rows} rows"]
        for name, value in (
            ("smallest cosine to the float student", cost.smallest_cosine),
            ("nearest neighbours kept", cost.neighbours_kept),
            ("same class", cost.agreement),
        ):
            figures += [] if value is None else [f"{name} {value:.4f}"]
        for name, pair in (("accuracy", cost.accuracy), ("recall@1", cost.recall_at_1)):
            figures += [] if pair is None else [f"{name} {pair[1]:.4f} instead of {pair[0]:.4f}"]
        lines.append(f"8 bits: {', '.join(figures)}.")
    return "## Parity\n\n" + "\n".join(lines) + "\n"


def _kept(result: dict[str, Any]) -> str:
    """Return a table of the run's measures with their intervals."""
    rows = []
    for measure in result.get("measures", []):
        student = measure["student"] or {}  # none where it is undefined
        shown = str(measure["name"]) in SHOWN and student.get("value") is not None
        if not shown:
            continue
        k = f"@{measure['k']}" if measure["k"] else ""
        cells = [_figure(measure["student"], measure["unit"])]
        cells.append(_figure(measure.get("teacher"), measure["unit"]))
        rows.append(f"| {measure['name']}{k}, {measure['unit']} | {' | '.join(cells)} |")
    if not rows:
        return ""
    where = f"{result.get('rows')} {result.get('split')} rows, 95 % intervals"
    head = f"| {where} | student | teacher |\n|---|---|---|\n"
    return "## What it kept\n\n" + head + "\n".join(rows) + "\n"


def _figure(value: dict[str, Any] | None, unit: str) -> str:
    if not value or value.get("value") is None:
        return "–"
    figure = number(value["value"], unit)
    if value.get("low") is None:
        return figure
    return f"{figure} ({number(value['low'], unit)} to {number(value['high'], unit)})"


def _made(config: dict[str, Any]) -> str:
    if not config:
        return ""
    methods = [
        f"{readable(str(each.get('class_path', '?')).rpartition('.')[2])}"
        f"({', '.join(f'{k}={readable(v)}' for k, v in (each.get('init_args') or {}).items())})"
        for each in config.get("method") or []
    ]
    told = {
        "teacher": _name(config.get("teacher")),
        "data": _name(config.get("data")),
        "method": " + ".join(methods),
        **{name: config.get(name) for name in TOLD},
        "versions": ", ".join(
            f"{name} {config['provenance'][name]}"
            for name in ("asterism", "torch", "python")
            if name in (config.get("provenance") or {})
        ),
    }
    lines = [
        f"- {name.replace('_', ' ')}: {value}"
        for name, value in told.items()
        if value not in (None, "")
    ]
    return "## How it was made\n\n" + "\n".join(lines) + "\n"


def _name(name: Any) -> str:
    """Return the name of data or teacher without the folders of this machine."""
    if not name:
        return ""
    shipped = shipped_name(str(name))
    base, question, rest = shipped.partition("?")
    known = base.startswith(("hf/", "st/", "timm/", "torchvision/", "python:"))
    return readable(base if known else f"{Path(base).name}{question}{rest}")
