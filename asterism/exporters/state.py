"""`state`: weights as safetensors under the names that the network's author gave, and a config."""

import json
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from asterism.exporters.exporter import Exporter
from asterism.exporters.subject import Encode, Subject, shipped_name
from asterism.models import weights_of
from asterism.names import is_own_code
from asterism.run import Run
from asterism.student import load


class State(Exporter):
    """What `asterism.load` takes, and any code that builds the same network."""

    name = "state"

    def refusal(self, subject: Subject) -> str | None:
        """Return None: any student has weights."""
        return None

    def write(self, subject: Subject, folder: Path) -> None:
        """Write model.safetensors, config.json, and for texts tokenizer.json."""
        card = {**subject.card, "model": shipped_name(str(subject.card["model"]))}
        named = {**card, "class_names": subject.classes and list(subject.classes)}
        (folder / "config.json").write_text(json.dumps(named, indent=2) + "\n")
        save_file(weights_of(subject.student.model), folder / "model.safetensors")
        if subject.of_texts:
            run = Run(subject.run)
            (folder / "tokenizer.json").write_text(run.read_tokenizer() or "", encoding="utf-8")
        if subject.student.aligner is not None:
            save_file(subject.student.aligner.state_dict(), folder / "aligner.safetensors")
            kept = ("kind", "student_dim", "teacher_dim", "rows", "quality")
            aligner = {k: v for k, v in Run(subject.run).read_aligner().items() if k in kept}
            (folder / "aligner.json").write_text(json.dumps(aligner, indent=2) + "\n")

    def read(self, subject: Subject, folder: Path) -> Encode:
        """Return the outputs of the network, built again."""
        built = load(folder, factory=subject.factory, aligned=subject.aligned)
        return replace(subject, student=built).outputs

    def snippet(self, subject: Subject) -> str:
        """Return how `asterism.load` takes it."""
        own = is_own_code(str(subject.card["model"]))
        factory = ', factory="path/to/file.py:factory"' if own else ""
        aligned = ", aligned=True" if subject.aligned else ""
        given = "samples" if subject.of_texts else "torch.as_tensor(samples)"
        return (
            "import asterism\nimport torch\n\n"
            f'student = asterism.load("."{factory}{aligned})\n'
            f"with torch.no_grad():\n    embedding, logits = student({given})\n"
        )
