"""Other libraries' models, in an environment of their own (`make test-hub`).

The wheel of torchvision that pip finds for the CPU build of torch is made for CUDA: without its
compiled operators it cannot be imported. No model needs them, so that it is enough to declare
them, before anything imports torchvision. Only these tests do that, never the package.
"""

import importlib.metadata
import importlib.util
import os
from functools import partial

import pytest
import torch

# Nothing is fetched, and nobody waits for a network that is not there.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

NEEDED = (
    "timm", "torchvision", "transformers", "sentence_transformers", "datasets", "pyarrow",
    "lightning", "pytorch_metric_learning",
)  # fmt: skip
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

BOX = "Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width"
BACK = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
CONV = "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, "
CONV += "SymInt dilation_w, SymInt groups, SymInt offset_groups, bool use_mask"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align({BOX}, int sampling_ratio, bool aligned) -> Tensor",
    f"qroi_align({BOX}, int sampling_ratio, bool aligned) -> Tensor",
    f"roi_pool({BOX}) -> (Tensor, Tensor)",
    f"ps_roi_align({BOX}, int sampling_ratio) -> (Tensor, Tensor)",
    f"ps_roi_pool({BOX}) -> (Tensor, Tensor)",
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, "
    f"{CONV}) -> Tensor",
    f"_roi_align_backward({BOX}, {BACK}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_pool_backward(Tensor argmax, {BOX}, {BACK}) -> Tensor",
    f"_ps_roi_align_backward(Tensor mapping, {BOX}, int sampling_ratio, {BACK}) -> Tensor",
    f"_ps_roi_pool_backward(Tensor mapping, {BOX}, {BACK}) -> Tensor",
    "_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, "
    f"Tensor mask, Tensor bias, {CONV}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


def declare_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library


if not MISSING and torch.version.cuda is None:
    if "+cpu" not in importlib.metadata.version("torchvision"):
        DECLARED = declare_operators()  # as long as this lives, so do the declarations

collect_ignore = ["trainers.py"]  # processes of their own begin from it
collect_ignore_glob = ["test_*.py"] if MISSING else []


@pytest.fixture(autouse=True)
def without_a_stop_watch(monkeypatch):
    """Timing large networks takes minutes, and test_cost.py does it."""
    import asterism.verdict as verdict  # not before the operators are declared

    monkeypatch.setattr(verdict, "cost", partial(verdict.cost, batch_sizes=(1,), repeats=1))


def pytest_report_header() -> str | None:
    if MISSING:
        return f"tests/hub are skipped: {', '.join(MISSING)} missing (make test-hub installs them)"
    return None
