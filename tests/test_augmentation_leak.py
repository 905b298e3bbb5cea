"""Leak detection on real data: no warning for real pictures, one for augmented pictures."""

import pytest
import tiny
import torch

from fastgan_ray.augment import pipeline
from fastgan_ray.augment.augmentation_leak import (
    OPS_SYMPTOMS,
    SYMPTOMS,
    Finding,
    indicates_leak,
    leak_metrics,
    leak_warnings,
    measure_symptoms,
    shrink,
)
from fastgan_ray.config.augment import TRAINING_OPS, AugmentConfig
from fastgan_ray.config.data import DataConfig
from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.cached_array import load_images
from fastgan_ray.data.source import open_source
from fastgan_ray.metrics.extractors import load_extractor
from fastgan_ray.metrics.manifold import precision_recall_density_coverage
from fastgan_ray.metrics.names import NEIGHBOURS
from fastgan_ray.train import evaluation
from fastgan_ray.train.diagnostics import (
    SAMPLE_COUNT,
    can_show_leaks,
    collect_samples,
    diagnose,
    real_sample,
)
from fastgan_ray.train.loop import train

ALL = AugmentConfig(policy=",".join(pipeline.OPS))
SETS = ("fluent-heads", "matcaps")


@pytest.fixture(scope="module")
def sets():
    """Each embedded set at 32 px, as the trainer samples it."""
    result = {}
    for name in SETS:
        config = DataConfig(path=name)
        images = load_images(open_source(config, 0), config, (32, 32))
        result[name] = real_sample(images, config.flip)
    return result


def leaked_ops(findings: list[Finding]) -> set[str]:
    return {finding.op for finding in findings if indicates_leak(finding)}


def augmented(images: torch.Tensor, policy: str, seed: int = 5, p: float = 0.85) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    config = AugmentConfig(policy=policy)
    return pipeline.apply(images, pipeline.gate(pipeline.draw(config, len(images), rng), p))


@pytest.mark.parametrize("name", SETS)
def test_real_pictures_against_real_ones_give_no_warning(sets, name):
    real, count = sets[name], 0
    for seed in range(12):
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        first, second = real[order].chunk(2)
        count += bool(leak_warnings(measure_symptoms(first, second, ALL, 0.85), ALL))
    assert count == 0


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("op", ["color", "translation", "cutout", "bgc"])
def test_augmented_pictures_give_the_warning_of_their_operation(sets, name, op):
    config = AugmentConfig(policy=op)
    (sentence,) = leak_warnings(
        measure_symptoms(sets[name], augmented(sets[name], op), config, 0.4), config
    )
    assert sentence.startswith(f"{op} has probably leaked into the generated pictures: in ")


def test_a_rotation_that_can_be_seen_gives_the_warning_of_keras(sets):
    heads = sets["fluent-heads"]
    assert leaked_ops(
        measure_symptoms(heads, augmented(heads, "keras"), AugmentConfig(policy="keras"), 0.85)
    )


@pytest.mark.parametrize("op", ["color", "translation"])
def test_an_operation_that_is_off_is_not_blamed(sets, op):
    """A leak of another operation than the policy's has other symptoms."""
    heads = sets["fluent-heads"]
    other = {"color": "translation", "translation": "color"}[op]
    assert not leaked_ops(
        measure_symptoms(heads, augmented(heads, other), AugmentConfig(policy=op), 0.85)
    )


@pytest.mark.parametrize("grey", [0.0, 0.7])
def test_an_untrained_generators_pictures_are_no_leak(sets, grey):
    for real in sets.values():
        flat = torch.full((64, 3, 32, 32), grey)
        noise = 0.02 * torch.randn(flat.shape, generator=torch.Generator().manual_seed(0))
        assert not leaked_ops(measure_symptoms(real, flat + noise, ALL, 0.85))


def test_a_generator_that_makes_one_picture_only_is_no_leak(sets):
    for real in sets.values():
        assert not leaked_ops(measure_symptoms(real, real[:1].expand(64, -1, -1, -1), ALL, 0.85))


def test_what_was_never_applied_cannot_leak(sets):
    heads = sets["fluent-heads"]
    turned = augmented(heads, "bgc")
    for config, p, blamed in [
        (AugmentConfig(policy="bgc"), 0.0, False),
        (AugmentConfig(policy="bgc"), 0.01, True),  # may have been more
        (AugmentConfig(policy="bgc", ada="none", ada_p=0.85), 0.85, True),
    ]:
        assert bool(leaked_ops(measure_symptoms(heads, turned, config, p))) is blamed
    coloured = augmented(heads, "color")
    assert not leaked_ops(
        measure_symptoms(heads, coloured, AugmentConfig(policy="color", probability=0), 0.0)
    )


def test_the_same_pictures_give_the_same_finite_findings(sets):
    heads = sets["fluent-heads"]
    first, second = (measure_symptoms(heads, augmented(heads, "bgc"), ALL, 0.5) for _ in range(2))
    assert first == second
    assert all(torch.tensor(finding[2:]).isfinite().all() for finding in first)
    assert leak_metrics(first).keys() == {f"leak/{symptom}" for symptom in SYMPTOMS}
    assert leak_metrics(measure_symptoms(heads, heads, ALL, 0.5)) == dict.fromkeys(
        leak_metrics(first), 0.0
    )


def test_every_operation_has_symptoms():
    assert OPS_SYMPTOMS.keys() == pipeline.OPS.keys() - set(TRAINING_OPS)
    assert {symptom for symptoms in OPS_SYMPTOMS.values() for symptom in symptoms} == set(SYMPTOMS)


@pytest.mark.parametrize(
    ("op", "changes", "settings"),
    [
        ("bgc", {}, "augment.ada_max_p"),
        ("keras", {"ada": "none"}, "augment.ada_p"),
        ("cutout", {}, "augment.cutout or augment.probability"),
        (
            "color",
            {},
            "augment.brightness or augment.saturation or augment.contrast or augment.probability",
        ),
    ],
)
def test_a_warning_names_the_operation_what_shows_it_and_what_to_lower(op, changes, settings):
    config = AugmentConfig(policy=op, **changes)
    findings = [Finding(op, symptom, 0.9, 1.0, 0.1) for symptom in OPS_SYMPTOMS[op]]
    (sentence,) = leak_warnings(findings, config)
    signs = " and ".join(SYMPTOMS[symptom].name for symptom in OPS_SYMPTOMS[op])
    assert sentence == (
        f"{op} has probably leaked into the generated pictures: in {signs}, they look like "
        f"augmented pictures, not like real ones. Lower {settings}."
    )
    RunConfig.model_validate(dict.fromkeys(settings.split(" or "), 0.5))


@pytest.mark.parametrize(
    ("symptom", "fake", "augmented", "error", "leaked"),
    [
        ("luma", 0.9, 1.0, 0.1, True),
        ("luma", 0.4, 1.0, 0.05, False),  # less than half of what augmentation does
        ("border", 2.5, 10.0, 0.1, True),  # a generator paints grey roughly
        ("border", 1.5, 10.0, 0.1, False),
        ("luma", 2.5, 1.0, 0.1, False),  # far more: something else
        ("luma", 0.9, 1.0, 0.3, False),  # chance
        ("luma", 0.0, 0.0, 0.0, False),
        ("luma", -0.9, 1.0, 0.1, False),
        ("luma", 0.5, 0.0, 0.1, False),  # augmentation does nothing of the kind
    ],
)
def test_what_indicates_a_leak(symptom, fake, augmented, error, leaked):
    finding = Finding("color", symptom, fake, augmented, error)
    assert indicates_leak(finding) is leaked


def test_too_few_pictures_are_refused():
    one, two = torch.zeros(1, 3, 32, 32), torch.zeros(2, 3, 32, 32)
    with pytest.raises(ValueError, match=r"2 real and 2 generated pictures \(got 1 and 2\)"):
        measure_symptoms(one, two, ALL, 0.5)


def test_pictures_are_shrunk_to_64_px_and_into_range():
    images = 3 * torch.ones(2, 3, 128, 128, dtype=torch.bfloat16)
    assert torch.equal(shrink(images), torch.ones(2, 3, 64, 64))
    assert shrink(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)


def test_the_first_pictures_of_an_evaluation_are_collected():
    samples: list[torch.Tensor] = []
    sample = collect_samples(lambda z: z[:, :, None, None].expand(-1, 3, 32, 32), samples)
    for start in range(0, 2 * SAMPLE_COUNT, 96):
        values = torch.arange(start, start + 96.0)[:, None].expand(-1, 3) / 1000
        assert len(sample(values)) == 96
    together = torch.cat(samples)
    assert len(together) == SAMPLE_COUNT
    torch.testing.assert_close(together[:, 0, 0, 0], torch.arange(float(SAMPLE_COUNT)) / 1000)


def test_the_report_holds_a_warning_only_if_there_is_one(sets):
    heads, config = sets["fluent-heads"], AugmentConfig(policy="bgc")
    quiet = diagnose(heads, [heads[:100], heads[100:]], config, 0.5, {})
    assert quiet["augment/p"] == 0.5
    assert "warning" not in quiet and "leak/luma" in quiet
    leaked = [augmented(heads, "bgc")]
    for name in ("recall_k5", "early/recall_k5"):
        loud = diagnose(heads, leaked, config, 0.5, {name: 0.6})
        assert "bgc has probably leaked" in loud["warning"]
    # A generator that does not resemble the real pictures yet: nobody can know.
    for values in ({}, {"recall_k5": 0.01}, {"early/recall_k5": 0.01}):
        unsure = diagnose(heads, leaked, config, 0.5, values)
        assert "warning" not in unsure and unsure["leak/luma"] == loud["leak/luma"]
    assert diagnose(heads, [heads], AugmentConfig(policy=""), 0.5, {}) == {}


def test_a_run_whose_generator_makes_augmented_pictures_is_warned(tmp_path, monkeypatch):
    (tmp_path / "pictures").mkdir()
    settings = {
        "data.path": str(tiny.write_pictures(tmp_path / "pictures", 12)),
        "train.total_kimg": 0.004,
        "eval.num_fakes": 12,
        "augment.policy": "translation,color",
    }
    config = tiny.config(**settings)
    images = load_images(open_source(config.data, 0), config.data, (32, 32))
    shifted = augmented(real_sample(images, 0.5), "translation")
    monkeypatch.setattr(
        evaluation,
        "collect_samples",
        lambda sample, samples: collect_samples(lambda z: shifted, samples),
    )

    recorder = tiny.Recorder(tmp_path)
    train(config, recorder)
    row = recorder.rows[-1]
    leaked = "translation has probably leaked into the generated pictures: in grey borders"
    assert row["warning"].startswith(leaked)
    assert row["leak/border"] > 1


def test_a_hardly_trained_generator_is_not_accused_of_a_leak(tmp_path):
    (tmp_path / "pictures").mkdir()
    settings = {
        "data.path": str(tiny.write_pictures(tmp_path / "pictures", 12)),
        "eval.num_fakes": 12,
        "augment.policy": "color,translation,cutout",
    }
    recorder = tiny.Recorder(tmp_path)
    train(tiny.config(**settings), recorder)
    assert recorder.rows
    assert not [row for row in recorder.rows if "leaked" in row.get("warning", "")]


@pytest.mark.parametrize("name", SETS)
def test_pictures_that_are_all_augmented_have_enough_recall_to_show_it(sets, name):
    extractor = load_extractor("efficientnet_lite0", torch.device("cpu"))

    def features(images):
        return extractor(((images + 1) * 127.5).round().clamp(0, 255)).numpy()

    with torch.inference_mode():
        real, other = (features(part) for part in sets[name][:128].chunk(2))
        leaked = features(augmented(sets[name][64:128], "color,translation,cutout"))
    for fakes in (other, leaked):
        values = precision_recall_density_coverage(real, fakes, NEIGHBOURS)
        assert can_show_leaks({"recall_k5": values["recall"]})
    assert not can_show_leaks({"recall_k5": 0.0})


@pytest.mark.parametrize("name", ["memorised", "early/memorised"])
def test_copies_of_training_pictures_are_warned_of(name):
    heads, off = torch.rand(8, 3, 16, 16) * 2 - 1, AugmentConfig(policy="")
    assert "warning" not in diagnose(heads, [heads], off, 0.0, {name: 0.3})
    report = diagnose(heads, [heads], off, 0.0, {name: 0.8})
    assert str(report["warning"]).startswith(
        "80% of the generated pictures are probably copies: they are nearer"
    )
