"""Copy a run's folder to and from a remote storage, at a URI such as s3://bucket/prefix.

A file that refers to other files is written after these files. So a checkpoint's metadata.json is
written after its weights, and a trial's metrics.jsonl is written after the checkpoints that it
names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import fsspec
from pyarrow import ArrowException, ArrowInvalid
from pyarrow import fs as arrow

from fastgan_ray.errors import UserError
from fastgan_ray.files import atomic

# These files refer to other files, so they are written last.
LAST = ("metadata.json", ".source", "metrics.jsonl")


class RemoteStorage:
    """The files (objects) of one run in a remote storage.

    `uri` is the address of the storage, and `run` is the name of the run. An object's name is its
    path relative to the run's folder. A RemoteStorage can be pickled, because Ray sends it to the
    trials. Raises UserError if the storage cannot be opened.
    """

    def __init__(self, uri: str, run: str) -> None:
        self._uri, self._run = uri, run
        self._open()

    def __getstate__(self) -> tuple[str, str]:
        return self._uri, self._run

    def __setstate__(self, state: tuple[str, str]) -> None:
        self._uri, self._run = state
        self._open()

    def __str__(self) -> str:
        return f"{without_password(self._uri)}/{self._run}"

    def below(self, folder: str) -> RemoteStorage:
        """Return the storage of another run, whose folder is `folder` in the folder of this run."""
        return RemoteStorage(self._uri, f"{self._run}/{folder}")

    def _open(self) -> None:
        try:
            try:
                self._fs, root = arrow.FileSystem.from_uri(self._uri)
            except ArrowInvalid:  # Arrow does not know the scheme, but fsspec may
                other, root = fsspec.core.url_to_fs(self._uri)
                self._fs = arrow.PyFileSystem(arrow.FSSpecHandler(other))
        except (ArrowException, ValueError, ImportError, OSError) as error:
            raise UserError(
                f"--runs {self}: cannot be opened ({error}). Name a folder, or a URI "
                "such as s3://bucket/prefix."
            ) from error
        self._root = f"{root.rstrip('/')}/{self._run}"

    def check(self) -> None:
        """Raise UserError if the storage cannot be written."""
        try:
            self.write(".check", b"")
            self.remove(".check")
        except OSError as error:
            raise UserError(
                f"--runs {self}: cannot be written ({error}). Check the address, and that this "
                "machine's credentials allow writing."
            ) from error

    def names(self, under: str = "") -> list[str]:
        """Return the sorted names of all objects below the folder `under`; "" is the run's folder.

        Raises OSError if the storage cannot be reached.
        """
        selector = arrow.FileSelector(self._at(under), recursive=True, allow_not_found=True)
        start = len(self._root) + 1
        files = (info for info in self._fs.get_file_info(selector) if info.is_file)
        return sorted(info.path[start:] for info in files)

    def read(self, name: str) -> bytes | None:
        """Return the content of the object `name`; None if there is no such object."""
        try:
            with self._fs.open_input_stream(self._at(name)) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write `content` to the object `name`."""
        self._make_folder(name)
        with self._fs.open_output_stream(self._at(name)) as stream:
            stream.write(content)

    def put(self, folder: Path, names: Iterable[str]) -> None:
        """Copy files from `folder` to the storage; files whose names are in LAST are copied last.

        `names` are paths relative to `folder`.
        """
        for name in sorted(names, key=lambda name: (_rank(name), name)):
            self._make_folder(name)
            arrow.copy_files(str(folder / name), self._at(name), destination_filesystem=self._fs)

    def get(self, folder: Path, names: Iterable[str]) -> None:
        """Copy the objects `names` to files below `folder`.

        Objects whose names are in LAST are copied last. No file is visible before it is complete.
        """
        for name in sorted(names, key=lambda name: (_rank(name), name)):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with atomic(target) as draft:
                arrow.copy_files(self._at(name), str(draft), source_filesystem=self._fs)

    def remove(self, name: str) -> None:
        """Remove the object or the folder `name`, if it exists."""
        kind = self._fs.get_file_info(self._at(name)).type
        if kind == arrow.FileType.Directory:
            self._fs.delete_dir(self._at(name))
        elif kind == arrow.FileType.File:
            self._fs.delete_file(self._at(name))

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _make_folder(self, name: str) -> None:
        # S3 has no folders, and a request for a folder may be forbidden.
        if self._fs.type_name != "s3":
            self._fs.create_dir(self._at(name).rsplit("/", 1)[0], recursive=True)


def without_password(uri: str) -> str:
    """Return a URI without its query, user name and password."""
    scheme, _, rest = uri.partition("://")
    return f"{scheme}://{rest.split('?')[0].rsplit('@')[-1].rstrip('/')}"


def files_below(folder: Path, under: str = "") -> list[str]:
    """Return the paths of all files below `folder`/`under`, relative to `folder` and sorted."""
    paths = (folder / under).rglob("*")
    return sorted(str(path.relative_to(folder)) for path in paths if path.is_file())


def _rank(name: str) -> int:
    file = name.rsplit("/", 1)[-1]
    return LAST.index(file) + 1 if file in LAST else 0
