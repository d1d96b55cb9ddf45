"""Weights as others publish them, written here in their layouts."""

from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from asterism.models import BUILT_IN, Spec, build, weights_of
from asterism.models.published import SAME_ORDER, STATISTICS

SPEC = Spec(100, (3, 32, 32), own_classifier=True)
STUDENT = Spec(100, (3, 32, 32))
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
CIFAR = dict(zip(("mean", "std"), STATISTICS["cifar100"], strict=True))


def literature(name, state):
    """Return a state under the names of the code that the literature shares, in its order."""
    renamed = OrderedDict()
    for key, value in state.items():
        if key.startswith("normalise"):
            continue
        place, _, leaf = key.rpartition(".")
        if name.startswith("resnet"):
            if place.startswith("blocks"):
                _, number, *rest = place.split(".")
                rest = ".".join(rest).replace("shortcut", "downsample")
                each = (int(name[6:].removesuffix("x4")) - 2) // 6
                place = f"layer{int(number) // each + 1}.{int(number) % each}.{rest}"
            place = {"conv": "conv1", "bn": "bn1", "classifier": "fc"}.get(place, place)
        elif name.startswith("wrn"):
            if place.startswith("blocks"):
                _, number, *rest = place.split(".")
                rest = ".".join(rest).replace("shortcut", "convShortcut")
                each = (int(name.split("-")[1]) - 4) // 6
                place = f"block{int(number) // each + 1}.layer.{int(number) % each}.{rest}"
            place = {"conv": "conv1", "bn": "bn1", "classifier": "fc"}.get(place, place)
        else:
            place = place.replace("stages.", "block")
        renamed[f"{place}.{leaf}"] = value
    return renamed


def model_of(name):
    torch.manual_seed(0)
    made = build(name, Spec(100, (3, 32, 32), **CIFAR)).eval()
    for buffer_name, buffer in made.named_buffers():
        if "running" in buffer_name:
            buffer.add_(torch.rand_like(buffer))
    return made


WRAPPED = {
    "bare": lambda state: state,
    "repdistiller": lambda state: {"epoch": 240, "model": state, "best_acc": torch.tensor(75.6)},
    "parallel": lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}},
    "lightning": lambda state: {
        "epoch": 3, "global_step": 9, "pytorch-lightning_version": "2.4",
        "state_dict": {f"model._orig_mod.{k}": v for k, v in state.items()},
        "optimizer_states": [{"state": {0: {"momentum_buffer": torch.zeros(3)}}}],
    },
}  # fmt: skip


@pytest.mark.parametrize("wrapped", WRAPPED)
@pytest.mark.parametrize("name", ["resnet8x4", "wrn-16-2", "vgg8"])
def test_the_literatures_layout_by_order(name, wrapped, tmp_path, capsys):
    model = model_of(name)
    state = literature(name, weights_of(model))
    assert not set(state) <= set(weights_of(model))
    torch.save(WRAPPED[wrapped](state), tmp_path / "ckpt_epoch_240.pth")
    again = build(f"{name}?weights={tmp_path}/ckpt_epoch_240.pth&normalised=cifar100", SPEC).eval()
    torch.testing.assert_close(again(IMAGES), model(IMAGES))
    assert "in their order, every shape agrees" in capsys.readouterr().err


def test_by_name_and_from_any_file(tmp_path, capsys):
    model = model_of("convnet")
    state = {k: v for k, v in weights_of(model).items() if not k.startswith("normalise")}
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "a.safetensors")
    mean, std = (",".join(map(str, values)) for values in CIFAR.values())
    for file in ("a.pt", "a.safetensors"):
        given = f"convnet?weights={tmp_path / file}"
        again = build(f"{given}&mean={mean}&std={std}", SPEC).eval()
        torch.testing.assert_close(again(IMAGES), model(IMAGES))
        with pytest.raises(
            ValueError, match=r"by which mean and deviation.*normalised=NAME with one"
        ):
            build(given, SPEC)
        # A student may begin with a head of its own on them, a teacher not.
        begun = build(f"{given}&mean={mean}&std={std}&dim=4", STUDENT).eval()
        torch.testing.assert_close(begun(IMAGES).logits, model(IMAGES).logits)
        with pytest.raises(ValueError, match=r"embedding_head\.weight is missing"):
            build(f"{given}&mean={mean}&std={std}&dim=4", SPEC)
    assert not capsys.readouterr().err
    torch.save(model_of("resnet14").state_dict(), tmp_path / "deeper.pth")
    for name in ("resnet8", "resnet20"):  # its own names, some of them: no question of order
        with pytest.raises(ValueError, match=r"is unknown|is missing"):
            build(f"{name}?weights={tmp_path / 'deeper.pth'}", SPEC)
    torch.save(model_of("mlp").state_dict(), tmp_path / "own.pth")  # with its normalisation
    assert build(f"mlp?weights={tmp_path / 'own.pth'}", SPEC)(IMAGES).logits.shape == (2, 100)


class Code:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize(
    ("held", "name", "message"),
    [
        ({"model": Code()}, "resnet8", "cannot be read.*nothing in a file is run"),
        (nn.Linear(2, 2), "resnet8", "cannot be read.*nothing in a file is run"),
        ({"epoch": 3}, "resnet8", "holds no weights by name"),
        ([torch.zeros(2)], "resnet8", "holds no weights by name"),
        ("resnet14", "resnet8", r"the file has 73 tensors and resnet8|where resnet8 has blocks"),
        (
            "resnet8x4",
            "resnet8",
            r"where resnet8 has conv\.weight \(16, 3, 3, 3\), the file has conv1",
        ),
        ("resnet8", "convnet", r"convs\.0\.weight is missing.*conv1\.weight is unknown"),
    ],
)
def test_what_does_not_fit_is_named(held, name, message, tmp_path, capsys):
    if isinstance(held, str):
        held = literature(held, weights_of(build(held, SPEC)))
    torch.save(held, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message):
        build(f"{name}?weights={tmp_path / 'a.pth'}&normalised=cifar10", SPEC)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("normalised=cifar", "normalised names the data .*cifar10, cifar100"),
        ("mean=0.5", "mean and std go together"),
        ("mean=0.5,0.5&std=0.2", "one for each of the 3 channels"),
        ("mean=0.5&std=0", "std above 0"),
        ("mean=a&std=0.2", "numbers joined by commas"),
        ("mean=0.5&std=0.2&normalised=cifar10", "for others state mean and std instead"),
    ],
)
def test_statistics_that_are_none(stated, message):
    with pytest.raises(ValueError, match=message):
        build(f"resnet8?{stated}", SPEC)


def test_networks_of_the_same_order_are_there():
    assert set(BUILT_IN) >= SAME_ORDER
