"""The libraries of docs/own-trainer.md, imported once: processes of the tests begin from here."""

import importlib.util
import os
import re
import traceback
from pathlib import Path

import torch

HUB = Path(__file__).parent
os.environ.setdefault("HF_HUB_OFFLINE", "1")
spec = importlib.util.spec_from_file_location("operators", HUB / "conftest.py")
operators = importlib.util.module_from_spec(spec)
spec.loader.exec_module(operators)  # before anything imports torchvision

import accelerate  # noqa: E402, F401
import datasets  # noqa: E402, F401
import lightning  # noqa: E402, F401
import sklearn.datasets  # noqa: E402, F401
import transformers  # noqa: E402

import asterism.integrations.lightning  # noqa: E402
import asterism.integrations.sentence_transformers  # noqa: E402, F401

PAGE = HUB.parents[1] / "docs" / "own-trainer.md"
EXAMPLES = dict(re.findall(r"^```python (\w+)\.py\n(.*?)^```", PAGE.read_text(), re.M | re.S))
LIGHTNING = "TORCHELASTIC_RUN_ID"  # by which it knows torchrun


def work(name, rank, ranks, port, folder, epochs):
    """Run an example as torchrun would, in float64; leave its student, or what went wrong."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    here = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
    here |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, LIGHTNING: "tests"}
    if ranks > 1 or "lightning" in name:
        os.environ |= {key: str(value) for key, value in here.items()}
    os.environ["ACCELERATE_USE_CPU"] = "true"
    transformers.utils.logging.set_verbosity_error()
    try:
        names = {"__name__": "example"}
        exec(compile(EXAMPLES[name], name, "exec"), names)
        student = names["main"](str(folder / "run"), epochs=epochs)
        torch.save(student.state_dict(), folder / f"rank{rank}.pt")
    except BaseException:
        (folder / f"rank{rank}.txt").write_text(traceback.format_exc())
