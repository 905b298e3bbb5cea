"""The layout of the package: no two files import each other, not even by a chain of imports."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import grimp

# `python -m fastgan_ray.tune` and `.train` are the command line under another name.
OTHER_NAMES = {"fastgan_ray.tune.__main__", "fastgan_ray.train.__main__"}


def test_no_circle_of_imports_also_not_for_type_annotations():
    graph = grimp.build_graph("fastgan_ray", cache_dir=None)
    files = graph.modules - OTHER_NAMES
    imports = {file: graph.find_modules_directly_imported_by(file) & files for file in files}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        raise AssertionError(
            f"these files import each other: {' -> '.join(error.args[1])}"
        ) from None
