"""The optimisers by name; what makes them is `asterism.engine.optimiser`. This needs no torch."""

from asterism.names import choices

# With defaults of ours; and those of torch that need nothing but gradients, by their classes. (Its
# Muon takes matrices alone: timm/muon gives the rest to AdamW.)
OURS = ("sgd", "adamw", "adam")
TORCH = {
    "adadelta": "Adadelta",
    "adafactor": "Adafactor",
    "adagrad": "Adagrad",
    "adamax": "Adamax",
    "asgd": "ASGD",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
}
TIMM = "timm/"


def refuse_optimizer(name: str | None) -> None:
    """Raise a ValueError if there is no optimiser of that name; None is chosen by the data."""
    if name is not None and not name.startswith(TIMM) and name not in (*OURS, *TORCH):
        known = (*OURS, *TORCH, f"{TIMM}NAME")
        raise ValueError(f"there is no optimizer {name!r}: {choices(name, known)}")
