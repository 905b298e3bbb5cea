"""What may change when a training is resumed, field by field; streams on the device."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import pytest
import tiny
import torch
from safetensors.torch import load_file

from fastgan_ray.api.training import find_start
from fastgan_ray.config.run_config import RunConfig, field_names
from fastgan_ray.errors import UserError
from fastgan_ray.train import checkpoint
from fastgan_ray.train.loop import train
from fastgan_ray.train.resume import MAY_CHANGE, may_change, require_same_training
from fastgan_ray.train.rng import CPU_STREAMS, DEVICE_STREAMS, seed_device_streams, streams
from fastgan_ray.train.state import new_state

CPU = torch.device("cpu")
FOLDER = Path("checkpoint")


def other(annotation: Any, value: Any) -> Any:
    """A value of the same kind that differs."""
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if isinstance(annotation, UnionType):
        return None if value is not None else other(get_args(annotation)[0], value)
    if annotation is bool:
        return not value
    if annotation in (int, float):
        return annotation(1 if value is None else value + 1)
    return ["#000000", [3, 2, 1]][get_origin(annotation) is list]


def changed(name: str) -> RunConfig:
    """The default but for one field, whether the value is allowed or not."""
    default = RunConfig()
    section, field = name.split(".")
    part = getattr(default, section)
    annotation = type(part).model_fields[field].annotation
    value = other(annotation, getattr(part, field))
    return default.model_copy(update={section: part.model_copy(update={field: value})})


@pytest.mark.parametrize("name", field_names())
def test_each_field_must_stay_unless_the_list_says_otherwise(name: str) -> None:
    section, field = name.split(".")
    before, after = (getattr(getattr(c, section), field) for c in (RunConfig(), changed(name)))
    assert before != after
    if may_change(name):
        require_same_training(RunConfig(), changed(name), FOLDER)
        return
    with pytest.raises(UserError) as refusal:
        require_same_training(RunConfig(), changed(name), FOLDER)
    expected = f"{name} is {before!r} in the checkpoint and {after!r} now"
    assert expected in str(refusal.value) and "checkpoint: " in str(refusal.value)


def test_the_list_names_fields_and_sections_that_exist() -> None:
    sections = {f"{name.split('.')[0]}." for name in field_names()}
    assert set(MAY_CHANGE) <= {*field_names(), *sections}
    assert {name for name in field_names() if may_change(name)} == {
        name
        for name in field_names()
        if name.startswith(("eval.", "resources.")) and name != "eval.held_out"
    } | {
        "data.path",
        "data.boxes",
        "data.on_bad_image",
        "train.total_kimg",
        "train.log_every_kimg",
        "train.keep_best",
        "train.device",
        "train.cuda_graphs",
        "train.gradient_checkpointing",
    }


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, RunConfig]]:
    """The first half of a training, and its settings."""
    folder = tmp_path_factory.mktemp("half")
    (folder / "pictures").mkdir()
    pictures = tiny.write_pictures(folder / "pictures", 6)
    settings = tiny.config(**{"data.path": str(pictures), "train.total_kimg": 0.008})
    train(settings, tiny.Recorder(folder / "run"))
    yield folder / "run" / "checkpoint-000000008", settings


def test_a_checkpoint_whose_evaluation_was_not_recorded_does_not_count(
    half: tuple[Path, RunConfig], tmp_path: Path
) -> None:
    """A training was killed between both: it makes this evaluation again."""
    out = tmp_path / "out"
    for kimg in (0.008, 0.016):
        target = out / f"checkpoint-{round(1000 * kimg):09d}"
        shutil.copytree(half[0], target)
        metadata = json.loads((target / "metadata.json").read_text())
        (target / "metadata.json").write_text(json.dumps({**metadata, "kimg": kimg}))
    row = {"kimg": 0.008, "outcome": "running", "checkpoint": "checkpoint-000000008"}
    (out / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert find_start(out, True, False) == out / "checkpoint-000000008"
    (out / "metrics.jsonl").unlink()
    assert find_start(out, True, False) == out / "checkpoint-000000016"


def test_another_batch_size_is_refused_by_the_training(
    half: tuple[Path, RunConfig], tmp_path: Path
) -> None:
    path = str(half[1].data.path)
    settings = tiny.config(**{"data.path": path, "train.batch_size": 8})
    with pytest.raises(UserError, match=r"train.batch_size is 4 in the checkpoint and 8 now"):
        train(settings, tiny.Recorder(tmp_path / "rest"), half[0])


def test_as_many_other_pictures_are_refused(half: tuple[Path, RunConfig], tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    others = tiny.write_pictures(tmp_path / "others", 6, seed=1)
    settings = tiny.config(**{"data.path": str(others)})
    with pytest.raises(UserError, match="made with other pictures"):
        train(settings, tiny.Recorder(tmp_path / "rest"), half[0])


def test_the_same_pictures_elsewhere_and_another_length_are_not(
    half: tuple[Path, RunConfig], tmp_path: Path
) -> None:
    (tmp_path / "moved").mkdir()
    moved = tiny.write_pictures(tmp_path / "moved", 6)
    recorder = tiny.Recorder(tmp_path / "rest")
    train(tiny.config(**{"data.path": str(moved), "train.total_kimg": 0.012}), recorder, half[0])
    assert recorder.rows[-1]["kimg"] == 0.012


class OtherDevice:
    """A generator of another device: its state is of another size, as CUDA's is."""

    def __init__(self, rng: torch.Generator) -> None:
        self.rng = rng

    def manual_seed(self, seed: int) -> OtherDevice:
        self.rng.manual_seed(seed)
        return self

    def get_state(self) -> torch.Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state: torch.Tensor) -> None:
        if len(state) != 16:
            raise RuntimeError("RNG state is wrong size")


def test_a_checkpoint_of_one_device_is_resumed_on_another(tmp_path: Path) -> None:
    """Nothing in it is bound to a device: CUDA's generators have states of another size."""
    settings = tiny.config()
    for elsewhere in (True, False):
        first, second = (new_state(settings, 6, CPU) for _ in range(2))
        odd = first if elsewhere else second
        odd.rngs |= {name: OtherDevice(odd.rngs[name]) for name in DEVICE_STREAMS}  # type: ignore[misc]
        first.step = 3
        folder = checkpoint.save(tmp_path / f"c{elsewhere}", first, settings, {})
        checkpoint.restore(folder, second, settings)
        assert second.step == 3


def test_streams_on_the_device_are_functions_of_seed_name_and_step() -> None:
    def draw(seed: int, step: int, before: int = 0) -> dict[str, list[float]]:
        rngs = streams(seed, CPU)
        for name in DEVICE_STREAMS:
            torch.rand(before, generator=rngs[name])
        seed_device_streams(rngs, seed, step)
        return {name: torch.rand(4, generator=rngs[name]).tolist() for name in DEVICE_STREAMS}

    assert draw(0, 5) == draw(0, 5, before=7)
    drawn = [tuple(values) for s in (0, 1) for step in (0, 1) for values in draw(s, step).values()]
    assert len(set(drawn)) == 4 * len(DEVICE_STREAMS)


def test_a_checkpoint_holds_the_streams_of_the_cpu_alone(half: tuple[Path, RunConfig]) -> None:
    assert set(load_file(half[0] / "rngs.safetensors")) == set(CPU_STREAMS)


@pytest.mark.parametrize("kind", ["search", "ablation"])
def test_the_folder_of_a_search_is_no_training_to_resume(tmp_path, kind):
    (tmp_path / f"{kind}.yaml").write_text("name: t")
    with pytest.raises(UserError, match=f"is the folder of an? {kind}, which `.* --resume`"):
        find_start(tmp_path, True, False)
