"""What the arms of one seed share: pictures in their order, and latents that are measured."""

from __future__ import annotations

import pytest
import tiny
import torch

from fastgan_ray.data.sampler import Sampler
from fastgan_ray.models.generator import Generator
from fastgan_ray.search.ablation import Cell, cell_config
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.train.loop import train

TEXT = """
metric: {name: fid}
baseline: {model.ngf: 4}
seeds: 2
arms:
  other losses: {model.ngf: 4, train: {loss: logistic, r1_gamma: 1.0, r1_interval: 2, lr_g: 0.001}}
  other networks: {model: {g_sle_4: false, d_sle: false, g_noise: false, ngf: 2}}
  other augmentation: {model.ngf: 4, augment.policy: ""}
"""


class Nobody:
    """Takes reports and says nothing."""

    def __init__(self, folder):
        self.folder = folder

    def report(self, metrics, checkpoint):
        pass

    def progress(self, kimg, seconds):
        pass

    def stopping(self):
        return False


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A function that trains a cell: the batches it saw, and the latents first measured."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    tiny.write_pictures(pictures, 6)
    # Overrides win over arms, which vary this one.
    given = {key: value for key, value in tiny.SETTINGS.items() if key != "model.ngf"}
    spec = ablation_from_text(TEXT, "x.yaml", {**given, "data.path": str(pictures)})
    batches, latents = [], []
    draw, generate = Sampler.next, Generator.forward

    def noted_draw(self):
        batches.append(draw(self))
        return batches[-1]

    def noted_generate(self, z_BZ, *rest, **more):
        if not self.training and not z_BZ.is_meta:  # there its operations are only counted
            latents.append(z_BZ.clone())
        return generate(self, z_BZ, *rest, **more)

    monkeypatch.setattr(Sampler, "next", noted_draw)
    monkeypatch.setattr(Generator, "forward", noted_generate)

    def run(arm: str, seed: int):
        batches.clear()
        latents.clear()
        folder = tmp_path / f"{arm} {seed}"
        folder.mkdir()
        train(cell_config(spec, Cell(arm, spec.data[0], seed)), Nobody(folder))
        indices, flips = (torch.cat(parts) for parts in zip(*batches, strict=True))
        return indices, flips, latents[0]  # later ones may be chosen by what came out

    return run


def test_arms_of_a_seed_see_the_same_pictures_and_are_measured_on_the_same_latents(shown):
    base = shown("baseline", 0)
    assert len(base[0]) == 16 and len(base[2]) == tiny.SETTINGS["eval.num_fakes"]
    for arm in ("other losses", "other networks", "other augmentation"):
        own = shown(arm, 0)
        assert all(torch.equal(a, b) for a, b in zip(base, own, strict=True)), arm


def test_seeds_differ_in_pictures_but_not_in_the_measured_latents(shown):
    one, other = shown("baseline", 0), shown("baseline", 1)
    assert not torch.equal(one[0], other[0])
    assert torch.equal(one[2], other[2])
