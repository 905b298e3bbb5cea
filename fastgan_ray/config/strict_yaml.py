"""Strict YAML: text to a mapping that remembers the line of each key, and a list of its faults.

Stricter than PyYAML's safe loader: `1e-4` is a number, `on` and `no` are text, a key given twice is
a fault, and so are tags, other than those of the plain types. Aliases are fine within a limit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from fastgan_ray.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # after expansion of aliases: ten lines of YAML can ask for 10**9
MAX_DEPTH = 50

Keys: TypeAlias = tuple[str | int, ...]
Value: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

_TAG = "tag:yaml.org,2002:"
# YAML 1.2's plain types, in the order in which they are tried.
PLAIN_TYPES = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]{1,40}"),
    "float": re.compile(
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
    ),
    "merge": re.compile(r"<<"),
}


class _Loader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's plain types; used to compose nodes, never to construct."""


_Loader.yaml_implicit_resolvers = {}

for _name, _pattern in PLAIN_TYPES.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern.pattern})$"), None)


class ErrorList:
    """The faults of one file, collected so that all are told at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: dict[tuple[int, str], None] = {}

    def add(self, line: int | None, text: str) -> None:
        """Note one fault; `line` counts from 1, None = of the whole file."""
        place = self.name if line is None else f"{self.name}:{line}"
        self._found[line or 0, f"{place}: {text}"] = None

    def check(self) -> None:
        """Raise a UserError with every fault in order of lines, if there is one."""
        if self._found:
            ordered = sorted(self._found, key=lambda fault: fault[0])
            raise UserError("\n".join(text for _, text in ordered))

    def __bool__(self) -> bool:
        return bool(self._found)


@dataclass(frozen=True)
class Document:
    """A file's mapping, and the line (from 1) of every key path in it."""

    data: dict[str, Any]
    lines: dict[Keys, int]
    faults: ErrorList
    text: str

    def line(self, *keys: str | int) -> int | None:
        """The line of a key path, or of the nearest thing around it that stands in the file."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.lines:
                return self.lines[keys[:length]]
        return None


def format_value(value: object) -> str:
    """A value as YAML writes it, for messages: null, true, 0.5, 'text'; shortened."""
    if value is None or isinstance(value, bool):
        text = {None: "nothing", True: "true", False: "false"}[value]
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean X?" for a near miss among `known`, else nothing."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if not near:  # the section forgotten, or a wrong one
        leaf = word.rpartition(".")[2]
        leaves = {name.rpartition(".")[2]: name for name in reversed(known)}
        near = [leaves[hit] for hit in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    return f"; did you mean {near[0]}?" if near else ""


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file; UserError where there is none."""
    path = Path(path)
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the YAML file in it")
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if raw is None:
        raise UserError(f"{path}: is over {MAX_BYTES} bytes: no file of settings")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: must be UTF-8 text (found byte 0x{raw[error.start]:02x})"
        ) from None


def parse(text: str, name: str) -> Document:
    """The mapping that `text` holds; a UserError if it holds none.

    Faults that leave something to check (a key given twice, a tag) wait in `faults`, so that the
    caller can add its own and raise all at once; `name` is what messages call the file.
    """
    faults = ErrorList(name)
    node = _compose(text, name)
    if node is None:
        raise UserError(f"{name}:1: is empty; it must be a mapping, lines of `key: value`")
    builder = _Builder(faults)
    data = builder.whole(node)
    if not isinstance(data, dict):
        faults.check()  # a tag on all of it, say
        line, found = node.start_mark.line + 1, format_value(data)
        raise UserError(f"{name}:{line}: must be a mapping, lines of `key: value` (got {found})")
    return Document(data, builder.lines, faults, text)


def parse_value(text: str, name: str) -> Value:
    """One value, read by the same rules: "1e-4" -> 0.0001, "[1, 2]" -> [1, 2]."""
    node = _compose(text, name)
    if node is None:
        return None
    faults = ErrorList(name)
    value = _Builder(faults).whole(node)
    faults.check()
    return value


def _compose(text: str, name: str) -> yaml.Node | None:
    if len(text) > MAX_BYTES:
        raise UserError(f"{name}: is over {MAX_BYTES} characters: no file of settings")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise UserError(f"{name}:{line}: {_syntax(error, text)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{name}:{line}: contains the unprintable character {error.character:#06x}"
        ) from None
    except RecursionError:
        raise UserError(f"{name}: is nested too deeply") from None


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """PyYAML's complaint in words that name the mend, where the cause is a common one."""
    problem = error.problem or error.context or "is not YAML"
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\\t" in problem or "\t" in line[: len(line) - len(line.lstrip())]:
        return "a tab stands where YAML allows only spaces"
    if "mapping values are not allowed" in problem:
        return "a second `: ` in this line, or wrong indentation; quote text that contains `: `"
    if "expected a single document" in (error.context or ""):
        return "a second document begins here (`---`); a file holds one"
    return f"is not valid YAML: {problem}"


@dataclass
class _Builder:
    """Turns nodes into plain values, noting lines and faults on the way."""

    faults: ErrorList
    lines: dict[Keys, int] = field(default_factory=dict)
    count: int = 0

    def whole(self, node: yaml.Node) -> Value:
        try:
            return self.build(node, ())
        except RecursionError:  # a mapping that merges itself
            raise UserError(f"{self.faults.name}: is nested too deeply") from None

    def build(self, node: yaml.Node, keys: Keys) -> Value:
        self.count += 1
        line = node.start_mark.line + 1
        if self.count > MAX_NODES or len(keys) > MAX_DEPTH:
            raise UserError(
                f"{self.faults.name}:{line}: is nested too deeply, or its aliases expand to "
                f"more than {MAX_NODES} values"
            )
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._item(item, (*keys, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, ".".join(map(str, keys)))
        self._refuse(node)
        return None

    def _item(self, node: yaml.Node, keys: Keys) -> Value:
        self.lines[keys] = node.start_mark.line + 1
        return self.build(node, keys)

    def _mapping(self, node: yaml.MappingNode, keys: Keys) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: dict[str, int] = {}
        merges_first = sorted(node.value, key=lambda pair: pair[0].tag != _TAG + "merge")
        for key_node, value_node in merges_first:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.add(line, "a key must be text, not a list or a mapping")
                continue
            key = key_node.value
            if key_node.tag == _TAG + "merge":
                merged |= self._merge(value_node, keys)
                continue
            if key in seen:
                path = ".".join(map(str, (*keys, key)))
                self.faults.add(line, f"{path}: is given twice (first in line {seen[key]})")
                continue
            seen[key] = self.lines[(*keys, key)] = line
            own[key] = self.build(value_node, (*keys, key))
        return {**merged, **own}

    def _merge(self, node: yaml.Node, keys: Keys) -> dict[str, Any]:
        """The mapping that `<<` pulls in; of several the first has the say."""
        merged: dict[str, Any] = {}
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.MappingNode):
                self.faults.add(node.start_mark.line + 1, "`<<` takes a mapping or a list of them")
                return {}
            merged = {**self._mapping(part, keys), **merged}
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Value:
        text: str = node.value
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "merge"):
            return text
        if kind not in PLAIN_TYPES:
            self._refuse(node)
            return None
        if not PLAIN_TYPES[kind].fullmatch(text):
            line = node.start_mark.line + 1
            self.faults.add(line, f"{path}: is marked !!{kind} but reads {format_value(text)}")
            return None
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(re.sub(r"(?i)\.(inf|nan)", r"\1", text))
        return text.lower() == "true" if kind == "bool" else None

    def _refuse(self, node: yaml.Node) -> None:
        line = node.start_mark.line + 1
        self.faults.add(
            line, f"the tag {format_value(node.tag)} is not allowed: write a plain value"
        )
