"""Stores as they are: an S3 server and a web server of this machine."""

import functools
import http.server
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from students import finished_run

import asterism
from asterism import recipe, storage
from asterism.data import open_source
from asterism.modality import ARRAY
from asterism.models import Spec
from asterism.vectors import embed

ROWS, FILES = 24_000, 24
SLOW = """
import time
import asterism.storage

write = asterism.storage.write

def slowly(*given):
    time.sleep(0.3)
    write(*given)

asterism.storage.write = slowly
"""


@pytest.fixture
def files(tmp_path):
    rows = np.random.default_rng(0).normal(size=(ROWS, 5)).astype("float32")
    np.save(tmp_path / "x.npy", rows)
    spec = Spec(None, (5,), (0.0,), (1.0,), modality=ARRAY)
    finished_run(tmp_path / "run", "mlp?hidden=8&dim=6", spec, "")
    return tmp_path


@pytest.fixture
def s3(monkeypatch, tmp_path):
    """The environment of a process that finds a bucket on a server of this machine."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    about = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
    monkeypatch.setitem(fsspec.config.conf, "s3", about)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name, value in about.items():
        monkeypatch.setenv(f"FSSPEC_S3_{name.upper()}", value)
    fsspec.filesystem("s3").makedirs("bucket", exist_ok=True)
    yield f"s3://bucket/{tmp_path.name}"
    server.stop()


@pytest.mark.filterwarnings("ignore")  # of other people's servers and clients
def test_data_caches_and_vectors_on_s3(s3, files):
    with storage.writing(storage.place(f"{s3}/x.npy")) as place:
        place.write_bytes((files / "x.npy").read_bytes())
    assert storage.listed(storage.place(s3)) == {"x.npy": (files / "x.npy").stat().st_size}
    there, here = open_source(f"{s3}/x.npy"), open_source(files / "x.npy")
    assert there.fingerprint() == here.fingerprint()
    embed(files / "run", f"{s3}/x.npy", out=f"{s3}/v.npy")
    embed(files / "run", files / "x.npy", out=files / "v.npy")
    assert storage.read(storage.place(f"{s3}/v.npy")) == (files / "v.npy").read_bytes()
    assert set(storage.listed(storage.place(s3))) == {"x.npy", "v.npy", "v.npy.ids.txt"}
    with pytest.raises(OSError, match=r"s3://nobody/x.npy cannot be had|no file at s3://nobody"):
        open_source("s3://nobody/x.npy")


@pytest.mark.filterwarnings("ignore")
def test_data_of_a_web_server(files):
    pytest.importorskip("aiohttp")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=files)
    handler.func.log_message = lambda *given: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    assert torch.equal(open_source(f"{base}/x.npy").samples, open_source(files / "x.npy").samples)
    for name in ("nothing.npy", "run"):
        with pytest.raises((OSError, ValueError), match=rf"{base}/{name}"):
            open_source(f"{base}/{name}")
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_four_machines_each_killed_once_end_with_the_bytes_of_one(kind, files, request):
    out = request.getfixturevalue("s3") + "/cache" if kind == "s3" else str(files / "cache")
    options = {"shard_rows": ROWS // FILES, "batch_size": 50}
    recipe.cache(files / "run", files / "x.npy", out=files / "whole", **options)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    named = ["--teacher", str(files / "run"), "--data", str(files / "x.npy"), "--out", out]
    command = [sys.executable, "-m", "asterism", "cache", *named, *words]
    # Slow enough that a signal finds it at work.
    slow = files / "slow" / "sitecustomize.py"
    slow.parent.mkdir()
    slow.write_text(SLOW)
    paths = os.pathsep.join([str(slow.parent), str(Path(asterism.__path__[0]).parent)])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    start = functools.partial(subprocess.Popen, env=environment, stderr=-3, stdout=-3)
    draw = random.Random(0)
    machines = [start([*command, f"--part={i}/4"]) for i in (1, 2, 3, 4)]
    deadline = time.monotonic() + 200
    while len(storage.listed(storage.place(out))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    for machine in draw.sample(machines, 4):
        time.sleep(draw.random() / 3)
        machine.send_signal(signal.SIGKILL)
        assert machine.wait() == -signal.SIGKILL
    assert len(shards(out)) < FILES
    for machine in [start([*command, f"--part={i}/4"]) for i in (1, 2, 3, 4, 2)]:
        assert machine.wait() == 0
    recipe.cache(files / "run", files / "x.npy", out=out, finish=True, **options)
    assert shards(out) == shards(files / "whole")


def shards(folder):
    place = storage.place(folder)
    names = [name for name in storage.listed(place) if name.endswith(".safetensors")]
    return {name: storage.read(place / name) for name in names}
