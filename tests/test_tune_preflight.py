"""What is found out before the first trial."""

from __future__ import annotations

import io

import pytest
import tiny
from rich.console import Console

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.described import read_described
from fastgan_ray.errors import UserError
from fastgan_ray.tune.preflight import absolute_paths, check_inputs, keep_protocol


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tiny.write_pictures(tmp_path / "pictures", 5)


def config(pictures, **more):
    settings = {**tiny.SETTINGS, "data.path": str(pictures), **more}
    return RunConfig.model_validate(settings)


def check(configs, folder, here=False):
    text = io.StringIO()
    check_inputs(configs, configs, folder, here, Console(file=text, width=200))
    return text.getvalue()


def test_each_data_set_is_told_and_its_protocol_kept_once(pictures, tmp_path):
    arms = [config(pictures), config(pictures, **{"model.ngf": 2})]
    assert check(arms, tmp_path, here=True).count("5 pictures in") == 1
    assert (tmp_path / "protocol.json").is_file()
    both = [*arms, config("fluent-heads")]
    lines = check(both, tmp_path).splitlines()
    told = [line for line in lines if " pictures in " in line]
    assert told == [f"5 pictures in {pictures}", "198 pictures in fluent-heads"]
    assert [data["path"] for data in read_described(tmp_path)] == [str(pictures), "fluent-heads"]


def test_pictures_that_changed_are_found_when_it_is_resumed(pictures, tmp_path):
    check([config(pictures)], tmp_path, here=True)
    check([config(pictures)], tmp_path, here=True)
    tiny.write_pictures(pictures, 6)
    with pytest.raises(UserError, match=r"(?s)reference pictures: .* with --name"):
        check([config(pictures)], tmp_path, here=True)
    with pytest.raises(UserError, match="this run cannot be compared with the trials so far"):
        keep_protocol(tmp_path / "protocol.json", {})


def test_limits_that_do_not_limit_are_refused_where_they_are_compared(pictures, tmp_path):
    some, all_of_them = (config(pictures, **{"data.limit": limit}) for limit in (3, 9))
    check([all_of_them], tmp_path)
    check([config(pictures), some], tmp_path)
    with pytest.raises(UserError, match="has 5 pictures, so a limit of 9 has no effect"):
        check([config(pictures), some, all_of_them], tmp_path)


def test_a_path_is_made_good_in_any_folder(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    assert absolute_paths(config("pictures")).data.path == str(pictures)
    assert absolute_paths(config("fluent-heads")).data.path == "fluent-heads"
