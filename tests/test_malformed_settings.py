"""Thousands of wrong configurations: each is read, or refused in a sentence; none hangs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from malformed import ACCIDENTS, damaged, examples, refused

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config, holds_run_config, load_run_config
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.read_ablation import holds_ablation, load_ablation

pytestmark = pytest.mark.timeout(240)  # what hangs

SEARCH = """
name: s
method: {method}
{sampler}
metric: {{name: fd_efficientnet_lite0, goal: minimize, target: 3}}
run_cap: 8
seed: 1
early_terminate: {{type: hyperband, min_iter: 2, eta: 3}}
base: {{eval: {{extractor: efficientnet_lite0, every_kimg: 1}}, train: {{total_kimg: 8}}}}
parameters:
  model.ngf: {{values: [8, 16, 32]}}
  train.loss: {{values: [hinge, logistic]}}
  train.lr_g: {{{lr}}}
  train.r1_gamma: {{value: 1.0, when: {{train.loss: logistic}}}}
"""
DOCUMENTS = {
    "run": dump_run_config(RunConfig()),
    "bayes": SEARCH.format(
        method="bayes",
        sampler="sampler: tpe",
        lr="distribution: log_uniform_values, min: 1e-5, max: 1e-2",
    ),
    "grid": SEARCH.format(method="grid", sampler="", lr="values: [1e-4, 1e-3]"),
    "ablation": """
name: a
metric: {name: fd_efficientnet_lite0}
base: {eval: {extractor: efficientnet_lite0}, train: {total_kimg: 8}}
baseline: plain
seeds: [0, 1, 2]
data: [fluent-heads, matcaps]
arms:
  plain: {}
  narrow: {model.ngf: 16}
  no noise: {model: {g_noise: false}}
""",
}
LOADERS = {
    "run": load_run_config,
    "bayes": load_search,
    "grid": load_search,
    "ablation": load_ablation,
}
DISTINCTIONS = {
    "run": holds_run_config,
    "bayes": holds_run_config,
    "grid": holds_ablation,
    "ablation": holds_ablation,
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["1e-4", "hinge", "model.ngf", "-1", "~", "random", "0x1F", "\ud7ff", "a: b"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=6,
)


def places(tree: Any, path: tuple = ()) -> list[tuple]:
    """The path of every value in a document."""
    found = [path]
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found += places(value, (*path, key))
    return found


def changed(tree: Any, path: tuple, change: str, value: Any) -> Any:
    """The document with one value replaced, removed, or moved to another key."""
    if not path:
        return value
    place = tree
    for key in path[:-1]:
        place = place[key]
    if change == "replace":
        place[path[-1]] = value
    else:
        kept = place.pop(path[-1])
        if change == "rename" and isinstance(place, dict):
            place[value if isinstance(value, str) else str(value)] = kept
    return tree


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_with_wrong_values(tmp_path, kind):
    path = tmp_path / f"{kind}.yaml"
    path.write_text(DOCUMENTS[kind])
    assert not refused(LOADERS[kind], path)
    count = []

    @examples(150)
    @given(data=st.data())
    def run(data):
        tree = yaml.safe_load(DOCUMENTS[kind])
        for _ in range(data.draw(st.integers(1, 2))):
            if isinstance(tree, dict | list):
                place = data.draw(st.sampled_from(places(tree)))
                change = data.draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
                tree = changed(tree, place, change, data.draw(VALUES))
        path.write_text(yaml.safe_dump(tree, allow_unicode=True))
        count.append(refused(LOADERS[kind], path))

    run()
    assert sum(count) > 80, "few were malformed"


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_documents_with_wrong_characters(tmp_path, kind):
    path, text = tmp_path / f"{kind}.yaml", DOCUMENTS[kind].encode()
    count = []

    @examples(300)
    @given(rng=ACCIDENTS)
    def run(rng):
        path.write_bytes(damaged(rng, text))
        count.append(refused(LOADERS[kind], path))
        refused(DISTINCTIONS[kind], path)

    run()
    assert sum(count) > 80, "few were malformed"
