from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from fastgan_ray.config.run_config import DataConfig
from fastgan_ray.data.catalog import CATALOG, catalog, resolve
from fastgan_ray.data.download import download
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError

NAME = "100-shot-obama"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def archive(colour: str = "#ff0000", count: int = 3) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for index in range(count):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), colour).save(picture, "PNG")
            pack.writestr(zipfile.ZipInfo(f"{NAME}/{index}.png"), picture.getvalue())
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `body` at any address and keeps count; says `length` of it, whatever is sent."""

    daemon_threads = True
    body = archive()
    status = 200
    length: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.send_response(self.server.status)
        length = len(self.server.body) if self.server.length is None else self.server.length
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(
            "FASTGAN_RAY_DATASETS_URL", f"http://127.0.0.1:{server.server_address[1]}/sets/"
        )
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.embedded])
def test_embedded_sets_are_complete_and_carry_their_licence(name):
    source = open_source(DataConfig(path=name))
    assert len(source) == CATALOG[name].images and source.read(0).size == (128, 128)
    notice = source.path.with_name(f"{name}.LICENSE.txt").read_text()
    assert ("Copyright (c) Microsoft Corporation." if name == "fluent-heads" else "CC0") in notice


def test_catalog_says_what_is_available(server):
    def available() -> set[str]:
        return {row["name"] for row in catalog() if row["available"]}

    assert len(catalog()) == 11
    assert all(row["images"] >= 100 and row["description"] and row["licence"] for row in catalog())
    assert available() == {"fluent-heads", "matcaps"}
    resolve(NAME)
    assert available() == {"fluent-heads", "matcaps", NAME}


def test_a_download_happens_once_and_is_recorded(server, cache, capfd):
    source = open_source(DataConfig(path=NAME))
    assert len(source) == 3 and source.path == cache / "datasets" / f"{NAME}.zip"
    assert resolve(NAME) == source.path and server.requests == [f"/sets/{NAME}.zip"]
    record = json.loads(source.path.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(Server.body).hexdigest()
    assert record["url"].endswith(f"/sets/{NAME}.zip")
    assert {path.suffix for path in source.path.parent.iterdir()} == {".zip", ".json"}
    out, err = capfd.readouterr()
    assert out == "" and err.count("downloading http://") == 1


def test_what_differs_from_the_first_download_is_refused(server):
    path = resolve(NAME)
    path.write_bytes(archive("#00ff00"))
    with pytest.raises(UserError, match="has changed since its first use"):
        resolve(NAME)
    path.unlink()
    server.body = archive("#0000ff")
    with pytest.raises(UserError, match="has changed since its first download"):
        resolve(NAME)
    assert not path.exists()
    path.with_suffix(".json").unlink()
    assert resolve(NAME).read_bytes() == server.body


def test_a_file_put_by_hand_is_taken_and_recorded(server, cache):
    path = cache / "datasets" / f"{NAME}.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a zip")
    with pytest.raises(UserError, match="not a complete zip"):
        resolve(NAME)
    path.write_bytes(archive("#123456"))
    assert resolve(NAME) == path and server.requests == []
    path.write_bytes(archive("#654321"))
    with pytest.raises(UserError, match="changed since its first use"):
        resolve(NAME)


@pytest.mark.parametrize(
    ("status", "body", "length", "reason"),
    [
        (404, b"no", None, "404"),
        (200, archive()[:100], len(archive()), "ended after 100 of|IncompleteRead"),
        (200, b"<html>please log in</html>", None, "is not a zip archive"),
    ],
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(
    server, cache, status, body, length, reason
):
    server.status, server.body, server.length = status, body, length
    with pytest.raises(UserError, match=reason) as caught:
        resolve(NAME)
    message = str(caught.value)
    assert f"/sets/{NAME}.zip" in message and str(cache / "datasets" / f"{NAME}.zip") in message
    assert list((cache / "datasets").iterdir()) == []


def test_no_server_at_all(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("FASTGAN_RAY_DATASETS_URL", "http://127.0.0.1:1")
    with pytest.raises(
        UserError, match=r"cannot download http://127\.0\.0\.1:1/100-shot-obama"
    ) as c:
        resolve(NAME)
    assert "put it at" in str(c.value) and str(cache / "datasets" / f"{NAME}.zip") in str(c.value)
    monkeypatch.setenv("FASTGAN_RAY_DATASETS_URL", "file:///etc")
    with pytest.raises(UserError, match="must start with https://"):
        resolve(NAME)


def test_a_damaged_record_is_named(server):
    record = resolve(NAME).with_suffix(".json")
    for damage in ("", "[]", "{}", "null"):
        record.write_text(damage)
        with pytest.raises(UserError, match=r"100-shot-obama\.json must hold the sha256"):
            resolve(NAME)


def test_a_path_wins_over_a_name(tmp_path):
    assert resolve("matcaps").name == "matcaps.zip"
    (tmp_path / "matcaps").mkdir()
    assert resolve("matcaps") == Path("matcaps")


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("matcap", r"Did you mean matcaps\?"),
        ("Fluent_Heads", r"Did you mean fluent-heads\?"),
        ("animalface-cat", "Did you mean AnimalFace-cat"),
        ("sub/picture", r"Did you mean sub/pictures\?"),
        ("nothing like it", r"`fastgan-ray data` lists, but 'nothing like it' is none of these"),
        ("a\0b", "is none"),
        ("x" * 5000, "is none"),
        ("~nobody-of-this-name/x", "is none"),
    ],
)
def test_an_unknown_name_gets_near_misses(tmp_path, path, hint):
    (tmp_path / "sub" / "pictures").mkdir(parents=True)
    with pytest.raises(UserError, match=hint):
        resolve(path)


def test_a_full_disk_is_no_fault_of_the_download(server):
    url = f"http://127.0.0.1:{server.server_address[1]}/sets/{NAME}.zip"
    with pytest.raises(OSError, match="No space left"):
        download(url, Path("/dev/full"), 10)
