"""The search order of weight files, downloads from a local server, and what an error says."""

from __future__ import annotations

import hashlib
import http.server
import tempfile
import threading
from pathlib import Path

import pytest

from fastgan_ray.config.schema import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.metrics import weights
from fastgan_ray.metrics.weights import WEIGHTS, Weights, require_weights, weights_path

CONTENT = {"inception": b"inception " * 1000, "vgg16": b"vgg " * 1000}


@pytest.fixture
def server():
    """A loopback server: `.files` by path, `.asked` so far; 404 for the rest."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            body = self.server.files.get(self.path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Length", str(self.server.claimed or len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.files, httpd.asked, httpd.claimed = {}, [], None
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield httpd
        httpd.shutdown()
        thread.join()


@pytest.fixture
def place(monkeypatch, tmp_path, server):
    """Empty cache, temporary folder and torch hub; the server publishes small files."""
    for name in ("cache", "temporary", "torch"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}/mirror/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, content in CONTENT.items():
        old = WEIGHTS[name]
        digest = hashlib.sha256(content).hexdigest()
        new = Weights(old.filename, digest, old.url, old.purpose, old.instead)
        monkeypatch.setitem(weights.WEIGHTS, name, new)
    return tmp_path


def in_cache(place: Path, name: str) -> Path:
    return place / "cache" / "weights" / WEIGHTS[name].filename


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", CONTENT)
def test_the_cache_comes_first(place, server, name):
    put(place / "temporary" / WEIGHTS[name].filename, CONTENT[name])
    own = put(in_cache(place, name), CONTENT[name])
    assert weights_path(name) == own
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "folder"), [("inception", "temporary"), ("vgg16", "torch/hub/checkpoints")]
)
def test_then_the_places_of_clean_fid_and_torch_hub(place, server, name, folder):
    path = put(place / folder / WEIGHTS[name].filename, CONTENT[name])
    assert weights_path(name) == path
    assert server.asked == []


@pytest.mark.parametrize("name", CONTENT)
def test_then_one_download(place, server, name, capfd):
    url = f"/mirror/{WEIGHTS[name].filename}"
    server.files[url] = CONTENT[name]
    # Half a file left by somebody else is passed over.
    put(place / "temporary" / WEIGHTS[name].filename, CONTENT[name][:100])
    path = weights_path(name)
    assert path == in_cache(place, name) and path.read_bytes() == CONTENT[name]
    assert weights_path(name) == path
    assert server.asked == [url]
    assert "downloading http://127.0.0.1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("body", "claimed", "reason"),
    [
        (None, None, "HTTP Error 404"),
        (b"<html>Please log in</html>", None, "another content there: sha256 .*26 bytes"),
        (CONTENT["inception"][:5000], 10_000, "(5,000 bytes|IncompleteRead)"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_what_to_do(place, server, body, claimed, reason):
    if body is not None:
        server.files["/mirror/inception-2015-12-05.pt"] = body
    server.claimed = claimed
    with pytest.raises(UserError, match=reason) as error:
        weights_path("inception")
    text = str(error.value)
    assert str(in_cache(place, "inception")) in text
    assert f"http://127.0.0.1:{server.server_port}/mirror/inception-2015-12-05.pt" in text
    assert "--embedded" in text and "eval.extractor: efficientnet_lite0" in text
    assert list((place / "cache").rglob("*.*")) == []


def test_no_server_at_all(place, server, monkeypatch):
    server.server_close()
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth.*could not be downloaded") as error:
        weights_path("vgg16")
    assert "train.reconstruction: l1" in str(error.value)
    monkeypatch.setenv("FASTGAN_RAY_WEIGHTS_URL", "nonsense")
    with pytest.raises(UserError, match="could not be downloaded"):
        weights_path("vgg16")


def test_another_file_in_the_cache_is_refused(place, server):
    server.files[f"/mirror/{WEIGHTS['inception'].filename}"] = CONTENT["inception"]
    own = put(in_cache(place, "inception"), b"a checkpoint of something else")
    with pytest.raises(UserError, match="must be the published file with sha256") as error:
        weights_path("inception")
    assert str(own) in str(error.value)
    assert own.read_bytes() == b"a checkpoint of something else" and server.asked == []


def test_an_unwritable_cache_is_said_to_be(place, server, monkeypatch):
    server.files[f"/mirror/{WEIGHTS['inception'].filename}"] = CONTENT["inception"]
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(put(place / "file", b"")))
    with pytest.raises(UserError, match="FASTGAN_RAY_CACHE"):
        weights_path("inception")


@pytest.mark.parametrize(
    ("extractor", "reconstruction", "needed"),
    [
        ("inception", "lpips_vgg", ["inception-2015-12-05.pt", "vgg16-397923af.pth"]),
        ("inception", "l1", ["inception-2015-12-05.pt"]),
        ("efficientnet_lite0", "lpips_vgg", ["vgg16-397923af.pth"]),
        ("efficientnet_lite0", "l1", []),
        ("efficientnet_lite0", "efficientnet_lite0", []),
    ],
)
def test_a_run_requires_what_it_uses_all_at_once(place, server, extractor, reconstruction, needed):
    config = RunConfig.model_validate(
        {"eval": {"extractor": extractor}, "train": {"reconstruction": reconstruction}}
    )
    if needed:
        with pytest.raises(UserError) as error:
            require_weights(config)
        assert all(name in str(error.value) for name in needed)
    server.files |= {f"/mirror/{WEIGHTS[name].filename}": CONTENT[name] for name in CONTENT}
    require_weights(config)
    stored = sorted(path.name for path in (place / "cache").rglob("*.*"))
    assert stored == needed


def test_published_checksums_match_the_names_that_carry_one():
    assert WEIGHTS["vgg16"].sha256.startswith("397923af")
    assert all(len(entry.sha256) == 64 for entry in WEIGHTS.values())
