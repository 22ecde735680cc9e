"""An export on a hub: what huggingface_hub sends to an endpoint of our own."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from lvm_lab.errors import UserError
from lvm_lab.jobs import exporting

huggingface_hub = pytest.importorskip("huggingface_hub")
NAME = "someone/mine"
PATH = f"/api/models/{NAME}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("model.safetensors", "config.json", "README.md"):
        (tmp_path / name).write_text(f"the {name}")
    return tmp_path


@pytest.fixture
def hub(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    address = httpserver.url_for("").rstrip("/")
    api = huggingface_hub.HfApi
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api(endpoint=address, token="hf_test"))
    return httpserver


def test_every_file_goes_in_one_commit(hub: HTTPServer, folder: Path) -> None:
    sent: dict[str, str] = {}

    def uploads(request: Request) -> Response:
        files = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in request.json["files"]]
        return Response(json.dumps({"files": files}), content_type="application/json")

    def commit(request: Request) -> Response:
        for line in map(json.loads, request.data.decode().splitlines()):
            if line["key"] == "file":
                sent[line["value"]["path"]] = base64.b64decode(line["value"]["content"]).decode()
        address = hub.url_for(f"/{NAME}/commit/{'a' * 40}")
        node = {"success": True, "commitOid": "a" * 40, "commitUrl": address}
        return Response(json.dumps(node), content_type="application/json")

    repository = {"url": hub.url_for(f"/{NAME}"), "name": NAME, "id": "1"}
    hub.expect_request("/api/repos/create", method="POST").respond_with_json(repository)
    hub.expect_request("/api/validate-yaml", method="POST").respond_with_json({"errors": [], "warnings": []})
    hub.expect_request(PATH).respond_with_json({"id": NAME, "sha": "b" * 40, "siblings": []})
    hub.expect_request(f"{PATH}/revision/main").respond_with_json({"id": NAME, "sha": "b" * 40, "siblings": []})
    hub.expect_request(f"{PATH}/preupload/main", method="POST").respond_with_handler(uploads)
    hub.expect_request(f"{PATH}/commit/main", method="POST").respond_with_handler(commit)
    address = exporting.push(folder, NAME, private=True)
    assert address.endswith(f"/commit/{'a' * 40}")
    assert sent == {item.name: f"the {item.name}" for item in folder.iterdir()}
    (create,) = [request for request, _ in hub.log if request.path == "/api/repos/create"]
    assert create.json.get("visibility", create.json.get("private")) in ("private", True)


def test_a_hub_that_refuses_is_one_sentence_and_the_export_stays(hub: HTTPServer, folder: Path) -> None:
    hub.expect_request("/api/repos/create").respond_with_json({"error": "no rights"}, status=403)
    with pytest.raises(UserError, match=r"is whole, but someone/mine did not take it .*; log in with hf auth login"):
        exporting.push(folder, NAME, private=True)
    assert len(list(folder.iterdir())) == 3
