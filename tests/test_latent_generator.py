"""Style mixing in the generator, and a trained generator in three lines of Python."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from latent_checkpoints import alive, model, published, tiny_checkpoint
from PIL import Image

import fastgan_ray
from fastgan_ray.errors import UserError
from fastgan_ray.latent.mix import mix_grid, require_mixing
from fastgan_ray.latent.sample import latents
from fastgan_ray.latent.sample import sample as draw
from fastgan_ray.models import build_generator


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("trained"))


def built(**section):
    return alive(build_generator(model(**section))).eval().requires_grad_(False)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_mixing_with_itself_is_the_plain_picture(resolution):
    generator = built(resolution=resolution)
    z = latents([1, 2], 8)
    for mixed, plain in zip(generator.mix(z, z), generator(z), strict=True):
        assert torch.equal(mixed, plain)


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_the_style_only_gates(resolution):
    generator = built(resolution=resolution, spectral_norm=False)
    content, style = latents([1], 8), latents([2], 8)
    mixed = generator.mix(content, style)[0]
    assert not torch.equal(mixed, generator(content)[0])
    assert not torch.equal(mixed, generator(style)[0])
    for skip in generator.skips.values():  # gates that are all one half know no latent
        torch.nn.init.zeros_(skip.excite.weight)
    assert torch.equal(generator.mix(content, style)[0], generator(content)[0])


def test_above_64_px_the_gate_to_64_stays_the_contents():
    generator = built(resolution=128, spectral_norm=False)
    torch.nn.init.zeros_(generator.skips["128"].excite.weight)
    content, style = latents([1], 8), latents([2], 8)
    assert torch.equal(generator.mix(content, style)[0], generator(content)[0])


def test_a_mixing_grid_has_the_sources_at_its_edges():
    generator = built(resolution=64)
    tiles = mix_grid(generator, 8, [0, 1], [5, 6, 7])
    assert tiles.shape == (12, 3, 64, 64)
    assert (tiles[0] == 1).all()
    torch.testing.assert_close(tiles[1:4], draw(generator, 8, [5, 6, 7]))
    torch.testing.assert_close(tiles[[4, 8]], draw(generator, 8, [0, 1]))
    mixed = generator.mix(latents([1], 8), latents([6], 8))[0].clamp(-1, 1)
    torch.testing.assert_close(tiles[10], mixed[0])


def test_without_skips_nothing_can_be_mixed():
    dcgan = build_generator(model(architecture="dcgan", dcgan_width=4, dcgan_depth=3))
    with pytest.raises(UserError, match="dcgan"):
        require_mixing(dcgan)
    with pytest.raises(UserError, match="g_sle_4"):
        require_mixing(build_generator(model(g_sle_4=False)))


def test_three_lines_of_python(checkpoint, tmp_path):
    generator = fastgan_ray.Generator.load(checkpoint, device="cpu")
    pictures = generator.sample(seeds=range(8), truncation=0.7)
    generator.grid(tmp_path / "grid.png", seeds=range(8), truncation=0.7)
    assert pictures.shape == (8, 32, 32, 3) and pictures.dtype == np.uint8
    with Image.open(tmp_path / "grid.png") as grid:
        assert np.array_equal(np.asarray(grid)[:32, :32], pictures[0])


def test_pictures_of_latents_and_files_agree_with_seeds(checkpoint, tmp_path):
    generator = fastgan_ray.Generator.load(str(checkpoint), device="cpu")
    pictures = generator.sample([3, 9])
    assert np.array_equal(generator.draw(generator.latents([3, 9])), pictures)
    paths = generator.save(tmp_path / "new", seeds=[3, 9])
    assert [path.name for path in paths] == ["seed000003.png", "seed000009.png"]
    with Image.open(paths[1]) as picture:
        assert np.array_equal(np.asarray(picture), pictures[1])
    for wrong in (np.zeros((2, generator.nz + 1)), np.zeros(generator.nz), np.zeros((0, 8))):
        with pytest.raises(ValueError, match="latents must have shape"):
            generator.draw(wrong)


def test_a_run_folder_and_a_published_file_load_too(checkpoint, tmp_path):
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    (run / "best" / "checkpoint").symlink_to(checkpoint.resolve())
    first = fastgan_ray.Generator.load(checkpoint, "cpu").sample([0])
    for path in (run, run / "best"):
        assert np.array_equal(fastgan_ray.Generator.load(path, "cpu").sample([0]), first)
    file = published(tmp_path / "all_1000.pth")
    assert fastgan_ray.Generator.load(file, "cpu").sample([0]).shape == (1, 256, 256, 3)
    with pytest.raises(UserError, match="no such file or folder"):
        fastgan_ray.Generator.load(tmp_path / "nowhere")


def test_importing_the_package_imports_no_torch():
    code = "import fastgan_ray, sys; dir(fastgan_ray); print({'torch', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert all(hasattr(fastgan_ray, name) for name in fastgan_ray.__all__)
    assert {*fastgan_ray.__all__} == {*fastgan_ray._MODULES, "__version__"}
    with pytest.raises(AttributeError, match="no attribute 'Generators'"):
        _ = fastgan_ray.Generators
