from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import stat
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data import checking
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.fit import fit_picture
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError

pytestmark = pytest.mark.usefixtures("empty_cache")


def picture(index: int, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def fill(folder: Path, count: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / f"{index:03}.png").write_bytes(picture(index))
    return folder


def pack(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def write_lmdb(path: Path, entries: dict[str, bytes]) -> Path:
    with lmdb.open(str(path), map_size=2**22) as env, env.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)
    return path


def opened(path: Path, seed: int = 0, **options) -> Source:
    return open_source(DataConfig(path=str(path), **options), seed)


# --- which pictures --------------------------------------------------------------------------


def test_folder_is_searched_recursively_in_any_case(tmp_path):
    folder = fill(tmp_path / "data", 2)
    (folder / "deep" / "er").mkdir(parents=True)
    for index, suffix in enumerate(["JPG", "jpeg", "WebP", "BMP", "tif", "TIFF", "gif", "Png"]):
        form = {"JPG": "JPEG", "TIF": "TIFF"}.get(suffix.upper(), suffix.upper())
        (folder / "deep" / "er" / f"x{index}.{suffix}").write_bytes(picture(index, form))
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"junk")
    (folder / ".git").mkdir()
    (folder / ".git" / "a.png").write_bytes(b"junk")
    source = opened(folder)
    assert len(source) == 10 and source.skipped == () and source.path == folder
    assert source.names[:2] == ("000.png", "001.png") and source.names == tuple(
        sorted(source.names)
    )
    assert "deep/er/x0.JPG" in source.names
    assert source.read(1).size == (30, 21) and source.read(1).mode == "RGB"


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    elsewhere = fill(tmp_path / "elsewhere", 3)
    folder = fill(tmp_path / "data", 2)
    (folder / "link").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    assert opened(folder).names == ("000.png", "001.png", *(f"link/00{i}.png" for i in range(3)))


def test_folder_zip_and_lmdb_of_the_same_pictures_are_the_same_source(tmp_path):
    entries = {f"{index:03}.png": picture(index) for index in range(5)}
    sources = [
        opened(fill(tmp_path / "folder")),
        opened(pack(tmp_path / "a.zip", entries)),
        opened(write_lmdb(tmp_path / "lmdb", entries)),
    ]
    assert len({source.digest for source in sources}) == 1
    assert len({source.names for source in sources}) == 1
    for source in sources:
        assert np.array_equal(np.asarray(source.read(3)), np.asarray(sources[0].read(3)))
        assert np.array_equal(pickle.loads(pickle.dumps(source)).read(2), source.read(2))


def test_zip_ignores_hidden_entries_and_folders(tmp_path):
    path = pack(
        tmp_path / "a.zip",
        {
            "set/": b"",
            "set/b.png": picture(1),
            "set/a.PNG": picture(0),
            "__MACOSX/set/._a.PNG": b"junk",
            "set/.hidden.png": b"junk",
            ".trash/c.png": b"junk",
            "readme.md": b"hello",
        },
    )
    assert opened(path).names == ("set/a.PNG", "set/b.png")


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "..\\a.png", "C:\\a.png"])
def test_zip_entries_must_not_escape(tmp_path, name):
    path = pack(tmp_path / "a.zip", {"b.png": picture(0), name: picture(1), "c.png": picture(2)})
    with pytest.raises(UserError, match="must not lead out of the archive"):
        opened(path)


def test_lmdb_keys_of_stylegan(tmp_path):
    entries = {f"{size}-{i:05}": picture(i) for size in (64, 128) for i in range(3)}
    source = opened(write_lmdb(tmp_path / "lmdb", {**entries, "length": b"3"}))
    assert source.names == ("128-00000", "128-00001", "128-00002")


def test_names_need_not_be_utf8(tmp_path):
    folder = fill(tmp_path / "data", 2)
    bad = folder / os.fsdecode(b"\xff\x1b[31m.png")
    bad.write_bytes(b"junk")
    with pytest.raises(UserError, match=r"\\xff\\x1b\[31m\.png: is not a picture") as caught:
        opened(folder)
    str(caught.value).encode("utf-8")
    bad.write_bytes(picture(9))
    source = opened(folder)
    assert len(source) == 3 and len(load_images(source, DataConfig(), (32, 32))) == 3


# --- the digest and the subset -----------------------------------------------------------------


def test_digest_follows_content_and_names(tmp_path):
    folder = fill(tmp_path / "data")
    first = opened(folder).digest
    assert opened(fill(tmp_path / "copy")).digest == first
    (folder / "000.png").rename(folder / "0000.png")
    renamed = opened(folder).digest
    (folder / "0000.png").write_bytes(picture(77))
    assert len({first, renamed, opened(folder).digest}) == 3


def test_limit_draws_nested_subsets_by_seed(tmp_path):
    folder = fill(tmp_path / "data", 20)
    subsets = [opened(folder, limit=limit).names for limit in (2, 5, 11, 19)]
    for smaller, larger in pairwise(subsets):
        assert set(smaller) < set(larger)
    assert [len(names) for names in subsets] == [2, 5, 11, 19]
    assert all(names == tuple(sorted(names)) for names in subsets)
    assert opened(folder, limit=5).digest == opened(folder, limit=5).digest
    assert len({opened(folder, seed, limit=5).names for seed in range(6)}) > 1
    assert opened(folder, limit=20).digest == opened(folder, seed=7).digest
    assert len(opened(folder, limit=500)) == 20


# --- errors ------------------------------------------------------------------------------------


def spoil(folder: Path) -> Path:
    noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG")
    (folder / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    (folder / "text.png").write_text("hello")
    (folder / "void.gif").write_bytes(b"")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe.png")
    return folder


BAD = {
    "cut.jpg": "damaged or incomplete",
    "gone.png": "cannot be read",
    "pipe.png": "not a regular file",
    "text.png": "not a picture of a known format",
    "void.gif": "is empty",
}


def test_every_bad_picture_is_named_with_its_reason(tmp_path):
    folder = spoil(fill(tmp_path / "data"))
    for _ in range(2):  # a second opening must not remember bad ones as good
        with pytest.raises(UserError, match=r"5 of 10 pictures cannot be read") as caught:
            opened(folder)
        for name, reason in BAD.items():
            assert f"  {name}: " in str(caught.value) and reason in str(caught.value)
        assert "on_bad_image: skip" in str(caught.value)


def test_bad_pictures_are_skipped_on_request(tmp_path):
    clean = opened(fill(tmp_path / "clean"))
    source = opened(spoil(fill(tmp_path / "data")), on_bad_image="skip")
    assert [line.split(": ")[0] for line in source.skipped] == list(BAD)
    assert source.digest == clean.digest and len(source) == 5


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_nothing_usable(tmp_path, on_bad_image):
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        opened(spoil(tmp_path / "data"), on_bad_image=on_bad_image)


def test_one_picture_is_too_few(tmp_path):
    with pytest.raises(UserError, match="at least 2 usable pictures are needed, but got 1 of 1"):
        opened(fill(tmp_path / "data", 1))
    folder = spoil(fill(tmp_path / "more", 1))
    with pytest.raises(UserError, match=r"got 1 of 6; these pictures cannot be read:\n  cut\.jpg"):
        opened(folder, on_bad_image="skip")
    assert len(opened(fill(tmp_path / "two", 2))) == 2


def test_paths_that_hold_no_pictures(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("hello")
    (tmp_path / "one.png").write_bytes(picture(0))
    (tmp_path / "a.tar").write_bytes(b"\0" * 1024)  # a tar archive without entries
    (tmp_path / "a.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + b"\0" * 1024)
    (tmp_path / "cut.zip").write_bytes(
        pack(tmp_path / "a.zip", {"a.png": picture(0)}).read_bytes()[:50]
    )
    write_lmdb(tmp_path / "lmdb", {"length": b"0"})
    for name, message in {
        "empty": "is an empty folder",
        "texts": "contains no pictures",
        "one.png": "is a single file",
        "a.tar": "contains no pictures",
        "a.7z": "is a single file",
        "cut.zip": "damaged or incomplete zip",
        "lmdb": "contains no pictures",
        "missing": r"is none of these \(current folder",
        "emptyy": "Did you mean .*empty",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            opened(tmp_path / name)
        assert name in str(caught.value)
    for config in (DataConfig(), DataConfig(path="")):
        with pytest.raises(UserError, match="no data given"):
            open_source(config)


def test_a_folder_that_is_not_an_lmdb(tmp_path):
    (tmp_path / "lmdb").mkdir()
    (tmp_path / "lmdb" / "data.mdb").write_bytes(b"junk" * 5000)
    with pytest.raises(UserError, match="cannot read this LMDB"):
        opened(tmp_path / "lmdb")


def test_bad_zip_entries_are_bad_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("fastgan_ray.data.sizes.MAX_BYTES", 10_000)
    path = pack(
        tmp_path / "a.zip", {"a.png": picture(0), "b.png": picture(1), "bomb.bmp": b"\0" * 100_000}
    )
    with zipfile.ZipFile(path) as archive:
        inside = archive.getinfo("b.png").header_offset + 30 + len("b.png") + 40
    data = bytearray(path.read_bytes())
    data[inside] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"bomb\.bmp: .*100,000 bytes, more than") as caught:
        opened(path)
    assert "2 of 3 pictures cannot be read" in str(caught.value)


def test_a_picture_that_changes_or_goes_while_in_use(tmp_path):
    folder = fill(tmp_path / "data")
    source = opened(folder)
    (folder / "001.png").write_bytes(picture(50))
    with pytest.raises(UserError, match=r"001\.png changed while in use"):
        source.read(1)
    with pytest.raises(UserError, match=r"001\.png changed while in use"):
        load_images(source, DataConfig(), (32, 32))
    (folder / "001.png").unlink()
    with pytest.raises(UserError, match=r"001\.png can no longer be read"):
        source.read(1)


# --- the caches --------------------------------------------------------------------------------


def test_the_array_holds_the_squared_pictures(tmp_path, empty_cache):
    source = opened(fill(tmp_path / "data", 70))  # more than one chunk
    for fit in ("crop", "squash", "pad"):
        config = DataConfig(fit=fit, background="#ff0000")
        images = load_images(source, config, (32, 32))
        assert images.shape == (70, 32, 32, 3) and images.dtype == np.uint8
        assert isinstance(images, np.memmap) and not images.flags.writeable
        for index in (0, 69):
            expected = np.asarray(fit_picture(source.read(index), fit, "#ff0000", (32, 32)))
            assert np.array_equal(images[index], expected)
    assert len(list((empty_cache / "images").iterdir())) == 3
    load_images(source, DataConfig(fit="pad", background="#FF0000"), (32, 32))
    assert len(list((empty_cache / "images").iterdir())) == 3
    load_images(source, DataConfig(fit="pad"), (32, 32))
    load_images(source, DataConfig(fit="pad"), (64, 64))
    assert len(list((empty_cache / "images").iterdir())) == 5


def test_a_known_picture_is_not_decoded_again(tmp_path, monkeypatch):
    folder = fill(tmp_path / "data")
    opened(folder)
    decoded: list[int] = []
    real = checking.inspect
    monkeypatch.setattr(
        checking, "inspect", lambda data, frames: decoded.append(len(data)) or real(data, frames)
    )
    opened(folder)
    assert decoded == []
    (folder / "002.png").write_bytes(picture(99))
    opened(folder)
    assert len(decoded) == 1


def test_a_cached_array_is_not_built_again_but_a_damaged_one_is(tmp_path, empty_cache):
    source = opened(fill(tmp_path / "data"))
    expected = np.array(load_images(source, DataConfig(), (32, 32)))
    (path,) = (empty_cache / "images").iterdir()
    before = path.stat().st_mtime_ns
    load_images(source, DataConfig(), (32, 32))
    assert path.stat().st_mtime_ns == before
    for damage in (b"", b"junk", path.read_bytes()[:-1]):
        path.unlink()
        path.write_bytes(damage)
        assert np.array_equal(load_images(source, DataConfig(), (32, 32)), expected)
    (record,) = (empty_cache / "checked").iterdir()
    for damage in ("", "{}", "[1, null]", '"x"'):
        record.write_text(damage)
        assert opened(tmp_path / "data").digest == source.digest
    assert len(json.loads(record.read_text())) == 5


def test_files_of_killed_writers_are_removed_after_a_day(tmp_path, empty_cache):
    folder = empty_cache / "images"
    folder.mkdir(parents=True)
    old, fresh = folder / ".a.npy.1.draft", folder / ".b.npy.2.draft"
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (time.time() - 90_000,) * 2)
    load_images(opened(fill(tmp_path / "data")), DataConfig(), (32, 32))
    assert fresh.exists() and not old.exists() and len(list(folder.iterdir())) == 2


def test_a_cache_that_cannot_be_written(tmp_path, empty_cache, monkeypatch):
    folder = fill(tmp_path / "data")
    empty_cache.write_text("a file where the folder should be")
    with pytest.raises(UserError, match="FASTGAN_RAY_CACHE"):
        opened(folder)
    if os.geteuid() != 0:
        empty_cache.unlink()
        empty_cache.mkdir()
        empty_cache.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(UserError, match="FASTGAN_RAY_CACHE"):
            opened(folder)


def _build(folder: str, barrier, results) -> None:
    barrier.wait(60)
    source = open_source(DataConfig(path=folder))
    images = load_images(source, DataConfig(), (64, 64))
    results.put((source.digest, int(images.astype(np.int64).sum())))


def test_two_processes_build_at_once(tmp_path, empty_cache):
    folder = fill(tmp_path / "data", 40)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [
        context.Process(target=_build, args=(str(folder), barrier, results)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    assert outcomes[0] == outcomes[1] and [worker.exitcode for worker in workers] == [0, 0]
    assert len(list((empty_cache / "images").iterdir())) == 1
    results.close()
    results.join_thread()
