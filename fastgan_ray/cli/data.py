"""The command `data`."""

from __future__ import annotations

from fastgan_ray.cli.options import AsJson
from fastgan_ray.cli.terminal import print_json, print_table


def data(as_json: AsJson = False) -> None:
    """List the data sets whose names can be used in place of a folder."""
    from fastgan_ray.data.catalog import catalog

    data_sets = catalog()
    if as_json:
        print_json(data_sets)
        return
    rows = [
        [
            entry["name"],
            str(entry["images"]),
            entry["description"],
            entry["licence"],
            "ready" if entry["available"] else "downloads on first use",
        ]
        for entry in data_sets
    ]
    print_table(["name", "pictures", "description", "licence", "status"], rows, right=[1])
