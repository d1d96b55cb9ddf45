"""An embedding head: its width, its rows, its names, and that a run keeps it."""

import pytest
import torch

import asterism
from asterism import distill, train
from asterism.models import Spec, build, weights_of

SPEC = Spec(classes=7, shape=(3, 16, 16))
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NET = """
from torch import nn
def make(classes, width=5):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(width, classes))
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


# As wide as there are classes, too: the layer is no classifier then.
@pytest.mark.parametrize("dim", [1, 7, 64])
@pytest.mark.parametrize("name", ["resnet8", "vgg8", "convnet", "FILE:make"])
def test_a_head_gives_its_columns_and_leaves_the_logits_alone(name, dim, file):
    name = name.replace("FILE", str(file))
    model = build(f"{name}?dim={dim}&unit=true", SPEC).eval()
    embedding, logits = model(IMAGES)
    assert embedding.shape == (3, dim)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
    assert torch.equal(logits, model.body(IMAGES).logits)
    pooled = model.body(IMAGES).embedding
    raw = build(f"{name}?dim={dim}", SPEC).eval()
    raw.load_state_dict(model.state_dict())
    torch.testing.assert_close(raw(IMAGES).embedding, model.embedding_head(pooled))


def test_the_authors_names_stay_beside_the_heads(file):
    plain = weights_of(build(f"{file}:make", SPEC))
    headed = weights_of(build(f"{file}:make?dim=4", SPEC))
    assert set(headed) == {*plain, "embedding_head.weight", "embedding_head.bias"}


def test_unit_alone_and_arguments_of_a_networks_own():
    unit = build("resnet8?unit=true", SPEC).eval()(IMAGES).embedding
    assert unit.shape == (3, 64)
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(3))
    assert set(weights_of(build("mlp?dim=5", SPEC))) == set(weights_of(build("mlp", SPEC)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet8?dim=0", "dim must be a number of columns"),
        ("resnet8?dim=true", "dim must be a number of columns"),
        ("resnet8?dim=2.5", "dim must be a number of columns"),
        ("resnet8?unit=3", "unit must be true or false"),
    ],
)
def test_what_is_no_head_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        build(name, SPEC)


def test_a_run_keeps_the_head(tmp_path, file):
    """As a teacher and as a student, loaded again."""
    options = {"epochs": 1, "limit_steps": 2, "check": False}
    train("convnet?width=4&dim=12&unit=true", "digits", out=tmp_path / "teacher", **options)
    student = "convnet?width=2&dim=3"
    made = distill(tmp_path / "teacher", student, "digits", out=tmp_path / "run", **options)
    images = torch.rand(2, 1, 8, 8)
    loaded = asterism.load(tmp_path / "run")
    assert torch.equal(loaded(images).embedding, made.student(images).embedding)
    assert loaded(images).embedding.shape == (2, 3)
    assert loaded(images).logits.shape == (2, 10)
    widths = next(m for m in made.evaluation["measures"] if m["name"] == "embedding width")
    assert (widths["student"]["value"], widths["teacher"]["value"]) == (3, 12)
    again = build(f"{student}&weights={tmp_path / 'run'}", Spec(10, (1, 8, 8))).eval()
    assert torch.equal(again(images).embedding, loaded(images).embedding)
