"""Every file of a data set is read, or accounted for with its kind and the reason."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import lmdb
import numpy as np
import pytest
from encoded_pictures import encode, gradient
from PIL import Image, features
from PIL.GifImagePlugin import GifImageFile
from PIL.TiffImagePlugin import AppendingTiffWriter

from fastgan_ray.config.data import DataConfig
from fastgan_ray.data import kinds
from fastgan_ray.data.listing import describe_left_out
from fastgan_ray.data.source import Source, open_source
from fastgan_ray.errors import UserError

pytestmark = pytest.mark.usefixtures("empty_cache")


def picture(index: int, form: str = "PNG", **options) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels), form, **options)


def frames(count: int, form: str, side: int = 8, **options) -> bytes:
    """An animation or a document: frame n is of the grey 40 n."""
    images = [Image.new("RGB", (side, side), (40 * n,) * 3) for n in range(count)]
    return encode(images[0], form, save_all=True, append_images=images[1:], **options)


def opened(path: Path, **options) -> Source:
    return open_source(DataConfig(path=str(path), **options))


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def pack(path: Path, entries: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def heif() -> bytes:
    """A picture as phones store it, without a codec: enough to recognise it."""
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


def pictures_of_every_kind() -> dict[str, bytes]:
    files = {
        "a.png": picture(0),
        "no-suffix": picture(1),
        "wrong.txt": picture(2),
        "b.jfif": picture(3, "JPEG"),
        "c.jpe": picture(4, "JPEG"),
        "d.ppm": picture(5, "PPM"),
        "e.pgm": encode(Image.new("L", (9, 9), 77), "PPM"),
        "f.jp2": picture(6, "JPEG2000"),
        "g.apng": frames(3, "PNG"),
        "h.tif": frames(3, "TIFF"),
        "i.gif": frames(4, "GIF"),
        "j.webp": frames(2, "WEBP", lossless=True),
        "k.bmp": picture(7, "BMP"),
        "deep/er/l.JPG": picture(8, "JPEG"),
    }
    return files | ({"m.avif": picture(9, "AVIF")} if "avif" in features.get_supported() else {})


def others_of_every_kind() -> dict[str, bytes]:
    npz, archive = io.BytesIO(), io.BytesIO()
    np.savez(npz, a=np.zeros(3))
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("x.png", picture(0))
    return {
        "phone.heic": heif(),
        "notes.txt": b"BM, a text that starts like a bitmap",
        "P6": b"P6",
        "deep/labels.json": b"{}",
        "inner.zip": archive.getvalue(),
        "inner.tar.gz": b"\x1f\x8b" + bytes(20),
        "arrays.npz": npz.getvalue(),
        "floats.npy": array_bytes(np.zeros((4, 8, 8, 3), np.float32)),
        "drawing.svg": b"<svg/>",
        "camera.NEF": raw("MM", {254: 1, 330: 300}),
        "camera.dng": raw("II", {256: 8, 50706: 0x401}),
        "no-suffix.raw": raw("II", {254: 1, 330: 300}),
        "old.cr2": b"II*\0\x10\0\0\0CR\2\0" + bytes(50),
        "new.cr3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(50),
        ".hidden.png": picture(10),
        ".DS_Store": b"\0\0\0\1Bud1",
        ".git/a.png": picture(11),
        "__MACOSX/._a.png": b"\0\x05\x16\x07",
    }


def raw(order: str, tags: dict[int, int]) -> bytes:
    """The first page of a camera's raw file: a TIFF header and tags of one LONG each."""
    form = "<" if order == "II" else ">"
    entries = b"".join(struct.pack(f"{form}HHLL", tag, 4, 1, tags[tag]) for tag in tags)
    return order.encode() + struct.pack(f"{form}HLH", 42, 8, len(tags)) + entries + bytes(100)


def array_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def accounted(source: Source) -> set[str]:
    """Every name that the source mentions."""
    read = {picture.file for picture in source.pictures}
    return read | {entry.name for entry in source.left_out}


def no_heif(monkeypatch) -> None:
    why = "to read HEIF pictures, run: pip install 'fastgan-ray[heif]'"
    monkeypatch.setitem(kinds.MISSING, "HEIF", lambda: why)


# --- a folder of all kinds ---------------------------------------------------------------------


def test_a_folder_of_all_kinds_is_accounted_for_to_the_last_file(tmp_path, monkeypatch):
    no_heif(monkeypatch)
    good, others = pictures_of_every_kind(), others_of_every_kind()
    rows = {"stack.npy": array_bytes(np.zeros((3, 8, 8, 3), np.uint8))}
    folder = write(tmp_path / "data", good | others | rows)
    (folder / "up").symlink_to(tmp_path)
    (folder / "gone").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    source = opened(folder)
    names = {"stack.npy[0]", "stack.npy[1]", "stack.npy[2]"} | good.keys()
    assert {picture.file for picture in source.pictures} == names and source.skipped == ()
    on_disk = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    folders = {"deep", "deep/er", ".git/a.png", "__MACOSX/._a.png"}  # hidden folders are closed
    assert accounted(source) == (on_disk - folders - {"stack.npy"}) | names
    raw_file = "a camera's raw file; save it as JPEG, PNG or TIFF to use it"
    assert describe_left_out(source.left_out) == (
        f"19 files were not read: 1 .cr2, 1 .cr3, 1 .dng, 1 .nef and 1 .raw ({raw_file}), "
        "1 .gz, 1 .npz and 1 .zip (an archive within the data; unpack it to use it), "
        "1 .heic (to read HEIF pictures, run: pip install 'fastgan-ray[heif]'), "
        "1 .npy (the array has values of type float32; they must be uint8, 0 to 255), "
        "1 .png (hidden), 1 hidden folder (contains pictures; rename the folder to use them), "
        f"1 link (points to the parent folder {tmp_path}), "
        "1 without a suffix (cannot be read: [Errno 2] No such file or directory: "
        f"'{folder}/gone'), 1 without a suffix (cannot be read: not a regular file), "
        "1 .json, 1 .svg, 1 .txt, 1 without a suffix"
    )


def test_a_raw_file_is_not_read_as_its_small_preview(tmp_path):
    """A NEF, DNG or ARW begins with a preview that Pillow would read as the picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12)).save(buffer, "TIFF", tiffinfo={254: 1, 50706: b"\1\4\0\0"})
    preview = buffer.getvalue()
    assert Image.open(io.BytesIO(preview)).size == (16, 12)
    page = encode(Image.new("RGB", (16, 12)), "TIFF")
    files = {"a.dng": preview, "b": preview, "c.arw": page, "d.tif": page, "e.png": picture(0)}
    source = opened(write(tmp_path, files))
    assert source.names == ("d.tif", "e.png")
    assert {entry.name for entry in source.left_out} == {"a.dng", "b", "c.arw"}


def test_hidden_folders_with_pictures_are_said_and_others_are_not(tmp_path):
    write(tmp_path, {"a.png": picture(0), "b.png": picture(1), ".git/config": b"x"})
    write(tmp_path, {".cropped/deep/c.png": picture(2), "__MACOSX/._a.png": b"\0\5\x16\7"})
    line = "1 file was not read: 1 hidden folder (contains pictures; rename the folder to use them)"
    assert describe_left_out(opened(tmp_path).left_out) == line


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "lmdb"])
def test_archives_of_all_kinds_hold_the_same_pictures(form, tmp_path, monkeypatch):
    no_heif(monkeypatch)
    good, others = pictures_of_every_kind(), others_of_every_kind()
    expected = opened(write(tmp_path / "folder", good))
    path, entries = tmp_path / f"data.{form}", good | others
    if form == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(name, data)
    elif form == "lmdb":
        with lmdb.open(str(path), map_size=2**22) as env, env.begin(write=True) as transaction:
            for name, data in good.items():
                transaction.put(name.encode(), data)
    else:
        pack(path, list(entries.items()), f"w:{form[4:]}")
    source = opened(path)
    assert source.names == expected.names and source.digest == expected.digest
    assert accounted(source) == (good if form == "lmdb" else entries).keys()
    pickled = pickle.loads(pickle.dumps(source))
    for index in range(len(source)):
        assert np.array_equal(np.asarray(pickled.read(index)), np.asarray(expected.read(index)))


def test_only_what_is_not_a_picture_is_an_error_with_its_count(tmp_path):
    folder = write(tmp_path / "data", {"a.txt": b"a", "b.txt": b"b", "c": b""})
    with pytest.raises(UserError, match=r"3 files were not read: 2 \.txt, 1 without a suffix"):
        opened(folder)


def test_a_damaged_picture_is_an_error_and_does_not_vanish(tmp_path):
    folder = write(tmp_path, {"a.png": picture(0), "b": picture(1), "c.avif": b"junk"})
    with pytest.raises(UserError, match=r"c\.avif: is not a picture"):
        opened(folder)
    write(tmp_path, {"c.avif": b"", "d": picture(2)[:100]})
    with pytest.raises(UserError, match=r"(?s)2 of 4 .*c\.avif: is empty.* d: is damaged"):
        opened(folder)


def test_heic_is_read_with_its_package(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    image = gradient(64, 48)
    pillow_heif.from_pillow(image).save(str(tmp_path / "a.heic"), quality=-1)
    write(tmp_path, {"b.png": picture(0)})
    source = opened(tmp_path)
    assert source.names == ("a.heic", "b.png") and source.left_out == ()
    difference = np.asarray(source.read(0), np.int16) - np.asarray(image, np.int16)
    assert np.abs(difference).max() <= 12


# --- pages and frames --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_frames_are_pictures_on_request(form, tmp_path):
    options = {"lossless": True} if form == "WEBP" else {}
    folder = write(tmp_path, {"a": frames(6, form, **options), "b.png": picture(0)})
    assert opened(folder).names == ("a", "b.png")
    source = opened(folder, frames="all")
    assert source.names == (*(f"a[{n}]" for n in range(6)), "b.png")
    assert [source.read(n).getpixel((4, 4))[0] for n in range(6)] == [0, 40, 80, 120, 160, 200]
    assert len({opened(folder).digest, source.digest}) == 2
    assert opened(folder, frames="all").digest == source.digest  # from the cache


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_frames_do_not_depend_on_the_order_in_which_they_are_read(form, tmp_path):
    options = {"lossless": True} if form == "WEBP" else {}
    source = opened(write(tmp_path, {"a": frames(6, form, **options)}), frames="all")
    for index in (5, 2, 2, 0, 3, 5, 1):
        assert source.read(index).getpixel((4, 4)) == (40 * index,) * 3


def test_a_long_animation_is_not_decoded_again_for_each_frame(tmp_path, monkeypatch):
    source = opened(write(tmp_path, {"a.gif": frames(6, "GIF")}), frames="all")
    seeks: list[int] = []
    real = GifImageFile._seek
    monkeypatch.setattr(
        GifImageFile,
        "_seek",
        lambda image, frame, *more: seeks.append(frame) or real(image, frame, *more),
    )
    for index in range(6):
        source.read(index)
    assert seeks.count(1) <= 2 and seeks.count(2) == 1


def test_ten_pages_are_in_their_order(tmp_path):
    source = opened(write(tmp_path, {"a.gif": frames(6, "GIF"), "b.tif": frames(11, "TIFF")}))
    assert len(source) == 2
    names = opened(tmp_path, frames="all").names
    assert len(names) == 17 and names[-2:] == ("b.tif[09]", "b.tif[10]")


def test_reduced_copies_and_masks_in_a_tiff_are_not_pages(tmp_path):
    pages = [Image.new("L", (side, side), side) for side in (32, 16, 24, 8)]
    subfiles = [0, 1, 2, 4]  # a picture, a reduced copy, a page, a mask
    buffer = io.BytesIO()
    with AppendingTiffWriter(buffer, True) as writer:
        for page, subfile in zip(pages, subfiles, strict=True):
            page.save(writer, "TIFF", tiffinfo={254: subfile})
            writer.newFrame()
    source = opened(write(tmp_path, {"a.tif": buffer.getvalue()}), frames="all")
    assert [source.read(n).size for n in range(len(source))] == [(32, 32), (24, 24)]


def test_a_fault_in_a_frame_that_is_not_used_is_no_fault(tmp_path):
    data = frames(4, "GIF", side=64)
    folder = write(tmp_path, {"a.gif": data[: len(data) - 30], "b.png": picture(0)})
    assert opened(folder).names == ("a.gif", "b.png")


# --- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["NHWC", "NCHW", "NHW", "Fortran", "alone"])
def test_an_array_of_pictures(layout, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)
    stored = {
        "NHWC": pixels,
        "NCHW": pixels.transpose(0, 3, 1, 2),
        "NHW": pixels[..., 0],
        "Fortran": np.asfortranarray(pixels),
        "alone": pixels,
    }[layout]
    path = tmp_path if layout == "alone" else tmp_path / "a.npy"
    (tmp_path / "a.npy").write_bytes(array_bytes(stored))
    source = opened(path)
    assert source.names == tuple(f"a.npy[{n:02d}]" for n in range(12))
    for index in range(12):
        expected = pixels[index, ..., :1].repeat(3, 2) if layout == "NHW" else pixels[index]
        assert np.array_equal(np.asarray(source.read(index)), expected)
    assert len({picture.sha256 for picture in source.pictures}) == 12


def test_an_array_with_alpha_and_a_single_picture(tmp_path):
    rgba = np.zeros((5, 5, 4), np.uint8)
    write(tmp_path, {"a.npy": array_bytes(rgba), "b.png": picture(0)})
    source = opened(tmp_path, background="#102030")
    assert source.names == ("a.npy", "b.png")
    assert source.read(0).getpixel((0, 0)) == (16, 32, 48)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 8, 8, 3)), "type float64; they must be uint8"),
        (np.zeros((4, 8, 8, 5), np.uint8), "must have the shape"),
        (np.zeros(9, np.uint8), "must have the shape"),
        (np.zeros((8, 8, 3), np.uint8), "contains only one picture"),
        (np.zeros((4, 0, 8, 3), np.uint8), "must have the shape"),
        (np.array([{}], dtype=object), "cannot be used as pictures"),
        (np.zeros((0, 8, 8, 3), np.uint8), "contains no pictures"),
    ],
)
def test_an_array_that_holds_no_pictures(array, reason, tmp_path):
    (tmp_path / "a.npy").write_bytes(array_bytes(array))
    with pytest.raises(UserError, match=reason):
        opened(tmp_path / "a.npy")


def test_a_cut_array(tmp_path):
    (tmp_path / "a.npy").write_bytes(array_bytes(np.zeros((4, 8, 8, 3), np.uint8))[:-9])
    with pytest.raises(UserError, match="cannot be used as pictures"):
        opened(tmp_path / "a.npy")


# --- archives ----------------------------------------------------------------------------------


def test_a_name_given_twice_is_said(tmp_path):
    path = tmp_path / "a.zip"
    with (
        zipfile.ZipFile(path, "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        for index, name in enumerate(["a.png", "b.png", "a.png", "a.png"]):
            archive.writestr(name, picture(index))
    entries = [("a.png", picture(0)), ("b.png", picture(1)), ("a.png", picture(3))]
    tar = pack(tmp_path / "a.tar", entries)
    for packed, count in ((path, 2), (tar, 1)):
        source = opened(packed)
        assert source.names == ("a.png", "b.png")
        assert source.read_bytes("a.png") == picture(3), "the last one counts"
        files = "2 files were" if count == 2 else "1 file was"
        assert describe_left_out(source.left_out) == (
            f"{files} not read: {count} .png (a later entry has the same name)"
        )


def test_links_and_devices_in_a_tar_are_accounted_for(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("p", tarfile.FIFOTYPE)]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.png"
            archive.addfile(info)
        for index in range(2):
            info = tarfile.TarInfo(f"./{index}.png")
            info.size = len(picture(index))
            archive.addfile(info, io.BytesIO(picture(index)))
    source = opened(path)
    assert source.names == ("0.png", "1.png")
    assert {(entry.name, entry.kind) for entry in source.left_out} == {
        ("l", "link"),
        ("h", "link"),
        ("p", "special entry"),
    }


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png"])
def test_tar_entries_must_not_escape(name, tmp_path):
    path = pack(tmp_path / "a.tar", [(name, picture(0)), ("b.png", picture(1))])
    with pytest.raises(UserError, match="names of tar entries must not lead out of the archive"):
        opened(path)


def test_a_cut_or_exploding_tar_is_refused(tmp_path, monkeypatch):
    path = pack(tmp_path / "a.tar.gz", [(f"{n}.png", picture(n)) for n in range(3)], "w:gz")
    whole = path.read_bytes()
    for damaged in (whole[:-100], whole[:-8] + b"12345678", whole[:30]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.tar\.gz: cannot read this tar archive"):
            opened(path)
    monkeypatch.setattr("fastgan_ray.data.archives._BLOCK", 1024)
    pack(path, [("a.bmp", bytes(2**20))], "w:gz")
    with pytest.raises(UserError, match="more than 100 times as large as the archive"):
        opened(path)


# --- LMDB --------------------------------------------------------------------------------------


def write_lmdb(path: Path, entries: dict[str, bytes]) -> Path:
    with lmdb.open(str(path), map_size=2**22) as env, env.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)
    return path


def sized(side: int, count: int) -> dict[str, bytes]:
    return {f"{side}-{index:05}": picture(index) for index in range(count)}


@pytest.mark.parametrize("stated", [{"length": b"8"}, {}])
def test_an_incomplete_resolution_of_an_lmdb_is_not_used(stated, tmp_path):
    path = write_lmdb(tmp_path / "lmdb", {**sized(32, 8), **sized(64, 2), **stated})
    source = opened(path)
    assert source.names == tuple(f"32-{index:05}" for index in range(8))
    (note,) = source.notes
    assert "it has 8 pictures at 32 px, but only 2 at 64 px" in note
    assert accounted(source) == {*sized(32, 8), *sized(64, 2), *stated}


def test_an_lmdb_without_a_complete_resolution_is_refused(tmp_path):
    path = write_lmdb(tmp_path / "a", {**sized(32, 5), **sized(64, 2), "length": b"8"})
    with pytest.raises(UserError, match=r"states that it has 8 pictures, .* 5 of 32 px, 2 of 64"):
        opened(path)
    entries = {f"image-{n:09}": picture(n) for n in range(1, 4)}
    path = write_lmdb(tmp_path / "b", {**entries, "num-samples": b"5"})
    with pytest.raises(UserError, match="states that it has 5 pictures, but has 3"):
        opened(path)


def test_other_keys_of_an_lmdb_are_ignored_with_a_count(tmp_path):
    entries = {f"image-{n:09}": picture(n) for n in range(1, 5)}
    labels = {f"label-{n:09}": b"word" for n in range(1, 5)}
    path = write_lmdb(tmp_path / "lmdb", {**entries, **labels, "num-samples": b"4"})
    source = opened(path)
    assert source.names == tuple(sorted(entries))
    assert describe_left_out(source.left_out) == "5 files were not read: 4 label-*, 1 num-samples"
    with lmdb.open(str(path), map_size=2**22) as env, env.begin(write=True) as transaction:
        transaction.put(b"image-000000002", b"junk")
    with pytest.raises(UserError, match="image-000000002: is not a picture"):
        opened(path)


def test_files_beside_an_lmdb_are_accounted_for(tmp_path):
    path = write_lmdb(tmp_path / "lmdb", {**sized(32, 3), "length": b"3"})
    write(path, {"more.png": picture(9)})
    assert describe_left_out(opened(path).left_out) == (
        "1 file was not read: 1 .png (not part of the LMDB)"
    )


# --- links -------------------------------------------------------------------------------------


def test_a_link_to_a_folder_above_does_not_bring_the_neighbours(tmp_path):
    for name in ("data", "neighbour"):
        write(tmp_path / name, {f"{n}.png": picture(n) for n in range(4)})
    (tmp_path / "data" / "deep").mkdir()
    (tmp_path / "data" / "up").symlink_to(tmp_path)
    (tmp_path / "data" / "deep" / "up").symlink_to(tmp_path.parent)
    source = opened(tmp_path / "data")
    assert len(source) == 4
    assert {(entry.name, entry.kind) for entry in source.left_out} == {
        ("up", "link"),
        ("deep/up", "link"),
    }
    (tmp_path / "linked").symlink_to(tmp_path / "data")
    assert len(opened(tmp_path / "linked")) == 4


def test_a_link_above_a_linked_folder_is_not_followed_either(tmp_path):
    write(tmp_path / "data", {"a.png": picture(0), "b.png": picture(1)})
    write(tmp_path / "far" / "set", {"c.png": picture(2)})
    write(tmp_path / "far" / "neighbour", {"d.png": picture(3)})
    (tmp_path / "far" / "set" / "up").symlink_to(tmp_path / "far")
    (tmp_path / "data" / "set").symlink_to(tmp_path / "far" / "set")
    assert opened(tmp_path / "data").names == ("a.png", "b.png", "set/c.png")


# --- advice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
def test_leaving_out_is_no_advice_if_nothing_would_remain(tmp_path, on_bad_image):
    folder = write(tmp_path, {"a.png": b"junk", "b.png": b"junk"})
    with pytest.raises(UserError, match="none of 2 pictures can be read") as caught:
        opened(folder, on_bad_image=on_bad_image)
    assert "skip" not in str(caught.value) and "copied completely" in str(caught.value)
    write(tmp_path, {"c.png": picture(0)})
    with pytest.raises(UserError, match=r"cannot be read") as caught:
        opened(folder, on_bad_image=on_bad_image)
    assert "skip" not in str(caught.value)
    write(tmp_path, {"d.png": picture(1)})
    with pytest.raises(UserError, match=r"leave them out with data\.on_bad_image: skip"):
        opened(folder)
