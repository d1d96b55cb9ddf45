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
# # Texts: search with a student that is a table of token vectors
#
# With `teacher = "st/sentence-transformers/all-MiniLM-L6-v2"` and a file of your own texts the steps are
# the same. Here the teacher is a small transformer that learns four topics of made-up sentences, so that
# nothing is downloaded. Needs `pip install 'asterism[text]'`.

# %%
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers

import asterism
from asterism.index import build_index, open_index

runs = Path("runs/notebook-texts")
runs.mkdir(parents=True, exist_ok=True)

# %%
topics = {
    "football": "goal match team ball coach stadium score league penalty kick",
    "kitchen": "soup salt bread oven tasty recipe pan pepper butter knife",
    "weather": "rain storm wind cloud sunny forecast snow warm cold thunder",
    "money": "bank loan card balance invoice tax salary debt price budget",
}
filler = "the a my your is was with and very today please about".split()
draw = random.Random(0)
rows = []
for label, words in topics.items():
    for _ in range(150):
        chosen = draw.sample(words.split(), 3) + draw.sample(filler, 3)
        rows.append((" ".join(draw.sample(chosen, 6)), label))
lines = "".join(f"{text},{label}\n" for text, label in rows)
(runs / "texts.csv").write_text("text,label\n" + lines)

vocabulary = ["[UNK]", *filler, *" ".join(topics.values()).split()]
numbers = {word: i for i, word in enumerate(vocabulary)}
tokenizer = Tokenizer(models.WordLevel(numbers, "[UNK]"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.save(str(runs / "tokenizer.json"))

# %%
teacher = asterism.train(
    f"text-transformer?width=64&tokenizer={runs}/tokenizer.json",
    runs / "texts.csv",
    out=runs / "teacher",
    epochs=5,
    batch_size=32,
    overwrite=True,
)
print(teacher.evaluation["headline"])

# %% [markdown]
# ## Without labels
#
# The student learns who is next to whom, and where; a line says which methods were chosen and why.

# %%
result = asterism.distill(
    str(runs / "teacher"),
    "text-static?width=32",
    runs / "texts.csv",
    labels=False,
    out=runs / "student",
    epochs=5,
    batch_size=32,
    overwrite=True,
)
result

# %% [markdown]
# ## Search

# %%
build_index(runs / "student", runs / "texts.csv", out=runs / "index", overwrite=True)
index = open_index(runs / "index")
student = asterism.load(runs / "student")
query = student.embed("a sunny forecast").embedding.numpy()
hits = index.search(query, k=3)
for score, position in zip(hits.scores[0], hits.positions[0], strict=True):
    print(f"{score:.3f}", *rows[int(index.ids[position])])
