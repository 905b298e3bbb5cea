"""Names of metrics, and the protocol that they are measured under."""

from __future__ import annotations

import json

import pytest
from stand_in_extractor import configured, evaluation, stand_in

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.data.source import open_source
from fastgan_ray.metrics.names import early_name, metric_name
from fastgan_ray.metrics.protocol import protocol, protocol_differences

pytestmark = pytest.mark.usefixtures("empty_cache")


@pytest.mark.parametrize(
    ("extractor", "num_fakes", "name"),
    [
        ("inception", 5000, "fid5k_full"),
        ("inception", 50_000, "fid50k_full"),
        ("inception", 256, "fid256_full"),
        ("inception", 1500, "fid1500_full"),
        ("efficientnet_lite0", 5000, "fd_efficientnet_lite0"),
        ("efficientnet_lite0", 256, "fd_efficientnet_lite0"),
    ],
)
def test_a_metric_is_named_by_its_protocol(extractor, num_fakes, name):
    assert metric_name(evaluation(extractor=extractor, num_fakes=num_fakes)) == name


@pytest.mark.parametrize(
    ("full", "early"),
    [
        ("fid5k_full", "early/fid"),
        ("kid256_full", "early/kid"),
        ("fd_efficientnet_lite0", "early/fd_efficientnet_lite0"),
    ],
)
def test_names_of_cheap_evaluations_have_no_count(full, early):
    assert early_name(full) == early


def test_a_protocol_is_json_and_equal_for_equal_conditions(unequal_pictures):
    config = configured(unequal_pictures)
    source = open_source(config.data)
    result = protocol(config, stand_in(), source)
    assert json.loads(json.dumps(result)) == result
    assert result["reference_count"] == 6 and result["num_fakes"] == 50
    other = config.model_copy(
        update={"eval": evaluation(batch_size=3, every_kimg=1.0), "model": config.model}
    )
    assert protocol_differences(result, protocol(other, stand_in(), source)) == []


def test_differences_are_in_words(unequal_pictures):
    config = configured(unequal_pictures)
    source = open_source(config.data)
    a = protocol(config, stand_in(), source)
    changed = RunConfig.model_validate(
        {
            "data": {"path": str(unequal_pictures), "fit": "pad"},
            "eval": evaluation(num_fakes=51, seed=4).model_dump(),
        }
    )
    b = protocol(changed, stand_in(weights="1" * 64), source)
    assert protocol_differences(a, b) == [
        "feature network's weights: 0000000000000000 against 1111111111111111",
        "how pictures get the aspect ratio (data.fit): squash against pad",
        "number of generated pictures: 50 against 51",
        "seed of the latents: 0 against 4",
    ]
    (unequal_pictures / "0.png").unlink()
    fewer = protocol_differences(a, protocol(config, stand_in(), open_source(config.data)))
    assert [line.split(":")[0] for line in fewer] == [
        "reference pictures",
        "number of reference pictures",
    ]
    assert protocol_differences(a, {}) != [] and protocol_differences({}, {"kid": 1}) == [
        "kid: not stated against 1"
    ]
