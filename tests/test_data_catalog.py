"""Data sets by name: what is available, downloads, and similar names."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call
from file_server import FileServer, serving
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data.catalog import CATALOG, catalog, resolve
from fastgan_ray.data.download import download
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError

NAME = "100-shot-obama"
URL_PATH = f"/sets/{NAME}.zip"


@pytest.fixture(autouse=True)
def cache(empty_cache, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return empty_cache


def archive(colour: str = "#ff0000", count: int = 3) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        for index in range(count):
            picture = io.BytesIO()
            Image.new("RGB", (8, 8), colour).save(picture, "PNG")
            pack.writestr(zipfile.ZipInfo(f"{NAME}/{index}.png"), picture.getvalue())
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch) -> Iterator[FileServer]:
    """A mirror of the published sets; it has one of them."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server:
        server.files[URL_PATH] = archive()
        monkeypatch.setenv("FASTGAN_RAY_DATASETS_URL", f"{server.url}/sets/")
        yield server


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.embedded])
def test_embedded_sets_are_complete_and_carry_their_licence(name):
    source = open_source(DataConfig(path=name))
    assert len(source) == CATALOG[name].images and source.read(0).size == (128, 128)
    notice = source.path.with_name(f"{name}.LICENSE.txt").read_text()
    assert ("Copyright (c) Microsoft Corporation." if name == "fluent-heads" else "CC0") in notice


def test_catalog_says_what_is_available(server):
    def available() -> set[str]:
        return {row["name"] for row in catalog() if row["available"]}

    assert len(catalog()) == 21
    assert all(row["images"] >= 64 and row["description"] and row["licence"] for row in catalog())
    assert available() == {"fluent-heads", "matcaps"}
    resolve(NAME)
    assert available() == {"fluent-heads", "matcaps", NAME}


def test_a_download_happens_once_and_is_recorded(server, cache, capfd):
    source = open_source(DataConfig(path=NAME))
    assert len(source) == 3 and source.path == cache / "datasets" / f"{NAME}.zip"
    assert resolve(NAME) == source.path and server.requests == [URL_PATH]
    record = json.loads(source.path.with_suffix(".json").read_text())
    assert record["sha256"] == hashlib.sha256(server.files[URL_PATH]).hexdigest()
    assert record["url"].endswith(URL_PATH)
    assert {path.suffix for path in source.path.parent.iterdir()} == {".zip", ".json"}
    out, err = capfd.readouterr()
    assert out == "" and err.count("downloading http://") == 1


def test_another_content_than_the_first_download_is_refused(server):
    path = resolve(NAME)
    path.write_bytes(archive("#00ff00"))
    with pytest.raises(UserError, match="has changed since its first use"):
        resolve(NAME)
    path.unlink()
    server.files[URL_PATH] = archive("#0000ff")
    with pytest.raises(UserError, match="has changed since its first download"):
        resolve(NAME)
    assert not path.exists()
    path.with_suffix(".json").unlink()
    assert resolve(NAME).read_bytes() == server.files[URL_PATH]


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


BY_HAND = [name for name, entry in CATALOG.items() if not entry.downloadable]


SEVEN = ["art-painting", "ffhq-1k", "flower-1k", "pokemon", "anime-face", "skulls", "shells"]


def test_the_sets_of_table_3_and_of_the_keras_example_have_no_address():
    assert [*SEVEN, "caltech-birds", "oxford-flowers-17", "oxford-flowers-102"] == BY_HAND


@pytest.mark.parametrize("name", BY_HAND)
def test_a_set_without_an_address_says_where_to_put_its_zip(name, server, cache):
    path = cache / "datasets" / f"{name}.zip"
    (row,) = (row for row in catalog() if row["name"] == name)
    assert row["put_at"] == str(path) and not row["available"]
    with pytest.raises(
        UserError, match=f"{name}: this set cannot be downloaded, because no address is known"
    ) as caught:
        resolve(name)
    assert str(path) in str(caught.value) and "--data" in str(caught.value)
    assert server.requests == [] and not path.exists()


def test_a_set_without_an_address_is_taken_when_its_zip_is_there(server, cache, capsys):
    path = cache / "datasets" / "shells.zip"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a zip")
    with pytest.raises(UserError, match=r"not a complete zip archive\. Replace this file by"):
        resolve("shells")
    path.write_bytes(archive("#123456"))
    assert resolve("shells") == path and len(open_source(DataConfig(path="shells"))) == 3
    assert json.loads(path.with_suffix(".json").read_text())["url"] is None
    path.write_bytes(archive("#654321"))
    with pytest.raises(UserError, match="Put the original file back to use the set"):
        resolve("shells")
    assert server.requests == []


def test_the_plan_and_the_list_say_where_to_put_the_zip(cache, capsys):
    folder = cache / "datasets"
    assert call("data") == 0
    out = capsys.readouterr().out
    words = "Put a zip archive of its pictures, NAME.zip, into this folder:"
    assert words in " ".join(out.split()) and f"  {folder}\n" in out
    assert call("check", "ablation_table3", "--json") == 0
    notes = [data["note"] for data in json.loads(capsys.readouterr().out)["data"]]
    assert notes == [
        f"{name}: put its zip archive at {folder / name}.zip before you start" for name in SEVEN
    ]
    assert call("ablate", "--config", "ablation_table3", "--dry-run") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert all(
        f"{name}: this set cannot be downloaded, because no address is known" in err
        for name in SEVEN
    )


@pytest.mark.parametrize(
    ("body", "length", "reason"),
    [
        (None, None, "404"),
        (archive()[:100], len(archive()), "ended after 100 of|IncompleteRead"),
        (b"<html>please log in</html>", None, "is not a zip archive"),
    ],
)
def test_a_failed_download_says_what_to_do_and_leaves_nothing(server, cache, body, length, reason):
    server.files, server.length = {URL_PATH: body} if body else {}, length
    with pytest.raises(UserError, match=reason) as caught:
        resolve(NAME)
    message = str(caught.value)
    assert URL_PATH in message and str(cache / "datasets" / f"{NAME}.zip") in message
    assert list((cache / "datasets").iterdir()) == []


def test_no_server_at_all(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("FASTGAN_RAY_DATASETS_URL", "http://127.0.0.1:1")
    with pytest.raises(
        UserError, match=r"cannot download http://127\.0\.0\.1:1/100-shot-obama"
    ) as c:
        resolve(NAME)
    assert "copy it to" in str(c.value) and str(cache / "datasets" / f"{NAME}.zip") in str(c.value)
    monkeypatch.setenv("FASTGAN_RAY_DATASETS_URL", "file:///etc")
    with pytest.raises(UserError, match="must start with https://"):
        resolve(NAME)


def test_a_damaged_record_is_named(server):
    record = resolve(NAME).with_suffix(".json")
    for damage in ("", "[]", "{}", "null"):
        record.write_text(damage)
        with pytest.raises(UserError, match=r"100-shot-obama\.json must contain the sha256"):
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
        (
            "nothing like it",
            r"a \.npy file, .* `fastgan-ray data` lists, but 'nothing like it' is none of these",
        ),
        ("a\0b", "is none"),
        ("x" * 5000, "is none"),
        ("~nobody-of-this-name/x", "is none"),
    ],
)
def test_an_unknown_name_gets_similar_names(tmp_path, path, hint):
    (tmp_path / "sub" / "pictures").mkdir(parents=True)
    with pytest.raises(UserError, match=hint):
        resolve(path)


def test_a_full_disk_is_no_fault_of_the_download(server):
    with pytest.raises(OSError, match="No space left"):
        download(server.url + URL_PATH, Path("/dev/full"), 10)
