"""A teacher that knows the digits, and some of its pictures."""

import pytest

import asterism
from asterism.data import open_data


@pytest.fixture(scope="session")
def run(taught):
    return taught


@pytest.fixture(scope="session")
def teacher(run):
    return asterism.load(run).model


@pytest.fixture(scope="session")
def digits():
    """Some pictures of digits and their classes, as an .npz file has them."""
    batch = open_data("digits").source.__getitems__(list(range(600)))
    return {"x": batch.views[0].permute(0, 2, 3, 1).numpy(), "y": batch.target.numpy()}
