"""Run folders without a training, for tests of what is done with a finished student."""

import torch

from asterism.models import build, tokeniser_of, weights_of
from asterism.run import Run
from asterism.training.models import open_student

NO_DATA = dict.fromkeys(["validation_data", "test_data", "teacher"])


@torch.no_grad()
def draw(model):
    """Draw all weights: of what begins with zeros, or ones, a test would see nothing."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)


def finished_run(folder, name, spec, data, *, aligned=0, factory=None):
    """Write the folder of a run whose student has drawn weights.

    Args:
        folder: Where.
        name: The student's model, as `distill` takes it.
        spec: What the data are.
        data: A name of data, which need not be there.
        aligned: Width of the teacher whose map is stored; 0 for none.
        factory: Builds the student, if that is the user's own code.
    """
    torch.manual_seed(0)
    student, card = open_student(name, spec, None)
    student = student if factory is None else build(factory, spec)
    draw(student)
    run = Run(folder)
    tokeniser = tokeniser_of(student)
    with run.writing():
        config = {"data": str(data), "image_size": 8, "validation_share": 0.1, "split_seed": 0}
        run.write_config({**NO_DATA, **config}, {"torch": "2"})
        run.write_student(weights_of(student), card, tokeniser and tokeniser.json)
        if aligned:
            example = spec.takes.example(spec.shape)
            width = student.eval()(example).embedding.shape[1]
            layer = torch.nn.Linear(width, aligned)
            card = {"kind": "ridge", "student_dim": width, "teacher_dim": aligned}
            run.write_aligner(layer.state_dict(), card)
        run.write_result({"steps": 1})
    return run.path
