"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastgan_ray.files import atomic, linked_copy, write_atomically


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_or_kept(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, "old")
    with pytest.raises(ZeroDivisionError), atomic(path) as draft:
        draft.write_text("half")
        _ = 1 / 0
    assert path.read_text() == "old" and names(tmp_path) == {"a.json"}
    write_atomically(path, "new ü")
    assert path.read_text(encoding="utf-8") == "new ü" and names(tmp_path) == {"a.json"}


def test_a_folder_is_replaced_or_kept(tmp_path):
    path = tmp_path / "best"
    for text in ("old", "new"):
        with atomic(path) as draft:
            (draft / "below").mkdir(parents=True)
            (draft / "below" / "file").write_text(text)
        assert (path / "below" / "file").read_text() == text and names(tmp_path) == {"best"}
    with pytest.raises(KeyboardInterrupt), atomic(path) as draft:
        draft.mkdir()
        raise KeyboardInterrupt
    assert (path / "below" / "file").read_text() == "new" and names(tmp_path) == {"best"}


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path):
    path = tmp_path / "best"
    for left in (".best.draft", ".best.old.draft"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "half").write_text("")
    path.mkdir()
    with atomic(path) as draft:
        draft.mkdir()
        (draft / "whole").write_text("")
    assert names(path) == {"whole"} and names(tmp_path) == {"best"}


WRITER = """
import json, sys
from pathlib import Path
from fastgan_ray.files import write_atomically
print("begun", flush=True)
for number in range(10**9):
    write_atomically(Path(sys.argv[1]), json.dumps([number] * 20_000))
"""


def test_a_reader_sees_whole_files_while_the_writer_writes_and_after_it_is_killed(tmp_path):
    path = tmp_path / "numbers.json"
    command = [sys.executable, "-c", WRITER, str(path)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout.readline() == "begun\n"
        until = time.monotonic() + 2
        seen = set()
        while time.monotonic() < until:
            if path.is_file():
                numbers = json.loads(path.read_text())
                assert len(numbers) == 20_000 and len(set(numbers)) == 1
                seen.add(numbers[0])
        assert len(seen) > 3
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    assert len(set(json.loads(path.read_text()))) == 1


def write_many(path: Path, letter: str) -> None:
    for _ in range(20):
        with atomic(path, shared=True) as draft:
            draft.write_text(letter * 10_000)


def test_several_processes_write_one_file(tmp_path):
    path = tmp_path / "shared"
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_many, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert path.read_text() in ("a" * 10_000, "b" * 10_000) and names(tmp_path) == {"shared"}


def test_shared_drafts_of_killed_processes_are_removed_after_a_day(tmp_path):
    for name, age in (("old", 90_000), ("fresh", 0)):
        draft = tmp_path / f".{name}.1.draft"
        draft.write_text("half")
        os.utime(draft, (time.time() - age,) * 2)
    with atomic(tmp_path / "file", shared=True) as draft:
        draft.write_text("whole")
    assert names(tmp_path) == {".fresh.1.draft", "file"}


def test_a_linked_copy_shares_files_and_replaces_a_folder(tmp_path):
    source, target = tmp_path / "source", tmp_path / "below" / "target"
    source.mkdir()
    (source / "weights").write_bytes(b"12345")
    for _ in range(2):
        linked_copy(source, target)
    assert (target / "weights").samefile(source / "weights") and names(target.parent) == {"target"}


@pytest.mark.parametrize(("number", "written"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_flush_is_no_error_but_a_failing_disk_is(
    number, written, tmp_path, monkeypatch
):
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with contextlib.nullcontext() if written else pytest.raises(OSError, match="Input/output"):
        write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").exists() == written
