"""The card of an export: README.md, as model hubs show it."""

import shlex
from importlib.metadata import version
from typing import Any

import asterism.methods as methods
from asterism.exporters.account import Exported
from asterism.exporters.exporter import Exporter
from asterism.exporters.front import front_matter, licence_of, shown, told, with_front
from asterism.exporters.subject import Subject
from asterism.options import Verb
from asterism.request import plain_defaults
from asterism.run import Run, RunError
from asterism.words import number, readable

# Settings that name something, and those that say how a student was trained.
NAMES = ("teacher", "student", "model", "data", "validation_data", "test_data")
TOLD = ("epochs", "batch_size", "lr", "optimizer", "task_weight", "image_size")
SEEDS = ("seed", "split_seed", "view_seed")


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
    loading = f"```python\n{exporter.snippet(subject)}```\n\n{_given(subject)}{exporter.also}"
    parts = [
        f"# {subject.kind}\n",
        _what(subject, config, result),
        f"## Loading it\n\n{loading}",
        _parity(exported),
        _kept(result),
        _limits(subject, config, result),
        _made(config),
        _licences(config),
        _cited(config),
    ]
    front = front_matter(exporter.name, subject, config, result)
    return with_front(front, "\n".join(part for part in ["", *parts] if part is not None))


def _what(subject: Subject, config: dict[str, Any], result: dict[str, Any]) -> str:
    teacher = config.get("teacher")
    made = f"distilled from `{told(teacher)}`" if teacher else "trained from labels"
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


def _kept(result: dict[str, Any]) -> str | None:
    """Return a table of the run's measures with their intervals."""
    rows = []
    for measure in shown(result):
        k = f"@{measure['k']}" if measure["k"] else ""
        cells = [_figure(measure["student"], measure["unit"])]
        cells.append(_figure(measure.get("teacher"), measure["unit"]))
        rows.append(f"| {measure['name']}{k}, {measure['unit']} | {' | '.join(cells)} |")
    if not rows:
        return None
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


def _made(config: dict[str, Any]) -> str | None:
    if not config:
        return None
    methods = [
        f"{readable(str(each.get('class_path', '?')).rpartition('.')[2])}"
        f"({', '.join(f'{k}={readable(v)}' for k, v in (each.get('init_args') or {}).items())})"
        for each in config.get("method") or []
    ]
    facts = {
        "teacher": told(config.get("teacher")),
        "data": told(config.get("data")),
        "method": " + ".join(methods),
        **{name: config.get(name) for name in (*TOLD, *SEEDS)},
        "versions": ", ".join(
            f"{name} {config['provenance'][name]}"
            for name in ("asterism", "torch", "python")
            if name in (config.get("provenance") or {})
        ),
    }
    lines = [
        f"- {name.replace('_', ' ')}: {value}"
        for name, value in facts.items()
        if value not in (None, "")
    ]
    command = f"```\n{_command(config)}\n```\n"
    return "## How it was made\n\n" + "\n".join(lines) + f"\n\n{command}"


def _command(config: dict[str, Any]) -> str:
    """Return the command of the training, with names instead of this machine's folders."""
    verb: Verb = "distill" if config.get("teacher") else "train"
    words = ["asterism", verb]
    names = {each for each in NAMES if config.get(each)}
    for name, default in plain_defaults(verb).items():
        value = config.get(name, default)
        option = f"--{name.replace('_', '-')}"
        if name in names:
            words += [option, shlex.quote(told(value))]
        elif name in ("out", "baseline", "teacher_cache", "method", "log") or value == default:
            continue
        elif isinstance(value, bool):
            words += [option if value else f"--no-{name.replace('_', '-')}"]
        else:
            values = value if isinstance(value, list) else [value]
            words += [option, shlex.quote(",".join(map(readable, values)))]
    for method in config.get("method") or []:
        words += ["--method+", _short(method)]
        for key, value in (method.get("init_args") or {}).items():
            words += [f"--method.{key}", shlex.quote(readable(value))]
    return " ".join(words)


def _short(method: dict[str, Any]) -> str:
    return readable(str(method.get("class_path", "?")).rpartition(".")[2])


def _limits(subject: Subject, config: dict[str, Any], result: dict[str, Any]) -> str:
    """Return what nobody should expect of it."""
    lines = [
        f"It was trained on `{told(config.get('data'))}` alone, and nothing tells what is unlike "
        "it: it answers for any sample."
    ]
    if subject.has_logits:
        lines.append("Whatever it is shown gets one of its classes.")
    if result.get("rows"):
        lines.append(
            f"The figures above are of {result['rows']} {result.get('split')} rows of such data; "
            "on others they may be worse."
        )
    if subject.of_texts:
        longest = subject.shipped_tokenizer().truncation["max_length"]
        lines.append(f"Of a text it reads the first {longest} tokens.")
    elif subject.student.modality.pixels and subject.student.shape is not None:
        height, width = subject.student.shape[1:]
        lines.append(f"It sees pictures at {height} × {width} pixels.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _licences(config: dict[str, Any]) -> str:
    teacher = config.get("teacher")
    licence = licence_of(teacher) if teacher else None
    stated = f"The teacher's card states {readable(licence)}. " if licence else ""
    return (
        f"## Licence\n\n{stated}The licences of the teacher, of the weights that the student "
        "began with and of the data are theirs: state yours as `license` in the front matter.\n"
    )


def _cited(config: dict[str, Any]) -> str:
    """Return what to cite: the papers of the methods, and asterism."""
    known = {name: getattr(getattr(methods, name), "paper", "") for name in methods.__all__}
    papers = [
        f"- {name}: {known[name]}"
        for name in map(_short, config.get("method") or [])
        if known.get(name)
    ]
    lines = [*papers, f"- Distilled and exported by asterism {version('asterism')}"]
    return "## Citation\n\n" + "\n".join(lines) + "\n"
