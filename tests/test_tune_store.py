"""A search whose results live in S3: moto's server, asked over real connections."""

from __future__ import annotations

import json
import logging
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import tune_objectives as objectives
from moto.server import ThreadedMotoServer
from pyarrow import fs
from test_tune_resume import TEXT, lines, no_driver_left, start_driver, wait_until

from fastgan_ray.errors import UserError
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.spec import run_config
from fastgan_ray.tune.driver.bad_machines import read_place
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.ray.withheld import Place
from fastgan_ray.tune.search import run_search
from fastgan_ray.tune.storage.experiment_folder import make_folder, open_storage
from fastgan_ray.tune.storage.remote import RemoteStorage
from fastgan_ray.tune.storage.sync import RUN_ID, DriverSync, TrialSync, fetch_run
from fastgan_ray.tune.trial.folder import PLACE, append_row, resume_point

__all__ = ["no_driver_left"]  # a fixture that runs by itself


@pytest.fixture(scope="module")
def bucket():
    """The URI of an empty bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        query = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
        filesystem, _ = fs.FileSystem.from_uri(f"s3://here?allow_bucket_creation=true&{query}")
        filesystem.create_dir("here")
        yield f"s3://here/runs?{query}"
    server.stop()


@pytest.fixture(params=["s3", "file", "memory"])
def store(request, bucket, tmp_path):
    """The same by pyarrow's S3, by its local files, and by a file system of fsspec's."""
    uri = {"s3": bucket, "file": f"file://{tmp_path}/there", "memory": "memory://there"}
    return RemoteStorage(uri[request.param], request.function.__name__)


def write_trial(run: Path, kimg: float, outcome: str = "running") -> None:
    """What a trial has after an evaluation."""
    trial = run / "trials" / "00000"
    checkpoint = trial / f"checkpoint-{kimg:g}"
    checkpoint.mkdir(parents=True, exist_ok=True)
    (checkpoint / "metadata.json").write_text(json.dumps({"kimg": kimg}))
    (checkpoint / "ema.safetensors").write_text(f"weights at {kimg:g}")
    row = {"kimg": kimg, "outcome": outcome, "checkpoint": checkpoint.name}
    append_row(trial, row)


def test_a_trial_goes_on_elsewhere(store, tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere"
    sync = TrialSync(store, here, "00000")
    write_trial(here, 1.0)
    sync.send()
    write_trial(here, 2.0)
    sync.send()
    shutil.rmtree(here / "trials" / "00000" / "checkpoint-1")
    sync.send()
    # What is left there of another run does not count.
    write_trial(there, 7.0)
    other = TrialSync(store, there, "00000")
    other.fetch()
    rows, checkpoint = resume_point(there / "trials" / "00000")
    assert [row["kimg"] for row in rows] == [1.0, 2.0]
    assert checkpoint == there / "trials" / "00000" / "checkpoint-2"
    assert (checkpoint / "ema.safetensors").read_text() == "weights at 2"
    assert [name for name in store.names() if "checkpoint-1" in name] == []
    # A copy that was cut off half way is none: the rows do not name it yet.
    write_trial(here, 3.0)
    store.put(here, ["trials/00000/checkpoint-3/ema.safetensors"])
    other.fetch()
    assert resume_point(there / "trials" / "00000")[1] == checkpoint


def write_best(run: Path, kimg: float) -> None:
    """Replace a trial's best checkpoint, as a training does; the names stay the same."""
    best = run / "trials" / "00000" / "checkpoint-best"
    shutil.rmtree(best, ignore_errors=True)
    best.mkdir(parents=True)
    (best / "metadata.json").write_text(json.dumps({"kimg": kimg}))
    (best / "ema.safetensors").write_text(f"best weights at {kimg:g}")


def test_a_better_checkpoint_replaces_the_stored_one(store, tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere"
    sync, other = TrialSync(store, here, "00000"), TrialSync(store, there, "00000")
    weights = Path("trials", "00000", "checkpoint-best", "ema.safetensors")
    for kimg in (1.0, 2.0):
        write_trial(here, kimg)
        write_best(here, kimg)
        sync.send()
        other.fetch()
        assert (there / weights).read_text() == f"best weights at {kimg:g}"
    # A restarted process sends what has changed since, too.
    write_best(here, 3.0)
    TrialSync(store, here, "00000").send()
    other.fetch()
    assert (there / weights).read_text() == "best weights at 3"


def test_the_driver_learns_where_a_trial_died_before_its_first_evaluation(store, tmp_path):
    here, there = tmp_path / "driver", tmp_path / "elsewhere"
    for folder, host in ((here, "old"), (there, "new")):
        place = folder / "trials" / "00000" / PLACE
        place.parent.mkdir(parents=True)
        place.write_text(json.dumps([host, host, []]))
    TrialSync(store, there, "00000").send_place()
    driver = DriverSync(store, here)
    driver.send()  # does not replace what the trial has sent
    driver.trial_failed(SimpleNamespace(trial_id="00000"))
    assert read_place(here / "trials" / "00000") == Place("new", "new", ())
    (there / "trials" / "00000" / PLACE).write_text(json.dumps(["newer", "newer", []]))
    TrialSync(store, there, "00000").send_place()
    trial = SimpleNamespace(trial_id="00000")
    driver.trial_started(trial)
    driver.trial_reported(trial, {"kimg": 0.0, "outcome": "running"})  # it works there
    assert read_place(here / "trials" / "00000") == Place("newer", "newer", ())
    driver.trial_restarts(SimpleNamespace(trial_id="00001"))  # never started


def test_what_the_best_trial_no_longer_has_is_removed_from_the_store(store, tmp_path):
    """Another trial's last checkpoint must not lie beside the best one."""
    for name in ("checkpoint", "checkpoint-last"):
        (tmp_path / "best" / name).mkdir(parents=True)
        (tmp_path / "best" / name / "ema.safetensors").write_text("weights of trial 1")
    DriverSync(store, tmp_path).send()
    shutil.rmtree(tmp_path / "best" / "checkpoint-last")
    DriverSync(store, tmp_path).send()  # another driver, after a restart
    assert store.names("best") == ["best/checkpoint/ema.safetensors"]


def test_a_confirmation_that_started_again_is_newer_than_the_stored_one(store, tmp_path):
    """Its states are counted from 0 again."""
    for number, count in ((1, 150), (2, 40)):
        folder = tmp_path / f"start-{number}"
        (folder / "state" / f"{count:08d}").mkdir(parents=True)
        (folder / "start.json").write_text(json.dumps({"number": number}))
        if number == 1:
            DriverSync(store, folder).send()
            assert "state/00000150.tar" in store.names()
    fetch_run(store, tmp_path / "start-2")
    assert (tmp_path / "start-2" / "state" / "00000040").is_dir()
    DriverSync(store, tmp_path / "start-2").send()
    fetch_run(store, tmp_path / "start-1")
    assert json.loads((tmp_path / "start-1" / "start.json").read_text()) == {"number": 2}
    assert (tmp_path / "start-1" / "state" / "00000040").is_dir()


def test_a_run_is_fetched_where_it_went_further(store, tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere"
    for number, text in ((1, "first"), (2, "second")):
        state = here / "state" / f"{number:08d}"
        state.mkdir(parents=True)
        (state / "searcher.pkl").write_text(text)
        (here / "study.journal").write_text(text)
        (here / "search.yaml").write_text("name: t")
        sync = DriverSync(store, here)
        sync.send()
        assert sync.fault == ""
    assert [name for name in store.names() if name.startswith("state")] == ["state/00000002.tar"]
    (there / "state" / "00000001").mkdir(parents=True)
    (there / "old.txt").write_text("of before")
    fetch_run(store, there)
    assert (there / "study.journal").read_text() == "second"
    assert (there / "state" / "00000002" / "searcher.pkl").read_text() == "second"
    assert not (there / "old.txt").exists()
    (there / "search.yaml").write_text("as far as the store: left alone")
    fetch_run(store, there)
    assert (there / "search.yaml").read_text() == "as far as the store: left alone"


def test_a_run_of_another_search_with_the_same_name_is_not_replaced(store, tmp_path):
    here, there = tmp_path / "here", tmp_path / "elsewhere"
    for folder, count in ((here, 2), (there, 1)):
        make_folder(folder, "search", "name: t", {}, {})
        (folder / "state" / f"{count:08d}").mkdir(parents=True)
    DriverSync(store, here).send()
    with pytest.raises(UserError, match="this run is not the one in"):
        fetch_run(store, there)
    assert (there / "search.yaml").is_file()
    (there / RUN_ID).write_bytes((here / RUN_ID).read_bytes())  # the same run, but older
    fetch_run(store, there)
    assert (there / "state" / "00000002").is_dir()


def test_a_store_that_cannot_be_used_is_refused(bucket, tmp_path):
    with pytest.raises(UserError, match=r"nosuch://x/y/t: cannot be opened .*Name a folder"):
        RemoteStorage("nosuch://x/y", "t")
    missing = bucket.replace("here/runs", "missing/runs")
    with pytest.raises(UserError, match=r"--runs s3://missing/runs/t: cannot be written"):
        open_storage(missing, "t", tmp_path, resume=False)
    RemoteStorage(bucket, "taken").write("search.yaml", b"")
    with pytest.raises(UserError, match=r"s3://here/runs/taken: already exists.*--resume"):
        open_storage(bucket, "taken", tmp_path, resume=False)
    named = RemoteStorage(bucket.replace("s3://", "s3://user:secret@"), "t")
    assert str(named) == "s3://here/runs/t"


@pytest.mark.slow
def test_a_killed_search_goes_on_from_s3_on_another_machine(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    lost, fresh = tmp_path / "lost", tmp_path / "fresh"
    driver = start_driver(lost, "new", "slow_third", bucket)
    log = lost / "t" / "trials" / "00002" / "ran.txt"
    wait_until(lambda: "waiting" in lines(log), driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    shutil.rmtree(lost)
    options = TuneOptions(fresh, bucket, resume=True, max_concurrent=1, wandb="off", quiet=True)
    spec = spec_from_text(TEXT, "t.yaml")
    with connected(None):
        folder = run_search(spec, options, objectives.smooth)
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["trials"]) == 4
    assert {trial["state"] for trial in summary["trials"]} <= {"finished", "stopped"}
    ran = lines(fresh / "t" / "trials" / "00002" / "ran.txt")
    assert [line for line in ran if "begin" in line][-1] == "begin at 2"
    for trial in summary["trials"]:
        config = run_config(spec, trial["point"])
        assert trial["value"] == objectives.loss(config, trial["kimg"])
    # All results are in the store, and no more of the losers than here.
    store = RemoteStorage(bucket, "t")
    there = set(store.names())
    assert {"summary.json", "best/config.yaml", "best/checkpoint/metadata.json"} <= there
    assert json.loads(store.read("summary.json") or b"") == summary
    assert [name for name in there if "trials" in name and "checkpoint-" in name] == []
