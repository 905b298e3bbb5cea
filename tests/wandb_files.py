"""Stand-ins for trials, and what W&B's files hold, for the tests of its log."""

import json
import struct
from types import SimpleNamespace

import psutil
import pytest
import wandb
from wandb.proto import wandb_internal_pb2

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.search.file.metric import Metric
from fastgan_ray.tune.wandb.callback import WandbLog
from fastgan_ray.tune.wandb.session import Session

METRIC = "fid5k_full"
MINIMISED = Metric(name=METRIC)


def fake_trial(number, total_kimg=8.0):
    config = RunConfig.model_validate({"train": {"total_kimg": total_kimg, "lr_g": 1e-3}})
    return SimpleNamespace(
        trial_id=f"{number:05d}",
        config={"number": number, "point": {"train.lr_g": 1e-3}, "run": config.model_dump()},
        status="RUNNING",
        last_result={},
        has_reported_at_least_once=False,
        error_file=None,
        path=None,
    )


def result_of(kimg, grid=None, **more):
    return {
        "kimg": float(kimg),
        METRIC: 400.0 / kimg,
        "loss/d": 1.5,
        "seconds": 2.0 * kimg,
        "images_per_second": 50.0,
        "params_g": 1234,
        "outcome": "running",
        "reason": "",
        "training_iteration": 3,
        "pid": 77,
        "hostname": "secret-host",
        **({"grid": str(grid)} if grid else {}),
        **more,
    }


def records(path):
    """The records of a .wandb file: LevelDB's log format after a header of 7 bytes."""
    data, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        body = data[position + 7 : position + 7 + length]
        position += 7 + length
        parts = body if kind in (1, 2) else parts + body
        if kind in (1, 4):  # whole, or last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record


def read_run(folder, name, kind="offline-run"):
    """Everything in a trial's (or the outcome's) runs on disk, in order of time."""
    wandb.teardown()  # waits for the files, as the end of a process does
    run = SimpleNamespace(
        config={}, history=[], summary={}, exit_code=None, artifacts=[], metrics=[]
    )
    paths = sorted(folder.glob(f"wandb/{kind}-*-{name}*/run-*.wandb"))
    assert paths
    for record in (record for path in paths for record in records(path)):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.name, run.group = record.run.display_name, record.run.run_group
            run.id, run.job = record.run.run_id, record.run.job_type
            run.tags = list(record.run.tags)
            run.config |= {
                item.key: json.loads(item.value_json) for item in record.run.config.update
            }
        elif kind == "history":
            row = {}
            for item in record.history.item:
                row["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
            run.history.append(row)
        elif kind == "summary":
            for item in record.summary.update:
                run.summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        elif kind == "artifact":
            run.artifacts.append(record.artifact)
        elif kind == "metric":
            run.metrics.append((record.metric.glob_name or record.metric.name, record.metric))
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))


@pytest.fixture(autouse=True, scope="module")
def no_process_left():
    yield
    wandb.teardown()
    left = psutil.Process().children(recursive=True)
    assert not [child for child in left if "wandb" in child.name()]


def log_in(folder, mode="offline"):
    return WandbLog(Session(folder, "project", "demo", mode), MINIMISED)
