"""What strangers type: every mistake ends with status 2 and a message that says how to mend it."""

import json

import pytest
import tiny
from command_line import call
from latent_checkpoints import tiny_checkpoint

HEAD = "method: random\nmetric: {name: fid}\nparameters: {model.ngf: {values: [8, 16]}}\n"
FILES = {
    "words.yaml": HEAD.replace("{name: fid}", "fid") + "early_terminate: hyperband\n",
    "minimise.yaml": HEAD.replace("fid}", "fid, goal: minimise}"),
    "bayesian.yaml": HEAD.replace("random", "bayesian"),
    "naive.yaml": HEAD.replace("model.ngf: {values: [8, 16]}", "ngf: [8, 16], optimizer: adam"),
    "arms.yaml": "metric: {name: fid}\nseeds: 3\nbaseline: {}\narms: {a: model.ngf=8}\n",
    "seeds.yaml": "metric: {name: fid}\nseeds: 0-2\nbaseline: {}\narms: {a: {model.ngf: 8}}\n",
    "tab.yaml": "method:\n\t- grid\n",
    "latin.yaml": b"# caf\xe9\n" + HEAD.encode(),
    "list.yaml": "- a\n- b\n",
    "empty.yaml": "",
    "note.txt": "hello",
}
TUNE = ("tune", "--config", "search.yaml")
MISTAKES = [
    (("tune", "--config", "run"), "it is a folder; did you mean run/search.yaml?"),
    (("tune", "--config", "summary.json"), "contains the results of a run; give the YAML file"),
    (("tune", "--config", "0.PNG"), "0.PNG:1: must be UTF-8 text"),
    (("tune", "--config", "latin.yaml"), "latin.yaml:1: must be UTF-8 text"),
    (("tune", "--config", "tab.yaml"), "tab.yaml:2: begins with a tab"),
    (("tune", "--config", "list.yaml"), "must be a mapping, lines of `key: value`"),
    (("tune", "--config", "empty.yaml"), "is empty; it must be a mapping"),
    (("tune", "--config", "words.yaml"), "metric: must be a mapping such as {name: fid}"),
    (("tune", "--config", "words.yaml"), "early_terminate: must be a mapping such as {type: hyp"),
    (("tune", "--config", "minimise.yaml"), "did you mean minimize?"),
    (("tune", "--config", "bayesian.yaml"), "did you mean bayes?"),
    (("tune", "--config", "naive.yaml"), "optimizer: is not a known setting; the optimiser is"),
    (("ablate", "--config", "arms.yaml"), "must be a mapping of settings, such as {model.ngf: 8}"),
    (("ablate", "--config", "seeds.yaml"), "seeds from 0 to 2**31 - 1, such as [0, 1, 7]"),
    ((*TUNE, "--name", ""), "--name: must be letters, digits"),
    (
        (*TUNE, "--runs", "s3:/bucket/x"),
        "--runs: a URI needs two slashes after the colon, as in s3://bucket/x",
    ),
    ((*TUNE, "--set", "=3"), "--set: '=3': must have the form key=value"),
    ((*TUNE, "--set", "train.lr_g"), "must have the form key=value"),
    ((*TUNE, "--set", "lr=1"), "did you mean train.lr_g or train.lr_d?"),
    ((*TUNE, "--set", "train.device=gpu"), "did you mean cuda?"),
    ((*TUNE, "--from", "nowhere"), "has no summary.json; name the folder of a search"),
    (("ablate", "--config", "seeds.yaml", "--seeds", "0..3"), "--seeds: must be numbers and ran"),
    (("check", "note.txt"), "note.txt:1: must be a mapping"),
    (("train", "--resume", "--out", "nowhere"), "nowhere: there is no training to resume"),
    (("confirm", "pictures"), "there is no search to confirm"),
    (("report", "run", "--out", "/"), "--out: / cannot be written (it is a folder)"),
    (("report", "run", "--out", "."), "--out: . cannot be written (it is a folder)"),
    (("evaluate", "run/best/checkpoint/ema.safetensors"), "is one file of a checkpoint; give the"),
    (("sample", "run/best/checkpoint/metadata.json"), "give the folder run/best/checkpoint"),
    (("sample", "run", "--seeds", "1-"), "--seeds: must be numbers and ranges"),
    (("invert", "run", "note.txt", "--embedded"), "note.txt: is not a picture; give a picture"),
    (("mix", "run", "--rows", ""), "--rows: must be numbers and ranges"),
    (("weights", "fetch", "nonsense"), "weights must be one of"),
    (("clean", "pictures"), "is not the folder of a search or an ablation"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what a user may have, and may take for something else."""
    place = tmp_path_factory.mktemp("place")
    for name, content in FILES.items():
        (place / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (place / "search.yaml").write_text(HEAD)
    tiny.write_pictures(place, 1)
    (place / "pictures").mkdir()
    tiny.write_pictures(place / "pictures", 3)
    checkpoint = place / "run" / "best" / "checkpoint"
    checkpoint.mkdir(parents=True)
    tiny_checkpoint(checkpoint, place / "pictures")
    (place / "run" / "search.yaml").write_text(HEAD)
    (place / "run" / "overrides.json").write_text("{}")
    results = {"name": "t", "metric": {"name": "fid5k_full"}, "trials": [], "verdict": ""}
    (place / "summary.json").write_text(json.dumps(results))
    return place


@pytest.mark.parametrize(("command", "expected"), MISTAKES, ids=lambda value: str(value)[:50])
def test_a_mistake_is_a_message_that_helps(place, monkeypatch, capsys, command, expected):
    monkeypatch.chdir(place)
    assert call(*command) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert expected in message and "Traceback" not in message
