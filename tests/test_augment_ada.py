"""The controllers of p against sequences worked out by hand; p through a resumed training."""

import math
from itertools import pairwise

import pytest
import tiny
import torch
from safetensors.torch import load_file

from fastgan_ray.augment import ada
from fastgan_ray.augment.ada import ada_state, adaptive, update
from fastgan_ray.config.augment import AugmentConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.train import checkpoint
from fastgan_ray.train.loop import train
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")


def config(**changes) -> AugmentConfig:
    return AugmentConfig(**{"policy": "bgc", "ada_kimg": 0.1, "ada_interval": 2, **changes})


def follow(settings: AugmentConfig, signs: list[float], batch_size: int = 4) -> list[float]:
    state, path = ada_state(settings.ada_p, CPU), []
    for sign in signs:
        sign = torch.tensor(sign, dtype=torch.float64)
        state = update(state, sign, batch_size, settings)
        path.append(float(state.p))
    return path


def test_stylegan2_steps_by_a_fixed_amount_once_an_interval():
    # 2 steps of 4 images of 100: steps of 0.08, by the sign of the interval's mean minus 0.6.
    signs = [1.0, 0.5, 0.7, 0.6, 0.0, 1.0, 0.6, 0.6, -1.0, 1.0]
    path = follow(config(ada_p=0.2), signs)  # means .75, .65, .5, .6 (no move) and 0
    expected = [0.2, 0.28, 0.28, 0.36, 0.36, 0.28, 0.28, 0.28, 0.28, 0.2]
    assert path == pytest.approx(expected, abs=1e-12)


def test_published_settings_move_p_by_one_in_500_kimg():
    settings = AugmentConfig(policy="bgc", ada_max_p=1.0)
    steps = 500_000 // 64
    path = follow(settings, [1.0] * (steps // 4 * 4), 64)
    assert math.isclose(path[-1], steps // 4 * 4 * 64 / 500_000, rel_tol=1e-9)
    assert path[3] == 64 * 4 / 500_000


def test_stylegan2_stays_between_zero_and_its_bound():
    settings = config(ada_max_p=0.3, ada_interval=1)
    path = follow(settings, [1.0] * 20 + [-1.0] * 20)
    assert max(path) == 0.3 and path[19] == 0.3
    assert min(path) == 0.0 and path[-1] == 0.0


def test_keras_follows_the_accuracy_in_proportion():
    settings = config(ada="keras", ada_p=0.5)
    path = follow(settings, [1.0, 0.0, 0.7, -1.0])  # accuracies 1, .5, .85, 0
    expected = [0.50015, 0.4998, 0.4998, 0.49895]
    assert path == pytest.approx(expected, abs=1e-12)


def test_the_steps_of_keras_are_a_field():
    settings = config(ada="keras", ada_p=0.5, ada_steps=10)
    assert follow(settings, [1.0, 0.0]) == pytest.approx([0.515, 0.48], abs=1e-12)


def test_keras_stays_between_zero_and_its_bound():
    settings = config(ada="keras", ada_max_p=0.001)
    path = follow(settings, [1.0] * 20 + [-1.0] * 20)
    assert max(path) == 0.001 and path[-1] == 0.0


@pytest.mark.parametrize(("kind", "neutral"), [("stylegan2", 0.2), ("keras", -0.6)])
def test_the_target_is_a_field(kind, neutral):
    settings = config(ada=kind, ada_target=0.2, ada_p=0.5, ada_interval=1)  # as mean, as accuracy
    assert follow(settings, [neutral]) == pytest.approx([0.5], abs=1e-12)
    assert follow(settings, [neutral + 0.1])[0] > 0.5 > follow(settings, [neutral - 0.1])[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"policy": "bgc"}, True),
        ({"policy": "color,keras", "ada": "keras"}, True),
        ({"policy": "color,translation,cutout"}, False),
        ({"policy": ""}, False),
        ({"policy": "bgc", "ada": "none"}, False),
    ],
)
def test_p_moves_only_with_a_controller_and_an_operation_to_control(changes, expected):
    settings = config(ada_p=0.4, **changes)
    assert adaptive(settings) is expected
    assert (follow(settings, [1.0] * 8)[-1] != 0.4) is expected


def test_every_controller_of_the_schema_is_in_the_table():
    choices = {"stylegan2", "keras"}
    assert set(ada.CONTROLLERS) == choices
    for name in [*choices, "none"]:
        AugmentConfig(ada=name)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tiny.write_pictures(tmp_path_factory.mktemp("pictures"), 6)


def settings(pictures, **changes) -> RunConfig:
    values = {
        "data.path": str(pictures),
        "augment.policy": "bgc,color",
        "augment.ada_p": 0.3,
        "augment.ada_kimg": 0.1,
        "augment.ada_interval": 3,
        **changes,
    }
    return tiny.config(**values)


@pytest.mark.parametrize(
    "changes", [{}, {"augment.policy": "keras", "augment.ada": "keras"}], ids=["bgc", "keras"]
)
def test_resuming_in_the_middle_of_an_interval_equals_never_having_stopped(
    pictures, tmp_path, changes
):
    whole, half, rest = (tiny.Recorder(tmp_path / name) for name in ("whole", "half", "rest"))
    train(settings(pictures, **changes), whole)
    train(settings(pictures, **changes, **{"train.total_kimg": 0.008}), half)
    middle = half.folder / "checkpoint-000000008"
    stored = checkpoint.read_metadata(middle)["ada"]
    if not changes:
        assert stored["count"] == 2  # of 3 steps
    train(settings(pictures, **changes), rest, middle)
    ends = [folder / "checkpoint-000000016" for folder in (whole.folder, rest.folder)]
    states = [checkpoint.read_metadata(end)["ada"] for end in ends]
    assert states[0] == states[1] != stored
    for path in sorted(ends[0].glob("*.safetensors")):
        first, second = load_file(path), load_file(ends[1] / path.name)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first), path.name
    assert whole.rows[-1]["augment/p"] == states[0]["p"] == rest.rows[-1]["augment/p"]


def test_p_is_reported_only_where_it_moves(pictures, tmp_path):
    recorder = tiny.Recorder(tmp_path / "run")
    train(settings(pictures, **{"augment.ada": "none"}), recorder)
    assert all("augment/p" not in row for row in recorder.rows)


def test_a_checkpoint_holds_p_to_the_last_digit(pictures, tmp_path):
    run = settings(pictures)
    state = new_state(run, 6, torch.device("cpu"))
    assert state.ada == ada_state(0.3, CPU)
    state.ada = ada_state(0.1 + 0.2, CPU, 1 / 3, 2)
    folder = checkpoint.save(tmp_path / "c", state, run, {})
    other = new_state(run, 6, torch.device("cpu"))
    checkpoint.restore(folder, other, run)
    assert other.ada == ada_state(0.30000000000000004, CPU, 1 / 3, 2)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("elsewhere", [-2.5, 0.3])
def test_signs_are_counted_from_where_d_is_undecided(loss, elsewhere):
    """There, with the same logit for both, no change of the logit makes D's loss smaller."""
    start = elsewhere if loss.boundary is None else loss.boundary
    logit = torch.full((4, 2), start, requires_grad=True)
    loss.discriminator(logit, logit, torch.ones(4, 2), torch.ones(4, 2)).backward()
    torch.testing.assert_close(logit.grad, torch.zeros(4, 2))


def test_p_rises_while_d_is_sure_of_the_real_pictures():
    path = follow(config(ada_interval=1), [0.9] * 5)
    assert all(later > earlier for earlier, later in pairwise(path))
