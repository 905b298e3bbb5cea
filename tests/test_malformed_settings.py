"""Thousands of wrong configurations: each is read, or refused in a sentence; none hangs."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from malformed import ACCIDENTS, DOCUMENTS, VALUES, changed, damaged, examples, places, refused

from fastgan_ray.config.file_kinds import kind_of_file
from fastgan_ray.config.run_file import load_run_config
from fastgan_ray.search.file.read import load_search
from fastgan_ray.search.file.read_ablation import load_ablation

pytestmark = pytest.mark.timeout(240)  # what hangs

LOADERS = {
    "run": load_run_config,
    "bayes": load_search,
    "grid": load_search,
    "ablation": load_ablation,
}


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
        refused(kind_of_file, path)

    run()
    assert sum(count) > 80, "few were malformed"
