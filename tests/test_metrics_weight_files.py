"""The search order of weight files, downloads from a local server, and filling the cache."""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import serving

from fastgan_ray.cli.main import main
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics.extractors import EXTRACTORS
from fastgan_ray.metrics.weight_catalog import WEIGHTS
from fastgan_ray.metrics.weight_files import (
    add_weights,
    fetch_weights,
    needed_weights,
    require_weights,
    weights_path,
    weights_table,
)
from fastgan_ray.train.perceptual import DISTANCES

CONTENT = {name: f"{name} ".encode() * 1000 for name in WEIGHTS}


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def folders(monkeypatch, tmp_path, server):
    """Empty cache, temporary folder and torch hub; the server publishes small files."""
    for name in ("cache", "temporary", "torch", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", f"{server.url}/mirror/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, content in CONTENT.items():
        sha256 = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(WEIGHTS, name, replace(WEIGHTS[name], sha256=sha256))
    return tmp_path


def in_cache(folders: Path, name: str) -> Path:
    return folders / "cache" / "weights" / WEIGHTS[name].filename


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", CONTENT)
def test_the_cache_comes_first(folders, server, name):
    put(folders / "temporary" / WEIGHTS[name].filename, CONTENT[name])
    cached = put(in_cache(folders, name), CONTENT[name])
    assert weights_path(name) == cached
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("inception", "temporary"),
        ("vgg16", "torch/hub/checkpoints"),
        ("dinov2_vitl14", "torch/hub/checkpoints"),
        ("clip_vitb32", "home/.cache/clip"),
    ],
)
def test_then_the_folders_of_other_libraries(folders, server, name, folder):
    path = put(folders / folder / WEIGHTS[name].filename, CONTENT[name])
    assert weights_path(name) == path
    assert server.requests == []


@pytest.mark.parametrize("name", CONTENT)
def test_then_one_download(folders, server, name, capfd):
    url = f"/mirror/{WEIGHTS[name].filename}"
    server.files[url] = CONTENT[name]
    # Half a file of another program is ignored.
    put(folders / "temporary" / WEIGHTS[name].filename, CONTENT[name][:100])
    path = weights_path(name)
    assert path == in_cache(folders, name) and path.read_bytes() == CONTENT[name]
    assert weights_path(name) == path
    assert server.requests == [url]
    assert "downloading http://127.0.0.1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "length", "reason"),
    [
        (None, None, "HTTP Error 404"),
        (b"<html>Please log in</html>", None, "wrong content: sha256 .*26 bytes"),
        (CONTENT["inception"][:5000], 10_000, "(5,000 of 10,000 bytes|IncompleteRead)"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(
    folders, server, body, length, reason
):
    if body is not None:
        server.files["/mirror/inception-2015-12-05.pt"] = body
    server.length = length
    with pytest.raises(UserError, match=reason) as error:
        weights_path("inception")
    text = str(error.value)
    assert str(in_cache(folders, "inception")) in text
    assert f"{server.url}/mirror/inception-2015-12-05.pt" in text
    assert "--embedded" in text and "eval.extractor: efficientnet_lite0" in text
    assert list((folders / "cache").rglob("*.*")) == []


def test_no_server_at_all(folders, server, monkeypatch):
    server.server_close()
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth.*could not be downloaded") as error:
        weights_path("vgg16")
    assert "set train.reconstruction to l1" in str(error.value)
    # Also without a training: `neighbours --by lpips` and `invert` need this file.
    assert "Or use --embedded: it replaces LPIPS" in str(error.value)
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", "nonsense")
    with pytest.raises(UserError, match="could not be downloaded"):
        weights_path("vgg16")


def test_another_file_in_the_cache_is_refused(folders, server):
    server.files[f"/mirror/{WEIGHTS['inception'].filename}"] = CONTENT["inception"]
    cached = put(in_cache(folders, "inception"), b"a checkpoint of something else")
    with pytest.raises(UserError, match="must be the published file with sha256") as error:
        weights_path("inception")
    assert str(cached) in str(error.value)
    assert cached.read_bytes() == b"a checkpoint of something else" and server.requests == []


def test_an_unwritable_cache_is_reported(folders, server, monkeypatch):
    server.files[f"/mirror/{WEIGHTS['inception'].filename}"] = CONTENT["inception"]
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(put(folders / "file", b"")))
    with pytest.raises(UserError, match="FASTGAN_RAY_CACHE"):
        weights_path("inception")


def test_a_file_of_another_user_is_ignored(folders, server, monkeypatch):
    url = f"/mirror/{WEIGHTS['inception'].filename}"
    server.files[url] = CONTENT["inception"]
    put(folders / "temporary" / WEIGHTS["inception"].filename, CONTENT["inception"])
    opened = Path.open

    def refuse(path, *arguments, **keywords):
        if path.parent == folders / "temporary":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", refuse)
    assert weights_path("inception") == in_cache(folders, "inception")


@pytest.mark.parametrize("extractor", EXTRACTORS)
@pytest.mark.parametrize("reconstruction", DISTANCES)
def test_a_run_requires_what_it_uses_all_at_once(folders, server, extractor, reconstruction):
    needed = [extractor] if extractor != "efficientnet_lite0" else []
    needed += ["vgg16"] if reconstruction == "lpips_vgg" else []
    filenames = sorted(WEIGHTS[name].filename for name in needed)
    config = RunConfig.model_validate(
        {"eval": {"extractor": extractor}, "train": {"reconstruction": reconstruction}}
    )
    if needed:
        with pytest.raises(UserError) as error:
            require_weights(config)
        assert all(name in str(error.value) for name in filenames)
    publish(server)
    require_weights(config)
    assert stored(folders) == filenames


def test_the_default_run_requires_inception_and_vgg():
    assert needed_weights(RunConfig()) == ["inception", "vgg16"]


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_setting_of_each_file_exists_and_needs_it(name):
    field, value = WEIGHTS[name].setting.split(": ")
    config = RunConfig.model_validate(
        {"train.reconstruction": "l1", "eval.extractor": "efficientnet_lite0", field: value}
    )
    assert needed_weights(config) == [name]


def test_published_checksums_match_the_names_that_carry_one():
    assert WEIGHTS["vgg16"].sha256.startswith("397923af")
    assert WEIGHTS["inception_pytorch"].sha256.startswith("6726825d")
    assert WEIGHTS["clip_vitb32"].url.endswith(WEIGHTS["clip_vitb32"].sha256)
    assert all(len(entry.sha256) == 64 for entry in WEIGHTS.values())
    for distinct in ("filename", "sha256"):
        assert len({getattr(entry, distinct) for entry in WEIGHTS.values()}) == len(WEIGHTS)


# --- filling the cache


def publish(server):
    server.files |= {f"/mirror/{WEIGHTS[name].filename}": CONTENT[name] for name in CONTENT}


def stored(folders):
    return sorted(path.name for path in (folders / "cache").rglob("*") if path.is_file())


def call(*arguments: object) -> int:
    """The exit status of a `weights` command."""
    with pytest.raises(SystemExit) as ended:
        main(["weights", *map(str, arguments)])
    return int(ended.value.code or 0)


def test_fetch_fills_the_cache(folders, server, capsys):
    publish(server)
    assert call("fetch", "vgg16", "clip_vitb32", "vgg16") == 0
    assert stored(folders) == ["ViT-B-32.pt", "vgg16-397923af.pth"]
    printed = capsys.readouterr()
    assert str(in_cache(folders, "vgg16")) in printed.out
    assert printed.err.count("downloading") == 2
    assert call("fetch") == 0  # all of them, and nothing twice
    assert stored(folders) == sorted(entry.filename for entry in WEIGHTS.values())
    assert len(server.requests) == len(set(server.requests)) == len(WEIGHTS)
    assert {row["state"] for row in weights_table()} == {"here"}


def test_fetch_takes_what_a_library_has_fetched(folders, server):
    downloaded = put(folders / "torch/hub/checkpoints/vgg16-397923af.pth", CONTENT["vgg16"])
    assert fetch_weights(["vgg16"]) == [in_cache(folders, "vgg16")]
    assert in_cache(folders, "vgg16").read_bytes() == CONTENT["vgg16"] == downloaded.read_bytes()
    assert server.requests == []


def test_fetch_reports_all_that_failed_and_keeps_the_rest(folders, server, capsys):
    publish(server)
    del server.files["/mirror/ViT-B-32.pt"]
    server.files["/mirror/dinov2_vitb14_pretrain.pth"] = b"<html>Please log in</html>"
    put(in_cache(folders, "inception"), b"a checkpoint of something else")
    asked = ("clip_vitb32", "dinov2_vitb14", "inception", "dinov2_vitl15", "vgg16")
    assert call("fetch", *asked) == 2
    message = " ".join(capsys.readouterr().err.split())
    for words in (
        "ViT-B-32.pt, which could not be downloaded (HTTP Error 404",
        "dinov2_vitb14_pretrain.pth, which was downloaded with the wrong content",
        "inception-2015-12-05.pt: must be the published file",
        "(got dinov2_vitl15); did you mean dinov2_vitl14?",
    ):
        assert words in message
    assert stored(folders) == ["inception-2015-12-05.pt", "vgg16-397923af.pth"]


def test_add_identifies_files_by_their_content(folders, server, tmp_path, capsys):
    files = [put(tmp_path / "usb" / f"{name}.bin", CONTENT[name]) for name in CONTENT]
    assert call("add", *files) == 0
    assert stored(folders) == sorted(entry.filename for entry in WEIGHTS.values())
    assert all(weights_path(name).read_bytes() == CONTENT[name] for name in CONTENT)
    assert all(file.is_file() for file in files) and server.requests == []
    assert str(in_cache(folders, "vgg16")) in capsys.readouterr().out


def test_add_refuses_what_it_does_not_know_all_at_once(folders, server, tmp_path, capsys):
    good = put(tmp_path / "vgg", CONTENT["vgg16"])
    half = put(tmp_path / "inception-2015-12-05.pt", CONTENT["inception"][:-1])
    assert call("add", half, tmp_path / "gone.pth", tmp_path, good) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert f"{half}: is not one of the known weight files" in message
    assert hashlib.sha256(half.read_bytes()).hexdigest() in message
    assert all(f"{entry.sha256} {entry.filename}" in message for entry in WEIGHTS.values())
    assert f"{tmp_path / 'gone.pth'}: cannot be read" in message
    assert f"{tmp_path}: cannot be read" in message
    assert stored(folders) == ["vgg16-397923af.pth"]


def test_add_repairs_a_damaged_cache_and_accepts_its_own_file(folders, server, tmp_path):
    cached = put(in_cache(folders, "vgg16"), b"damaged")
    good = put(tmp_path / "good", CONTENT["vgg16"])
    assert add_weights([good]) == [cached] and weights_path("vgg16") == cached
    assert add_weights([cached]) == [cached]
    cached.unlink()
    cached.symlink_to(good)
    assert add_weights([good]) == [cached]
    assert cached.read_bytes() == good.read_bytes() == CONTENT["vgg16"]


def test_add_to_a_cache_that_cannot_be_written(folders, server, tmp_path, monkeypatch):
    good = put(tmp_path / "good", CONTENT["vgg16"])
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(put(folders / "file", b"")))
    with pytest.raises(UserError, match="FASTGAN_RAY_CACHE"):
        add_weights([good])


def test_list_says_what_is_here_and_where(folders, server, capsys):
    put(in_cache(folders, "vgg16"), CONTENT["vgg16"])
    put(folders / "temporary" / "inception-2015-12-05.pt", CONTENT["inception"])
    put(in_cache(folders, "clip_vitb32"), b"damaged")
    assert call("list", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(WEIGHTS)
    where = {name: (row["state"], row["path"]) for name, row in rows.items()}
    assert where["vgg16"] == ("here", str(in_cache(folders, "vgg16")))
    assert where["inception"] == ("here", str(folders / "temporary" / "inception-2015-12-05.pt"))
    assert where["clip_vitb32"] == ("another file", str(in_cache(folders, "clip_vitb32")))
    assert where["dinov2_vitl14"] == ("missing", None)
    entry = WEIGHTS["dinov2_vitl14"]
    assert rows["dinov2_vitl14"]["size_bytes"] == entry.size_bytes == 1_217_586_395
    assert rows["dinov2_vitl14"]["sha256"] == entry.sha256
    assert rows["dinov2_vitl14"]["url"].endswith("/mirror/dinov2_vitl14_pretrain.pth")
    assert server.requests == []


def test_list_is_a_table_for_people_and_breaks_no_address(folders, server, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert call("list") == 0
    lines = capsys.readouterr().out.splitlines()
    for name, entry in WEIGHTS.items():
        row = next(line for line in lines if f" {name} " in line)
        assert f"{entry.size_bytes / 1e6:,.0f}" in row and "missing" in row
        url = f"{server.url}/mirror/{entry.filename}"
        assert f"{name}: {url}" in lines
    assert any(line.startswith("efficientnet_lite0: ") for line in lines)
