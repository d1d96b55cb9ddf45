"""What goes to a hub: the export with its card, and nothing of this machine."""

import base64
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest
import yaml
from students import finished_run

import asterism
from asterism.cli import main
from asterism.exporters import push
from asterism.models import Spec

FILES = {"README.md", "config.json", "export.json", "model.safetensors"}


@pytest.fixture
def run(tmp_path):
    """A run with an export, whose teacher and measures a card tells of."""
    run = finished_run(tmp_path / "run", "convnet?width=4", Spec(10, (1, 8, 8)), "digits")
    config = yaml.safe_load((run / "config.yaml").read_text())
    methods = [{"class_path": "asterism.RKD", "init_args": {"distance_weight": 25}}]
    teacher = tmp_path / "teacher-of-mine"
    teacher.mkdir()
    (teacher / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    config |= {"teacher": f"hf/{teacher}", "method": methods, "epochs": 7}
    config |= {"labels": False, "seed": 3}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    figure = {"value": 98.0, "low": 96.4, "high": 98.9, "count": 500}
    measure = {"name": "accuracy", "k": None, "unit": "%", "student": figure, "teacher": figure}
    result = {"steps": 1, "rows": 500, "split": "test", "measures": [measure]}
    (run / "result.json").write_text(json.dumps(result))
    asterism.export(run, "state")
    return run


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine: what it was sent, by file, and how its repositories are."""

    class Hub(BaseHTTPRequestHandler):
        files, private, asked, refuses = {}, {}, [], False

        def do_GET(self):
            name = self.path.removeprefix("/api/models/").partition("?")[0]
            if name not in Hub.private:  # what the library asks for itself
                return self.answer({}, 404)
            private = Hub.private[name]
            return self.answer({"id": name, "private": private, "tags": [], "siblings": []})

        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            Hub.asked.append((self.path, self.headers["Authorization"]))
            if Hub.refuses:
                return self.answer({"error": "You are not in the organisation"}, 403)
            if self.path == "/api/repos/create":
                asked = json.loads(content)
                name = f"{asked.get('organization', 'me')}/{asked['name']}"
                private = asked.get("private") or asked.get("visibility") == "private"
                Hub.private.setdefault(name, bool(private))
                return self.answer(
                    {"url": f"{constants.ENDPOINT}/{name}", "id": name, "name": name}
                )
            if self.path == "/api/validate-yaml":
                return self.answer({"warnings": [], "errors": []})
            if "/preupload/" in self.path:
                paths = [each["path"] for each in json.loads(content)["files"]]
                kept = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
                return self.answer({"files": [{"path": path, **kept} for path in paths]})
            for line in content.splitlines():
                value = json.loads(line)["value"]
                if "path" in value:
                    Hub.files[value["path"]] = base64.b64decode(value["content"])
            return self.answer(
                {"commitUrl": f"{constants.ENDPOINT}/org/small/commit/0", "commitOid": "0" * 40}
            )

        def answer(self, value, status=200):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    monkeypatch.setenv("HF_TOKEN", "hf_token")
    yield Hub
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_export_goes_there_and_nothing_beside_it(run, hub):
    folder = run / "export" / "state"
    (folder / "customers.csv").write_text("mine")
    pushed = push(run, "org/small", private=True, license="mit")
    assert set(hub.files) == FILES == {name for name, _ in pushed.files}
    assert pushed.left_out == ("customers.csv",)
    for name in FILES - {"README.md"}:
        assert hub.files[name] == (folder / name).read_bytes()
    assert {token for _, token in hub.asked} == {"Bearer hf_token"}
    assert hub.private == {"org/small": True}
    assert pushed.url
    # The card, as the hub's own library reads it.
    card = huggingface_hub.ModelCard(hub.files["README.md"].decode())
    assert card.data.license == pushed.license == "mit"
    assert card.data.pipeline_tag == "image-classification"
    [figure] = card.data.eval_results
    assert figure.metric_value == 98.0
    assert figure.metric_name == "accuracy, % (95 % interval 96.40 to 98.90, 500 rows)"
    for told in (
        "The teacher's card states cc-by-nc-4.0.",
        "asterism distill --teacher hf/teacher-of-mine",
        "--no-labels --epochs 7",
        "--method+ RKD --method.distance_weight 25",
        "- RKD: Park et al., CVPR 2019",
        "It sees pictures at 8 × 8 pixels.",
        "- seed: 3",
    ):
        assert told in card.text, told
    for content in hub.files.values():
        assert str(run.parent).encode() not in content


def test_without_a_token_it_shows_what_would_go(run, hub, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["push", str(run / "export" / "state"), "org/small"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in FILES)
    assert "names no licence" in shown
    assert "Nothing was sent." in shown
    with pytest.raises(ValueError, match="pushing needs a token"):
        push(run, "org/small", dry_run=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    assert main(["push", str(run), "org/small", "--dry-run"]) == 0
    assert not hub.asked


def damage(folder, name):
    if name == "weights":
        (folder / "model.safetensors").write_bytes(b"others")
    elif name == "link":
        (folder / "model.safetensors").rename(folder.parent / "elsewhere")
        (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere")
    elif name == "card":
        card = folder / "README.md"
        card.write_text(card.read_text() + f"\nMy data are in {folder.parent}/customers.csv\n")
    else:
        account = json.loads((folder / "export.json").read_text())
        account["files"] = {"old": None, "outside": {"../../config.yaml": "0"}}[name]
        (folder / "export.json").write_text(json.dumps(account))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights", r"model\.safetensors is not the file that was exported: export again"),
        ("link", r"model\.safetensors is not the file that was exported"),
        ("outside", r"config\.yaml is not the file that was exported"),
        ("old", "does not say which files are the export's: export again"),
        ("card", r"README\.md names a folder of this machine"),
    ],
)
def test_what_was_not_exported_is_not_pushed(run, hub, name, message):
    damage(run / "export" / "state", name)
    with pytest.raises(ValueError, match=message):
        push(run, "org/small")
    assert not hub.asked


def test_mistakes_are_sentences(run, hub, tmp_path, capsys):
    with pytest.raises(ValueError, match="is named ORG/NAME; got small"):
        push(run, "small")
    with pytest.raises(FileNotFoundError, match="nothing at"):
        push(tmp_path / "gone", "org/small")
    with pytest.raises(FileNotFoundError, match="holds no export: `asterism export"):
        push(tmp_path, "org/small")
    hub.private["org/public"] = False
    with pytest.raises(ValueError, match="org/public is there and public: make it private first"):
        push(run, "org/public", private=True)
    assert not hub.files
    hub.refuses = True
    assert main(["push", str(run), "org/small"]) == 2
    assert "org/small was not pushed: " in capsys.readouterr().err
    shutil.copytree(run / "export" / "state", run / "export" / "pt2")
    with pytest.raises(ValueError, match=r"holds several exports: name .*pt2 and .*state"):
        push(run, "org/small")
