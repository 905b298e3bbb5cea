"""Give advice on a set of pictures before a search: on the resolution and on the metric."""

from __future__ import annotations

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.counting import counted
from fastgan_ray.data.resolution import LARGE_ENOUGH, justified_resolution, share_unenlarged
from fastgan_ray.data.source import Source
from fastgan_ray.metrics.self_distance import known_self_distance


def advice(source: Source, config: RunConfig, resolution: int) -> list[str]:
    """Return two sentences: about the resolution, and about differences in the metric's value.

    `resolution` is the largest resolution that the search uses. The second sentence says which
    differences can be due to chance. It has numbers only if `fastgan-ray data` has already measured
    them, because the measurement takes seconds to minutes.
    """
    return [_sizes_sentence(source, config, resolution), _metric_sentence(source, config)]


def _sizes_sentence(source: Source, config: RunConfig, resolution: int) -> str:
    pictures, aspect = source.pictures, config.model.aspect
    low = justified_resolution(pictures, config.data, aspect)
    share = share_unenlarged(pictures, config.data, aspect, low)
    how_many = f"at least {LARGE_ENOUGH:.0%}" if share >= LARGE_ENOUGH else f"only {share:.0%}"
    lowest = "" if share >= LARGE_ENOUGH else ", the lowest resolution"
    return (
        f"sizes: {how_many} of the pictures need no enlargement at {low} px{lowest}. The largest "
        f"resolution in the search is {resolution} px"
    )


def _metric_sentence(source: Source, config: RunConfig) -> str:
    halves = known_self_distance(source, config.data)
    if halves is None:
        return (
            f"metric: `fastgan-ray data {config.data.path}` measures how small a difference the "
            f"metric can show with {counted(len(source), 'picture')}"
        )
    return (
        f"metric: differences below {2 * halves.fd_sd:.1f} in fd_efficientnet_lite0, or below "
        f"{2 * halves.kd_sd:.4f} in kd_efficientnet_lite0, can be due to chance. Between random "
        f"halves of the pictures ({halves.half} against {halves.half}), these metrics are "
        f"{halves.fd:.1f} ± {halves.fd_sd:.1f} and {halves.kd:.4f} ± {halves.kd_sd:.4f}"
    )
