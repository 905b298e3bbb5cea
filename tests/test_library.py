import json
from pathlib import Path

import build_sets
import design
import picture_sets
import pytest
import record

from fastgan_ray.search.space import same

RECORDED = [record.FOLDER / f"{name}.jsonl" for name in design.SETS]


def test_every_training_of_the_design_is_a_valid_run():
    every = design.trainings()
    assert len(set(every)) == len(every)
    for training in every:
        config = design.config(training, "matcaps")
        assert config.train.seed == training.seed
        assert config.model.resolution == design.SCALES[training.scale].resolution


def test_conditional_parameters_are_set_exactly_where_they_mean_something():
    space = design.search("32px").space
    numbers = {training.number for training in design.trainings()}
    for number in numbers:
        point = design.point("32px", number)
        assert set(point) == {one.name for one in space if one.active(point)}
        for parameter in space:
            value = point.get(parameter.name)
            if value is not None and not parameter.values:
                assert parameter.low <= value <= parameter.high
            elif value is not None:
                assert any(same(value, own) for own in parameter.values)


def test_the_first_point_is_the_published_default_but_for_size():
    point = design.point("32px", 0)
    assert (point["train.lr_g"], point["train.batch_size"], point["train.beta1"]) == (2e-4, 8, 0.5)
    assert (point["train.loss"], point["augment.policy"]) == ("hinge", "color,translation")


def test_each_set_has_one_role_and_one_digest():
    assigned = [name for names in design.roles().values() for name in names]
    assert sorted(assigned) == sorted(design.SETS)
    assert len(design.roles()["once"]) == 2
    assert set(build_sets.known_digests()) == set(design.SETS)
    assert set(design.SETS) == {*build_sets.EMBEDDED, *picture_sets.SETS}


def test_any_beginning_of_the_order_has_sets_alike_and_second_seeds():
    for turns, sets in (8, design.SETS[: design.AHEAD]), (60, design.SETS):
        first = design.trainings()[: turns * len(sets)]
        counts = [sum(one.set == name for one in first) for name in sets]
        assert sum(counts) == len(first)
        assert max(counts) - min(counts) <= 2 * design.TURNS_AHEAD
        assert sum(one.seed > 0 for one in first) >= len(first) / 8


def test_recording_goes_on_where_it_was_even_after_an_unfinished_line(tmp_path):
    every = design.trainings()
    for training in every[:3]:
        record.append(tmp_path, {**training._asdict(), "rows": {}})
    broken = tmp_path / f"{every[0].set}.jsonl"
    broken.write_text(broken.read_text() + '{"set":"matcaps","scale":"32')
    assert list(record.missing(tmp_path, 0, 1)) == every[3:]
    again = next(one for one in every[3:] if one.set == every[0].set)
    record.append(tmp_path, {**again._asdict(), "rows": {}})
    shares = [list(record.missing(tmp_path, share, 2)) for share in (0, 1)]
    assert len(shares[0]) + len(shares[1]) == len(every) - 4
    assert not set(shares[0]) & set(shares[1])


def test_a_set_without_its_pictures_is_refused_with_the_command_that_builds_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("FASTGAN_RAY_CACHE", str(tmp_path))
    with pytest.raises(build_sets.UserError, match=r"run build_sets\.py food"):
        build_sets.data_path("food")


@pytest.mark.parametrize("path", [path for path in RECORDED if path.exists()], ids=lambda p: p.stem)
def test_recorded_lines_are_of_the_design(path: Path):
    every, digests = set(design.trainings()), build_sets.known_digests()
    seen = set()
    for line in map(json.loads, path.read_text().splitlines()):
        training = design.Training(*(line[key] for key in design.Training._fields))
        assert training in every
        assert training not in seen
        seen.add(training)
        assert line["digest"] == digests[training.set]
        assert line["point"] == design.point(training.scale, training.number)
        rows = line["rows"]
        assert line["outcome"] == "finished" or line["outcome"].startswith("diverged")
        assert len({len(values) for values in rows.values()}) <= 1
