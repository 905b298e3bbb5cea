"""The command `data`: what it prints about pictures, and the table of named data sets."""

from __future__ import annotations

import webbrowser
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgan_ray.cli import options as opt
from fastgan_ray.cli.terminal import print_json, print_line, print_table, progress
from fastgan_ray.config.paths import require_writable
from fastgan_ray.errors import UserError

if TYPE_CHECKING:
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.data.catalog import Row

MISSING = "missing"  # the status of a data set that is neither in the cache nor can be downloaded


def data(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="Pictures: a folder, an archive, a .npy file, an LMDB, or the name of a data set.",
            show_default="list the data sets that have a name",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="HTML page to write.")] = Path("data.html"),
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Also write a suggested search file (YAML) to this path."),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    assignments: opt.Assignments = None,
    as_json: opt.AsJson = False,
) -> None:
    """Check your pictures before a search, or list the data sets that have a name.

    With FOLDER, the command prints which pictures can be used, and which problems they may have. It
    also prints the smallest difference that the metric can show with this number of pictures. It
    writes the same information to an HTML page (--out).
    """
    if folder is None:
        if write or assignments:
            raise UserError("--write and --set need FOLDER; give the path of your pictures")
        _list_sets(as_json)
        return
    from fastgan_ray.config.override import override
    from fastgan_ray.config.run_config import RunConfig
    from fastgan_ray.report.data.pictures import picture_facts
    from fastgan_ray.report.page.data_page import data_page
    from fastgan_ray.train.threads import cpu_threads

    if write and write.exists():
        raise UserError(f"--write: {write} already exists; choose another name")
    require_writable(out)
    if write:
        require_writable(write, "--write")
    config = override(RunConfig(), opt.overrides(folder, assignments, False))
    with cpu_threads(config.resources):
        facts, source = picture_facts(config.data, progress())
    if write and source is None:
        raise UserError(f"--write: {facts['remarks'][0]}")
    suggested, text = _suggestion(facts, config, assignments) if source else ([], "")
    now = datetime.now(timezone.utc)
    out.write_text(data_page(facts, source, suggested, text, now), encoding="utf-8")
    if write:
        write.write_text(text, encoding="utf-8")
    if as_json:
        print_json({**facts, "suggested": [choice._asdict() for choice in suggested]})
    else:
        _print_facts(facts)
        _print_ending(suggested, out, write)
    if show and not webbrowser.open(out.resolve().as_uri()):
        raise UserError(f"--open: no browser found; open {out} on a machine that has one")
    if source is None:
        raise typer.Exit(2)  # the page says why the pictures cannot be used


def _list_sets(as_json: bool) -> None:
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
            _status(entry),
        ]
        for entry in data_sets
    ]
    print_table(["name", "pictures", "description", "licence", "status"], rows, right=[1])
    if missing := [entry["put_at"] for entry in data_sets if _status(entry) == MISSING]:
        print_line(
            f"{MISSING}: the data set cannot be downloaded, because no address is known. Put a zip "
            "archive of its pictures, NAME.zip, into this folder:"
        )
        print_line(f"  {Path(str(missing[0])).parent}")


def _status(entry: Row) -> str:
    if entry["available"]:
        return "ready"
    return MISSING if entry["put_at"] else "downloads on first use"


def _suggestion(
    facts: Mapping[str, Any], config: RunConfig, assignments: Sequence[str] | None
) -> tuple[list[Any], str]:
    """Return the suggested settings and the file; the pictures in `facts` are those of `config`."""
    import torch

    from fastgan_ray.config.run_config import flatten
    from fastgan_ray.report.data.suggestion import choices, suggested_file

    has_gpu = torch.cuda.is_available()
    names = [assignment.partition("=")[0] for assignment in assignments or ()]
    settings, known = flatten(config.model_dump(mode="json")), dict(facts)
    given = {name: settings[name] for name in names if name.startswith("data.")}
    path = str(config.data.path)
    return choices(known, path, has_gpu, given), suggested_file(known, path, has_gpu, given)


def _print_facts(facts: Mapping[str, Any]) -> None:
    from fastgan_ray.counting import counted
    from fastgan_ray.report.page.data_page import metric_sentences, overview, verdict

    known = dict(facts)
    print_line(f"{facts['path']}: {verdict(known)}")
    for remark in facts["remarks"]:
        print_line(f"  {remark}")
    for name, text in overview(known):
        print_line(f"  {name}: {text}")
    if compared := facts.get("compared"):
        count = counted(len(compared["near"]), "pair")
        print_line(f"  near duplicates: {count}; outliers: {len(compared['outliers'])}")
        sizes = ", ".join(str(len(group)) for group in compared["clusters"])
        print_line(f"  sizes of the groups of similar pictures: {sizes}")
    for sentence in metric_sentences(known):
        print_line(f"  {sentence}")


def _print_ending(suggested: list[Any], out: Path, write: Path | None) -> None:
    for choice in suggested:
        print_line(f"  {choice.key} = {choice.value}: {choice.reason}")
    print_line(f"Page: {out}")
    if write:
        print_line(f"Search file: {write}. To see its cost, run: fastgan-ray check {write}")
