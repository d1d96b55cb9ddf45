# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A loop of your own: losses, a method, and what is measured
#
# The engine is not needed to use a method. `asterism.Distillation` is student, frozen teacher and methods
# as one module; in `DistributedDataParallel` its gradient is that of a single process.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

import asterism
from asterism.measures import fidelity, retrieval

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32)
labels = torch.tensor(labels)
train, test = torch.arange(1200), torch.arange(1200, len(images))


# %%
class Network(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, width))
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        embedding = self.body(x)
        return asterism.Outputs(embedding, self.head(embedding))


def trained(step, parameters, epochs=8):
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    for _ in range(epochs):
        for rows in train[torch.randperm(len(train))].split(64):
            terms = step(rows)
            optimizer.zero_grad()
            sum(terms.values()).backward()
            optimizer.step()
    print({name: round(term.item(), 4) for name, term in terms.items()})


# %% [markdown]
# ## A teacher, with labels

# %%
teacher = Network(64)
trained(
    lambda rows: {
        "labels": nn.functional.cross_entropy(teacher(images[rows]).logits, labels[rows])
    },
    teacher.parameters(),
)

# %% [markdown]
# ## A student of 16 columns, without labels
#
# Two methods at once; each term has a name.

# %%
student = Network(16)
step = asterism.Distillation(
    student,
    teacher,
    [asterism.RKD(), asterism.Neighbourhood(weight=0.3)],
    example=images[train],
)
trained(lambda rows: step(images[rows]), step.parameters())

# %% [markdown]
# ## What it kept
#
# The measures of every report, with intervals.

# %%
with torch.no_grad():
    made, taught = student(images[test]).embedding, teacher(images[test]).embedding
found = retrieval(made, labels[test])
kept = fidelity(asterism.Outputs(made), asterism.Outputs(taught))
print(found.recall[1])
print(kept.neighbour_overlap[10])
