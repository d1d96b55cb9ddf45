"""Teachers with a fault, and a training of the digits to look at."""

import copy

from torch import nn

from asterism import KD, RKD, Outputs

DIGITS = {"batch_size": 64, "epochs": 3, "method": [RKD(), KD()]}


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


class Changed(nn.Module):
    """A teacher with a fault: before it, after it, or in its mode."""

    def __init__(self, model, *, before=None, after=None):
        super().__init__()
        self.model, self.before, self.after = copy.deepcopy(model), before, after

    def forward(self, x):
        outputs = self.model(x if self.before is None else self.before(x))
        return outputs if self.after is None else self.after(outputs)


def relabelled(order):
    return lambda outputs: Outputs(outputs.embedding, outputs.logits[:, order])


def of_embedding(change):
    return lambda outputs: Outputs(change(outputs.embedding), outputs.logits)
