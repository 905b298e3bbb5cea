"""Strict YAML: what it reads, what it refuses and where, and how it is written."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config, load_run_config, parse_assignments
from fastgan_ray.config.strict_yaml import parse, parse_value
from fastgan_ray.config.training import TrainConfig
from fastgan_ray.errors import UserError


def load(tmp_path: Path, text: str | bytes) -> RunConfig:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_run_config(path)


def error_of(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-3", -3),
        ("010", 10),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2020-01-01", "2020-01-01"),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("'1e-4'", "1e-4"),
        ("[1, a, null]", [1, "a", None]),
        ("{on: off}", {"on": "off"}),
        ("!!str 12", "12"),
        ("a,b", "a,b"),
    ],
)
def test_plain_values_follow_yaml_1_2(text, value):
    read = parse_value(text, "x")
    assert read == value and type(read) is type(value)


def test_sections_may_be_nested_or_dotted(tmp_path):
    config = load(tmp_path, "train.lr_g: 1e-4\nmodel: {ngf: 16}\ntrain:\n  lr_d: 3e-4\naugment:\n")
    assert (config.train.lr_g, config.train.lr_d, config.model.ngf) == (1e-4, 3e-4, 16)


def test_anchors_aliases_and_merges(tmp_path):
    text = "train: &t {lr_g: &lr 1e-3, lr_d: *lr}\n"
    assert load(tmp_path, text).train.lr_d == 1e-3
    document = parse("a: &a {x: 1, y: 2}\nb:\n  x: 3\n  <<: *a\n", "x")
    assert document.data["b"] == {"x": 3, "y": 2}
    assert document.line("b", "x") == 3


def test_a_number_in_a_message_is_no_index_of_a_list():
    document = parse("values:\n  - 0\n  - 16\n  - 8\n", "x")
    assert document.line(("values",), "must be at least 1 (got 0)") == 1


def test_an_error_names_file_line_key_rule_and_value(tmp_path):
    text = "# comment\nmodel:\n  ngf: 16\ntrain:\n  lr_g: 1e-4\n  beta1: 1.2\n"
    assert error_of(tmp_path, text) == "bad.yaml:6: train.beta1: must be less than 1 (got 1.2)"


def test_all_errors_at_once_in_order_of_lines(tmp_path):
    text = (
        "model: {ngf: 0}\n"
        "train:\n"
        "  lr_q: 1\n"
        "  lr_d: abc\n"
        "  loss: hing\n"
        "  beta1: 0.5\n"
        "  beta1: 0.3\n"
        "  batch_size: 8.0\n"
        "data: {flip: on, background: }\n"
    )
    *names, last = get_args(TrainConfig.model_fields["loss"].annotation)
    losses = ", ".join(map(repr, names)) + f" or {last!r}"
    assert error_of(tmp_path, text).split("\n") == [
        "bad.yaml:1: model.ngf: must be at least 1 (got 0)",
        "bad.yaml:3: train.lr_q: is not a known setting; did you mean train.lr_g?",
        "bad.yaml:4: train.lr_d: must be a number (got 'abc')",
        f"bad.yaml:5: train.loss: must be one of {losses} (got 'hing'); did you mean hinge?",
        "bad.yaml:7: train.beta1: is given twice (first in line 6)",
        "bad.yaml:8: train.batch_size: must be a whole number (got 8.0)",
        "bad.yaml:9: data.background: must be text in quotes (got nothing)",
        "bad.yaml:9: data.flip: must be a number (got 'on')",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"# nothing\n", "bad.yaml:1: is empty"),
        (b"- a\n", "bad.yaml:1: must be a mapping, lines of `key: value` (got ['a'])"),
        (b"just words", "bad.yaml:1: must be a mapping"),
        (b"train:\n\tlr_g: 1\n", "bad.yaml:2: begins with a tab"),
        (b"train:\n  lr_g: 1\n\tlr_d: 2\n", "bad.yaml:3: begins with a tab"),
        (b"a: 1\nb: \xff\n", "bad.yaml:2: must be UTF-8 text (got byte 0xff)"),
        (b"a: 1\nb: \x00\n", "bad.yaml:2: contains the unprintable character"),
        (b"a: 1\n---\nb: 2\n", "bad.yaml:2: a second YAML document"),
        (b"a: b: c\n", "bad.yaml:1: has a second `: `"),
        (b"a: [1, 2\nb: 3\n", "bad.yaml:2: is not valid YAML"),
        (b"a: *b\n", "found undefined alias 'b'"),
        (b"[" * 5000, "nested too deeply"),
        (b"a: &a {b: *a}\n", "nested too deeply"),
        (b"a: &a {<<: *a}\n", "nested too deeply"),
        (b"a: {<<: 3}\n", "the value of `<<` must be a mapping"),
        (b"a: !!python/object/apply:os.system [ls]\n", "os.system' is not allowed"),
        (b"!!set {a}\n", "is not allowed"),
        (b"train: {seed: !!int foo}\n", "train.seed: the value 'foo' does not fit its tag !!int"),
        (b"? [a]\n: 3\n", "bad.yaml:1: a key must be text"),
        (b"model: {ngf: 8}\nmodel.ngf: 9\n", "bad.yaml:2: model.ngf: is given twice"),
        (b"modle: {ngf: 8}\n", "did you mean model?"),
        (b"lr_g: 1\n", "did you mean train.lr_g?"),
        (b"model: 3\n", "bad.yaml:1: model: must be a mapping, such as {key: value} (got 3)"),
        (b"train: {lr_g: .inf}\n", "train.lr_g: must be a finite number (got inf)"),
        (
            b"model:\n  ngf: 8\n  d_small: false\n",
            "bad.yaml:3: model: decode_small must be false if d_small",
        ),
        (b"model:\n  resolution: 100\n", "bad.yaml:2: model.resolution: must be a power of two"),
        (
            b"augment: {policy: blur}\n",
            "augment.policy: must be operations from color, translation",
        ),
        (b"#" * 1_000_001, "must have at most 1000000 bytes"),
    ],
)
def test_bad_files(tmp_path, text, message):
    assert message in error_of(tmp_path, text)


def test_billion_laughs_ends_at_once(tmp_path):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    assert "aliases expand" in error_of(tmp_path, "\n".join(lines))


def test_missing_file_folder_and_impossible_name(tmp_path):
    for path, message in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / ("x" * 5000), "cannot be read"),
        ("a\0b", "null"),
    ):
        with pytest.raises(UserError, match=message):
            load_run_config(path)


def test_a_byte_order_mark_is_no_error(tmp_path):
    assert load(tmp_path, b"\xef\xbb\xbfmodel: {ngf: 8}\n").model.ngf == 8


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.lr_g": 1e-5, "data.path": "1e-4", "augment.policy": ""},
        {"data.path": "on", "model.g_channels": [8, 8, 8, 8, 8, 8, 8]},
        {"data.path": "null"},
        {"data.path": "Bücher/日本 #1: x"},
    ],
)
def test_a_configuration_survives_the_way_through_yaml(tmp_path, changes):
    config = RunConfig.model_validate(changes)
    assert load(tmp_path, dump_run_config(config)) == config
    assert yaml.safe_load(dump_run_config(config))["data"]["path"] == config.data.path


@settings(max_examples=100, deadline=None)
@given(path=st.text(st.characters(codec="utf-8"), max_size=20), rate=st.floats(1e-300, 0.99))
def test_any_text_and_number_survive_the_way_through_yaml(path, rate):
    config = RunConfig.model_validate({"data.path": path, "train.lr_g": rate})
    read = parse(dump_run_config(config), "x").data
    assert RunConfig.model_validate(read) == config


def test_assignments():
    assert parse_assignments(
        ["train.lr_g=1e-4", "data.background=#ff0000", "data.path=a=b", "model.g_channels=[1, 2]"]
    ) == {
        "train.lr_g": 1e-4,
        "data.background": "#ff0000",
        "data.path": "a=b",
        "model.g_channels": [1, 2],
    }
    with pytest.raises(UserError) as caught:
        parse_assignments(["x", "lr_g=3", "train.lr_g=3", "train.lr_g=2", "train.lr_d=["])
    text = str(caught.value)
    assert "'x': must have the form key=value" in text
    assert "lr_g: is not a known setting; did you mean train.lr_g?" in text
    assert "train.lr_g: must be less than 1 (got 3)" in text
    assert "train.lr_g: is given twice" in text
    assert "train.lr_d: " in text
    # The small branch may be switched off with the file's decode_small: false.
    assert parse_assignments(["model.d_small=false"]) == {"model.d_small": False}


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60) | st.text("ab:-[]{}&*<!'\"|># \n\t,?%@`1e.", max_size=60))
def test_any_text_is_read_or_refused(text):
    for read in (parse, parse_value):
        try:
            read(text, "x")
        except UserError as error:
            assert "x" in str(error)
