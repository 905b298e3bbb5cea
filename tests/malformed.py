"""Real files with accidents in them, by hypothesis: always the same ones."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.config.run_file import dump_run_config
from fastgan_ray.errors import UserError

# One draw decides all of a file's accidents: hypothesis would take longer than what it tests.
ACCIDENTS = st.integers(0, 2**64).map(random.Random)
NOISE = [b"\n", b": ", b"\t", b"'", b"{", b"- ", b"&a ", b"*a", b"\xff" * 4, bytes(4), b"9" * 5]

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


def examples(count: int) -> settings:
    """So many, always the same; the clock of a busy machine decides nothing."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def refused(read: Any, *arguments: Any) -> bool:
    """Whether it is refused; anything but a UserError with a text is a failure of the test."""
    try:
        read(*arguments)
    except UserError as error:
        assert str(error).strip()
        return True
    return False


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Real bytes with up to three accidents."""
    for _ in range(rng.randint(1, 3)):
        start, length = rng.randrange(len(content) + 1), rng.randint(1, 12)
        noise = rng.choice(NOISE) if rng.random() < 0.5 else rng.randbytes(length)
        before, after = content[:start], content[start:]
        content = {
            "overwrite": before + noise + after[len(noise) :],
            "insert": before + noise + after,
            "remove": before + after[length:],
            "repeat": before + after[:length] * 3 + after,
            "cut": before,
        }[rng.choice(["overwrite", "overwrite", "insert", "remove", "repeat", "cut"])]
    return content


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
