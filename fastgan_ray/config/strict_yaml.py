"""A strict YAML parser. It returns a mapping, the line of each key, and all errors of the file.

It differs from PyYAML's safe loader: `1e-4` is a number; `on` and `no` are text; a repeated key is
an error; a tag is an error, except the tags of the plain types; aliases may expand to at most
MAX_NODES values. Other libraries do not fit: ruamel.yaml stops at the first repeated key and reads
`1_000` and `0x10` as numbers; strictyaml refuses `{a: 1}` and `[1, 2]`, which our files often use.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from fastgan_ray.config.aliases import current_name
from fastgan_ray.config.messages import ErrorList, format_value
from fastgan_ray.errors import UserError

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # with aliases expanded: ten lines of YAML can expand to 10**9 nodes
MAX_DEPTH = 50

Loc: TypeAlias = tuple[str | int, ...]  # the path of a value: keys and list positions
Value: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None

_TAG = "tag:yaml.org,2002:"
# The plain types of YAML 1.2; the parser tries them in this order.
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
    """A SafeLoader with the plain types of YAML 1.2. `_Builder` converts its nodes to values."""


_Loader.yaml_implicit_resolvers = {}

for _name, _pattern in PLAIN_TYPES.items():
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern.pattern})$"), None)


@dataclass(frozen=True)
class Document:
    """A parsed file, with the line (from 1) of each dotted key, such as `base.train.lr_g`."""

    data: dict[str, Any]
    lines: dict[str, int]
    errors: ErrorList
    text: str

    def line(self, loc: Loc, rule: str = "") -> int | None:
        """Return the number of the line to report if the value at the path `loc` breaks `rule`.

        If the value is a mapping, the message `rule` may name some of the mapping's keys. Then
        return the line of the last of these keys. If the file does not contain `loc`, return the
        line of the innermost mapping around `loc` that the file contains.
        """
        key = ".".join(map(str, loc))
        words = set(re.findall(r"[^\W\d]\w*", rule.partition(" (got ")[0]))
        named = [
            line
            for name, line in self.lines.items()
            if name.startswith(f"{key}.") and name[len(key) + 1 :] in words
        ]
        while key and key not in self.lines:
            key = key.rpartition(".")[0]
        return max(named, default=self.lines.get(key))

    def add_error(self, loc: Loc, rule: str, key: str) -> None:
        """Add an error: the value at the path `loc` breaks `rule`.

        The message begins with `key`, a name for the value.
        """
        self.errors.add(self.line(loc, rule), f"{key}: {rule}" if key else rule)


def read_text(path: str | Path) -> str:
    """Read a UTF-8 file; raise UserError if this fails or if the file is too large."""
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(path.glob("*.yaml"))
            hint = f"; did you mean {files[0]}?" if len(files) == 1 else ""
            raise UserError(f"{path}: must be a YAML file, but it is a folder{hint}")
        raw = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path}: cannot be read: {reason}") from None
    if raw is None:
        raise UserError(f"{path}: must have at most {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}:{line}: must be UTF-8 text (got byte 0x{raw[error.start]:02x})"
        ) from None


def parse(text: str, name: str) -> Document:
    """Parse `text`, which must be a mapping; messages name the file `name`.

    Raise UserError if the text is not valid YAML or not a mapping. Other errors (a repeated key, a
    tag) are collected in the document's `errors`: the caller adds more errors and then raises all
    of them at once.
    """
    errors = ErrorList(name)
    node = _compose(text, name)
    if node is None:
        raise UserError(f"{name}:1: is empty; it must be a mapping, lines of `key: value`")
    builder = _Builder(errors)
    data = builder.build_document(node)
    if not isinstance(data, dict):
        errors.check()  # an earlier error, e.g. a tag, may be the cause
        line, value = node.start_mark.line + 1, format_value(data)
        raise UserError(f"{name}:{line}: must be a mapping, lines of `key: value` (got {value})")
    return Document(data, builder.lines, errors, text)


def parse_value(text: str, name: str) -> Value:
    """Parse one value by the same rules as a file: "1e-4" -> 0.0001, "[1, 2]" -> [1, 2]."""
    node = _compose(text, name)
    if node is None:
        return None
    errors = ErrorList(name)
    value = _Builder(errors).build_document(node)
    errors.check()
    return value


def _compose(text: str, name: str) -> yaml.Node | None:
    if len(text) > MAX_BYTES:
        raise UserError(f"{name}: must have at most {MAX_BYTES} characters")
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
    """Return PyYAML's error message, or a clearer message for common mistakes."""
    problem = error.problem or error.context or "is not YAML"
    mark = error.problem_mark
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\\t" in problem or "\t" in line[: len(line) - len(line.lstrip())]:
        return "begins with a tab; only spaces are allowed for indentation"
    if "mapping values are not allowed" in problem:
        return (
            "has a second `: `, or its indentation is wrong; put text that contains `: ` in quotes"
        )
    if "expected a single document" in (error.context or ""):
        return "a second YAML document begins here (`---`), but a file must have only one document"
    return f"is not valid YAML: {problem}"


@dataclass
class _Builder:
    """A converter from YAML nodes to plain values; it also collects the lines and the errors."""

    errors: ErrorList
    lines: dict[str, int] = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)  # lines of keys, without merged keys (`<<`)
    count: int = 0
    merging: int = 0  # depth of `<<` merges in progress; merged keys may be repeated

    def build_document(self, node: yaml.Node) -> Value:
        try:
            return self._build(node, ())
        except RecursionError:  # e.g. a mapping that merges itself
            raise UserError(f"{self.errors.name}: is nested too deeply") from None

    def _build(self, node: yaml.Node, keys: tuple[str, ...]) -> Value:
        self.count += 1
        line = node.start_mark.line + 1
        if self.count > MAX_NODES or len(keys) > MAX_DEPTH:
            raise UserError(
                f"{self.errors.name}:{line}: is nested too deeply, or its aliases expand to "
                f"more than {MAX_NODES} values"
            )
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, keys)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self._item(item, (*keys, str(i))) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, ".".join(keys))
        self._refuse(node)
        return None

    def _item(self, node: yaml.Node, keys: tuple[str, ...]) -> Value:
        self.lines[".".join(keys)] = node.start_mark.line + 1
        return self._build(node, keys)

    def _mapping(self, node: yaml.MappingNode, keys: tuple[str, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        merges_first = sorted(node.value, key=lambda pair: pair[0].tag != _TAG + "merge")
        for key_node, value_node in merges_first:
            if not isinstance(key_node, yaml.ScalarNode):
                line = key_node.start_mark.line + 1
                self.errors.add(line, "a key must be text, not a list or a mapping")
            elif key_node.tag == _TAG + "merge":
                merged |= self._merge(value_node, keys)
            else:
                path = current_name(".".join((*keys, key_node.value)))
                key = path.removeprefix("".join(f"{outer}." for outer in keys))
                if self._is_new(path, key_node.start_mark.line + 1):
                    values[key] = self._build(value_node, (*keys, key))
        return {**merged, **values}

    def _is_new(self, path: str, line: int) -> bool:
        """Record the line of a key; add an error and return False if the key is repeated.

        `model: {ngf: 8}` and `model.ngf: 8` are the same key.
        """
        if not self.merging and path in self.given:
            self.errors.add(line, f"{path}: is given twice (first in line {self.given[path]})")
            return False
        if not self.merging:
            self.given[path] = line
        self.lines[path] = line
        while "." in path:  # the dotted key `train.lr_g` also gives `train` its line
            path = path.rpartition(".")[0]
            self.lines.setdefault(path, line)
        return True

    def _merge(self, node: yaml.Node, keys: tuple[str, ...]) -> dict[str, Any]:
        """Return the entries that `<<` adds to a mapping.

        If several merged mappings have the same key, the first mapping wins.
        """
        merged: dict[str, Any] = {}
        self.merging += 1
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.MappingNode):
                self.errors.add(
                    node.start_mark.line + 1,
                    "the value of `<<` must be a mapping or a list of mappings",
                )
                break
            merged = {**self._mapping(part, keys), **merged}
        self.merging -= 1
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
            self.errors.add(
                line, f"{path}: the value {format_value(text)} does not fit its tag !!{kind}"
            )
            return None
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(re.sub(r"(?i)\.(inf|nan)", r"\1", text))
        return text.lower() == "true" if kind == "bool" else None

    def _refuse(self, node: yaml.Node) -> None:
        line = node.start_mark.line + 1
        self.errors.add(
            line, f"the tag {format_value(node.tag)} is not allowed; write the value without a tag"
        )
