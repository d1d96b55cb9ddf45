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
# # Pictures: a network of 6,000 parameters learns from one of 94,000
#
# Handwritten digits, so that it takes a minute on any laptop. For your own, put a folder of pictures where
# `"digits"` stands, and `timm/NAME` or your module where the networks are named.

# %%
from pathlib import Path

import numpy as np

import asterism

EPOCHS = 15
runs = Path("runs/notebook-pictures")

# %% [markdown]
# ## A teacher
#
# Usually you have one. Here it is trained first.

# %%
teacher = asterism.train("convnet", "digits", out=runs / "teacher", epochs=EPOCHS, overwrite=True)
teacher.accuracy

# %% [markdown]
# ## A student
#
# Without `method=` it is chosen by what is known: the teacher scores the same classes, so RKD + KD.

# %%
result = asterism.distill(
    str(runs / "teacher"),
    "convnet?width=8",
    "digits",
    out=runs / "student",
    epochs=EPOCHS,
    with_baselines=True,
    overwrite=True,
)
print(result.evaluation["headline"])

# %% [markdown]
# ## What it kept
#
# A result shows its page: can it be shipped, what was lost where, the map of both networks, the worst queries.

# %%
result

# %% [markdown]
# ## Use it

# %%
student = asterism.load(runs / "student")
pixels = np.zeros((8, 8), np.uint8)
pixels[1:7, 3:5] = 255  # a stroke
[(name, round(probability, 2)) for name, probability in student.predict(pixels).top(3)[0]]

# %% [markdown]
# ## Ship it
#
# Each format is loaded again and compared with the student on rows of the data before it is kept.

# %%
for exported in asterism.export(runs / "student", ["state", "pt2"], overwrite=True):
    print(exported.folder, exported.size, exported.largest_difference)
