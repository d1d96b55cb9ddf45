"""The front matter of a card: what a model hub reads of it."""

import re
from pathlib import Path
from typing import Any

import huggingface_hub

from asterism.documents import MOST_YAML, as_yaml, parse_yaml, read_file
from asterism.exporters.subject import Subject, shipped_name
from asterism.names import SEVERAL, each_name
from asterism.words import named_unit, readable

FRONT = re.compile(r"\A---\n(.*?\n)---\n", re.DOTALL)
# What of an export is a library of its own on hubs.
LIBRARIES = {
    "sentence-transformers": "sentence-transformers",
    "model2vec": "model2vec",
    "transformers": "transformers",
    "timm": "timm",
    "onnx": "onnx",
    "openvino": "openvino",
}
# Measures of the run that a card shows, where they are there.
SHOWN = (
    "accuracy",
    "recall",
    "k-NN accuracy",
    "agreement",
    "neighbour overlap",
    "own item, stored map",
)


def front_matter(
    library: str, subject: Subject, config: dict[str, Any], result: dict[str, Any]
) -> dict[str, Any]:
    """Return the front matter of a student: the licence is its owner's to state.

    Args:
        library: Name of the format.
        subject: The student.
        config: The run's settings.
        result: The run's result.
    """
    tasks = {
        "text": "sentence-similarity",
        "image": "image-classification" if subject.has_logits else "image-feature-extraction",
    }
    front: dict[str, Any] = {"library_name": LIBRARIES.get(library, "asterism")}
    task = tasks.get(subject.student.modality.name)
    if task is not None:
        front["pipeline_tag"] = task
    front["tags"] = ["asterism", "knowledge-distillation"]
    if (base := on_hub(subject.card["model"])) is not None:
        front["base_model"] = base
    data = str(config.get("data"))
    if data.startswith("hf/"):
        front["datasets"] = [data.partition("?")[0].removeprefix("hf/")]
    if metrics := [_metric(each, result) for each in shown(result)]:
        dataset = {"name": told(config.get("data")), "type": "custom"}
        dataset |= {"split": str(result.get("split"))}
        results = {"task": {"type": task or "other"}, "dataset": dataset, "metrics": metrics}
        front["model-index"] = [{"name": subject.kind, "results": [results]}]
    return front


def shown(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the measures of a run that its card shows."""
    return [
        each
        for each in result.get("measures", [])
        if str(each["name"]) in SHOWN and (each["student"] or {}).get("value") is not None
    ]


def _metric(measure: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return a measure as hubs have it; its interval is in the name, for want of another place."""
    student, k = measure["student"], f"@{measure['k']}" if measure["k"] else ""
    name = f"{measure['name']}{k}{named_unit(measure['unit'])}"
    if student.get("low") is not None:
        interval = f"95 % interval {student['low']:.2f} to {student['high']:.2f}"
        name += f" ({interval}, {result.get('rows')} rows)"
    kind = re.sub(r"\W+", "_", f"{measure['name']}{k}").strip("_")
    return {"type": kind, "value": round(float(student["value"]), 4), "name": name}


def told(name: Any) -> str:
    """Return the name of data, or of one teacher or several, without the folders of this machine.

    Examples:
        >>> told("/home/me/runs/a + hf/org/b?pooling=cls"), told(None)
        ('a + hf/org/b', '')
    """
    return SEVERAL.join(map(_told, each_name(name))) if name else ""


def _told(name: Any) -> str:
    shipped = shipped_name(str(name))
    base, question, rest = shipped.partition("?")
    known = base.startswith(("hf/", "st/", "timm/", "torchvision/", "python:"))
    return readable(base if known else f"{Path(base).name}{question}{rest}")


def on_hub(model: Any) -> str | None:
    """Return a model's name on Hugging Face's hub, ORG/NAME; None for one that is not there."""
    library, _, name = str(model).partition("?")[0].partition("/")
    hosted = library in ("hf", "st", "model2vec") and re.fullmatch(r"[\w.-]+/[\w.-]+", name)
    return name if hosted and not Path(name).exists() else None


def licence_of(model: Any) -> str | None:
    """Return the licence that a model's own card states, if the card is on this machine."""
    library, _, name = str(model).partition("?")[0].partition("/")
    place: Any = Path(name) / "README.md"
    if (hosted := on_hub(model)) is not None:
        place = huggingface_hub.try_to_load_from_cache(hosted, "README.md")
    if library not in ("hf", "st", "model2vec") or not isinstance(place, str | Path):
        return None
    try:
        card = read_file(Path(place), MOST_YAML).decode(errors="replace")
        stated = front_of(card).get("license")
    except (OSError, ValueError):
        return None
    return stated if isinstance(stated, str) else None


def with_front(front: dict[str, Any], card: str) -> str:
    """Return a card with front matter."""
    return f"---\n{as_yaml(front)}---\n{card}"


def without_front(card: str) -> str:
    """Return a card without its front matter."""
    return FRONT.sub("", card)


def front_of(card: str) -> dict[str, Any]:
    """Return the front matter of a card.

    Raises:
        ValueError: If it is no YAML.
    """
    found = FRONT.match(card)
    try:
        return parse_yaml(found[1].encode()) if found else {}
    except ValueError as error:
        raise ValueError(f"the card's front matter cannot be read: {error}.") from error
