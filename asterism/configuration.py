"""The settings of a run as plain values, in the form that `--config` reads."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from asterism.engine import Settings
from asterism.methods.base import Method
from asterism.models import as_text, is_own
from asterism.run import Run, RunError

NAMED = (
    "teacher",
    "student",
    "data",
    "validation_data",
    "test_data",
    "out",
    "teacher_cache",
    "baseline",
)

# What says how to run, not what.
NO_SETTING = ("settings", "resume", "overwrite", "with_baselines", "report")

# What may change between a run and its resumption without making it another experiment.
HARMLESS = {"out", "check", "workers", "log_every", "accelerator", "teacher_cache", "baseline"}
HARMLESS |= {"relation_memory", "checkpoint_minutes", "checkpoint_steps", "checkpoints_kept"}
HARMLESS |= {"skip_nonfinite"}  # changes nothing before the step that would end the run

# What a run keeps fingerprints of, since the same name may come to have other contents.
CONTENTS = ("data", "validation_data", "test_data", "teacher")

# What a run fills in from models and data where it was left open.
FILLED_IN = {"image_size", "method", "optimizer", "padding", "view_count"}


def configuration(
    choices: dict[str, Any], methods: Sequence[Method], settings: Settings
) -> dict[str, Any]:
    """Return all settings as plain values; objects are kept by the name of their kind."""
    config = {k: v for k, v in choices.items() if k not in NO_SETTING}
    for key in NAMED:
        config[key] = None if config[key] is None else as_text(config[key])
    config["method"] = described(methods)
    if choices["teacher"] is None:  # the options of `train`
        config["model"] = config.pop("student")
        for key in ("teacher", "method", "labels", "teacher_cache", "baseline"):
            del config[key]
    return {**config, **plain(settings)}


def described(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """Return methods by class and arguments, in the form that `--config` reads."""
    return [
        {"class_path": f"{type(m).__module__}.{type(m).__qualname__}", "init_args": m.config()}
        if is_own(m)
        else {"class_path": f"asterism.{type(m).__name__}", "init_args": m.config()}
        for m in methods
    ]


def plain(settings: Settings) -> dict[str, Any]:
    """Return the settings of a training as plain values."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(settings).items()}


def refuse_changes(run: Run, config: dict[str, Any], provenance: dict[str, Any]) -> None:
    """Raise a RunError if the run in the folder was begun with other settings, data or teacher."""
    if not run.begun():
        return
    # A run that is older than an option had what is the default now.
    before = {**plain(Settings()), **run.read_config()}
    for key in config.keys() - HARMLESS:
        if key in before and before[key] != config[key]:
            raise RunError(
                f"{run.path} was begun with {key} {before.get(key)!r}; resuming with "
                f"{config[key]!r} would be another experiment: use the same, or a new folder."
            )
    known = before.get("provenance") or {}
    for key in CONTENTS:
        if key in known and known[key] != provenance[key]:
            raise RunError(
                f"{run.path} was begun with other contents of its {key.replace('_', ' ')} "
                f"(fingerprint {known[key]}, now {provenance[key]}): resuming would be another "
                "experiment."
            )
