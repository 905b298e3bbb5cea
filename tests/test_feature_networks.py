"""A metric must not use the features that D has, and what shares their training data is marked."""

from __future__ import annotations

import io
import json
import shutil
from typing import get_args

import pytest
import test_report_ablation as ablations
import tiny
import yaml
from command_line import call
from fake_trials import METRIC, fake_trial, report, state_of, text_of
from latent_checkpoints import tiny_checkpoint
from rich.console import Console
from stand_in_extractor import configured, stand_in
from test_confirm import GOOD, THREE, confirmed, make_spec

from fastgan_ray.api.train_reporter import TerminalReporter
from fastgan_ray.config.evaluation import EvalConfig
from fastgan_ray.config.feature_networks import (
    D_FEATURES,
    FEATURE_NETWORKS,
    MARK,
    shared_data,
    shared_data_note,
)
from fastgan_ray.config.model import ModelConfig
from fastgan_ray.config.run_config import RunConfig, flatten
from fastgan_ray.config.run_file import check_settings
from fastgan_ray.data.source import open_source
from fastgan_ray.errors import UserError
from fastgan_ray.latent.export import export
from fastgan_ray.latent.load import d_features_of
from fastgan_ray.latent.measure import rank
from fastgan_ray.metrics.extractors import EXTRACTORS
from fastgan_ray.metrics.protocol import protocol, protocol_differences, require_same_protocol
from fastgan_ray.report.data.ablation import summarise
from fastgan_ray.report.data.run_folder import read_run
from fastgan_ray.report.page.sections import headline
from fastgan_ray.report.tables import ablation as ablation_tables
from fastgan_ray.report.tables import confirmation as confirmation_tables
from fastgan_ray.report.tables.leaderboard import leaderboard
from fastgan_ray.search.cost.plan import ablation_facts, search_facts
from fastgan_ray.search.file.read import spec_from_text
from fastgan_ray.search.file.read_ablation import ablation_from_text
from fastgan_ray.search.resume import search_changes
from fastgan_ray.train.initial_weights import check_start
from fastgan_ray.train.signals import stopping
from fastgan_ray.tune.driver.live_table_text import trial_line
from fastgan_ray.tune.experiment import TuneOptions
from fastgan_ray.tune.search import closing, confirm_run
from fastgan_ray.tune.wandb.trial_run import config_of

LITE0 = {"model.discriminator": "projected", "model.d_features": "efficientnet_lite0"}
SEARCH = {
    "name": "s",
    "method": "random",
    "run_cap": 2,
    "metric": {"name": "fid"},
    "base": {"model.resolution": 32, "train.total_kimg": 0.016, **LITE0},
    "parameters": {"train.lr_g": {"values": [1e-3, 2e-4]}},
}
REFUSED = (
    "extractor must not be efficientnet_lite0, because the discriminator uses the features of the "
    "same network (model.d_features efficientnet_lite0), so the training would optimise its own "
    "metric; set eval.extractor to dinov2_vitb14, dinov2_vitl14 or clip_vitb32, or choose "
    "another model.d_features"
)
EMBEDDED = {"eval.extractor": "efficientnet_lite0"}


def search(**changes):
    return yaml.safe_dump({**SEARCH, **changes}, sort_keys=False)


def based(**changes):
    return search(base={**SEARCH["base"], **{k.replace("__", "."): v for k, v in changes.items()}})


def test_every_network_has_its_training_data():
    assert set(get_args(ModelConfig.model_fields["d_features"].annotation)) == set(D_FEATURES)
    assert set(FEATURE_NETWORKS) == {*EXTRACTORS, *D_FEATURES}
    assert {*get_args(EvalConfig.model_fields["extractor"].annotation)} == {*EXTRACTORS, "none"}


def test_the_rule_is_about_weights_and_only_with_a_projected_discriminator():
    for extractor in EXTRACTORS:
        for features in D_FEATURES:
            settings = {"eval.extractor": extractor, "model.d_features": features}
            assert check_settings(settings) == []
            violations = check_settings({**settings, "model.discriminator": "projected"})
            same = FEATURE_NETWORKS[extractor].weights == FEATURE_NETWORKS[features].weights
            assert [violation.key for violation in violations] == ["eval"] * same
    assert [v.rule for v in check_settings({**LITE0, **EMBEDDED})] == [REFUSED]
    assert check_settings({**LITE0, "eval.extractor": "none"}) == []


# --- five ways to a metric on D's own network; each is refused by the name of the network


def test_1_in_the_files_metric_and_base():
    with pytest.raises(UserError) as caught:
        spec_from_text(based(eval__extractor="efficientnet_lite0"), "s.yaml")
    assert REFUSED in str(caught.value)
    # A list of metrics has no other networks than eval.extractor.
    metrics = [{"name": "fid"}, {"name": "fd_efficientnet_lite0"}]
    with pytest.raises(UserError, match=r"metric\.1\.name: must be one of fid5k_full"):
        spec_from_text(search(metric=metrics), "s.yaml")
    ablation = {
        "metric": {"name": "fd_efficientnet_lite0"},
        "base": EMBEDDED,
        "seeds": 2,
        "baseline": {},
        "arms": {"projected": LITE0},
    }
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        ablation_from_text(yaml.safe_dump(ablation), "a.yaml")


def test_1_also_as_a_parameter_of_the_search():
    parameters = {"model.d_features": {"values": ["efficientnet_lite0", "efficientnet_lite1"]}}
    base = {"model.resolution": 32, "model.discriminator": "projected", **EMBEDDED}
    metric = {"name": "fd_efficientnet_lite0"}
    with pytest.raises(UserError, match="no valid run has the value 'efficientnet_lite0'"):
        spec_from_text(search(metric=metric, base=base, parameters=parameters), "s.yaml")
    grid = search(method="grid", run_cap=None, metric=metric, base=base, parameters=parameters)
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        spec_from_text(grid, "s.yaml")


def test_2_by_set_and_embedded(tmp_path, capsys):
    spec_from_text(search(), "s.yaml")
    for overrides in (EMBEDDED, {**EMBEDDED, "eval.num_fakes": 64}):
        with pytest.raises(UserError) as caught:
            spec_from_text(search(), "s.yaml", overrides)
        assert REFUSED in str(caught.value)
    lite1 = based(model__d_features="efficientnet_lite1", eval__extractor="efficientnet_lite0")
    lite1 = lite1.replace("name: fid", "name: fd_efficientnet_lite0")
    spec_from_text(lite1, "s.yaml")
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        spec_from_text(lite1, "s.yaml", {"model.d_features": "efficientnet_lite0"})
    file = tmp_path / "s.yaml"
    file.write_text(search())
    for command in (
        ("check", file, "--embedded"),
        ("tune", "--config", file, "--data", "heads", "--embedded", "--dry-run"),
        ("train", "--config", run_file(tmp_path), "--set", "eval.extractor=efficientnet_lite0"),
    ):
        assert call(*command) == 2
        assert "must not be efficientnet_lite0" in capsys.readouterr().err.replace("\n", " ")


def run_file(folder):
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**LITE0, "model.resolution": 32, "data.path": "heads"}))
    return path


def test_3_in_a_resumed_search(tmp_path, capsys):
    before = spec_from_text(search(), "s.yaml")
    folder = tmp_path / before.name
    folder.mkdir()
    (folder / "search.yaml").write_text(before.text)
    (folder / "overrides.json").write_text("{}")
    resumed = ("tune", "--config", folder / "search.yaml", "--runs", tmp_path, "--resume")
    assert call(*resumed, "--set", "eval.extractor=efficientnet_lite0") == 2
    assert "must not be efficientnet_lite0" in capsys.readouterr().err.replace("\n", " ")
    # Another network of D with another metric is another search.
    text = based(model__d_features="efficientnet_lite1")
    now = spec_from_text(text, "s.yaml", {"eval.extractor": "efficientnet_lite0"})
    changes = [change.partition(":")[0] for change in search_changes(before, now, True)]
    assert changes == ["metric", "model.d_features", "eval.extractor"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Checkpoints: "lite0" and "lite1" of projected discriminators, "plain" of FastGAN's own."""
    root = tmp_path_factory.mktemp("made")
    (root / "pictures").mkdir()
    tiny.write_pictures(root / "pictures", 6)
    projected = {"discriminator": "projected", "d_input_px": 64}
    for name, section in {
        "lite1": projected,
        "plain": {},
    }.items():
        (root / name).mkdir()
        tiny_checkpoint(root / name, root / "pictures", **section)
    shutil.copytree(root / "lite1", root / "lite0")
    metadata = json.loads((root / "lite0" / "metadata.json").read_text())
    metadata["config"]["model"]["d_features"] = "efficientnet_lite0"
    metadata["config"]["eval"]["extractor"] = "inception"
    (root / "lite0" / "metadata.json").write_text(json.dumps(metadata))
    return root


def test_4_by_evaluate_with_another_network(made, tmp_path, capsys):
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        rank({made / "lite0": None}, EMBEDDED)
    assert call("evaluate", made / "lite0", "--embedded") == 2
    assert "must not be efficientnet_lite0" in capsys.readouterr().err.replace("\n", " ")
    # Neither in the company of another generator, nor as an exported folder.
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        rank({made / "plain": None, made / "lite0": None}, EMBEDDED)
    export(made / "lite0", "folder", tmp_path / "exported")
    data = {"data.path": str(made / "pictures")}
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        rank({tmp_path / "exported": None}, {**EMBEDDED, **data})


@pytest.mark.parametrize("where", ["the file", "the overrides"])
def test_5_in_a_confirmation(where, tmp_path):
    # The folder of a search that somebody has changed.
    text = based(eval__extractor="efficientnet_lite0") if where == "the file" else search()
    (tmp_path / "search.yaml").write_text(text)
    overrides = {} if where == "the file" else EMBEDDED
    (tmp_path / "overrides.json").write_text(json.dumps(overrides))
    best = {"trial_id": "00000", "value": 1.0, "config": {}}
    trials = [{"trial_id": "00000", "state": "finished", "value": 1.0, "point": {}}]
    (tmp_path / "summary.json").write_text(json.dumps({"trials": trials, "best": best}))
    with pytest.raises(UserError, match="must not be efficientnet_lite0"):
        confirm_run(tmp_path, 1, [1, 2], TuneOptions())


def test_6_by_a_start_from_a_generator_that_was_trained_on_them(made, tmp_path):
    export(made / "lite0", "folder", tmp_path / "exported")
    for source in (made / "lite0", tmp_path / "exported"):
        start = {"train.init_from": str(source), "train.init_networks": "generator"}
        with pytest.raises(UserError, match=r"for the generator of .*, extractor must not be eff"):
            check_start(tiny.config(**start))
        assert check_start(tiny.config(**start, **{"eval.extractor": "clip_vitb32"}))
    # Without a projected discriminator of its own, the values would have no mark.
    start = {"train.init_from": str(made / "lite1"), "train.init_networks": "generator"}
    with pytest.raises(UserError, match=r"a network with the same training data \(ImageNet\)"):
        check_start(tiny.config(**start))
    marked = {"model.discriminator": "projected", "model.d_features": "efficientnet_lite1"}
    assert check_start(tiny.config(**start, **marked))


@pytest.mark.parametrize("exported", [False, True])
def test_7_by_a_start_from_a_start(made, tmp_path, exported):
    second = shutil.copytree(made / "plain", tmp_path / "second")
    start = {"train.init_networks": "generator", "eval.extractor": "clip_vitb32"}
    record = check_start(tiny.config(**start, **{"train.init_from": str(made / "lite0")}))
    metadata = json.loads((second / "metadata.json").read_text())
    (second / "metadata.json").write_text(json.dumps({**metadata, "start": record}))
    if exported:
        export(second, "folder", tmp_path / "exported")
        second = tmp_path / "exported"
    assert d_features_of(second) == ("efficientnet_lite0",)
    third = {"train.init_from": str(second), "train.init_networks": "generator"}
    with pytest.raises(UserError, match=r"for the generator of .*, extractor must not be eff"):
        check_start(tiny.config(**third))
    with pytest.raises(
        UserError, match="an earlier training of the generator used a discriminator"
    ):
        rank({second: None}, {**EMBEDDED, "data.path": str(made / "pictures")})


# --- marks


def test_what_shares_training_data():
    projected = ModelConfig(discriminator="projected", d_features="efficientnet_lite1")
    shared = {name: shared_data(projected, name) for name in (*EXTRACTORS, "none")}
    assert shared == {
        **dict.fromkeys(("inception", "inception_pytorch", "efficientnet_lite0"), "ImageNet"),
        **dict.fromkeys(("dinov2_vitb14", "dinov2_vitl14", "clip_vitb32", "none"), ""),
    }
    assert {shared_data(ModelConfig(), name) for name in (*EXTRACTORS, "none")} == {""}
    note = shared_data_note("ImageNet")
    assert note.startswith(f"{MARK} The metric's network and the discriminator's")
    assert "dinov2_vitb14, dinov2_vitl14 or clip_vitb32" in note and shared_data_note("") == ""


def test_the_protocol_has_the_mark_and_old_protocols_have_none(tmp_path):
    tiny.write_pictures(tmp_path, 5)
    config = configured(tmp_path)
    source = open_source(config.data)
    plain = protocol(config, stand_in(), source)
    settings = flatten(config.model_dump()) | {"model.discriminator": "projected"}
    marked = protocol(RunConfig.model_validate(settings), stand_in(), source)
    assert "shared_data" not in plain and marked == plain | {"shared_data": "ImageNet"}
    assert protocol_differences(plain, marked) == [
        "training data shared by the feature networks of the metric and of the discriminator "
        "(DINOv2 and CLIP share none): none against ImageNet"
    ]
    other = settings | {"eval.extractor": "clip_vitb32"}
    assert "shared_data" not in protocol(RunConfig.model_validate(other), stand_in(), source)
    with pytest.raises(UserError, match="b cannot be compared with a: training data shared"):
        require_same_protocol({"a": plain, "b": marked}, "")


def test_evaluate_marks_its_values_and_ranks_no_mixture(made, capsys):
    assert call("evaluate", made / "lite1") == 0
    out = " ".join(capsys.readouterr().out.split())
    assert shared_data_note("ImageNet") in out and "shared_data: ImageNet" in out
    assert call("evaluate", made / "plain") == 0
    assert MARK not in capsys.readouterr().out
    assert call("evaluate", made / "plain", made / "lite1") == 2
    err = " ".join(capsys.readouterr().err.split())
    assert "ImageNet against none" in err and "DINOv2 and CLIP share none" in err


def test_a_plan_says_it_before_the_start():
    facts = search_facts(spec_from_text(search(), "s.yaml"), needs_data=False)
    assert facts["notes"] == [shared_data_note("ImageNet")]
    clip = search_facts(
        spec_from_text(search(), "s.yaml", {"eval.extractor": "clip_vitb32"}), needs_data=False
    )
    assert clip["notes"] == []


def test_the_summary_the_report_and_wandb_have_the_mark(tmp_path):
    text = search()
    (tmp_path / "search.yaml").write_text(text)
    (tmp_path / "overrides.json").write_text("{}")
    trial = {"trial_id": "00000", "state": "finished", "value": 9.0, "error": 1.0, "kimg": 1.0}
    trial |= {"seconds": 1.0, "reason": "", "warning": "", "point": {"train.lr_g": 1e-3}}
    account = {
        "metric": {"name": "fid5k_full", "goal": "minimize"},
        "protocol": {"shared_data": "ImageNet"},
        "note": shared_data_note("ImageNet"),
        "verdict": "Best.",
        "best": {"trial_id": "00000", "value": 9.0},
        "default": None,
        "confirmation": None,
        "budget": {},
        "front": [],
        "trials": [trial],
    }
    (tmp_path / "summary.json").write_text(json.dumps(account))
    run = read_run(tmp_path)
    assert shared_data_note("ImageNet") in headline(run)["warnings"]
    columns = leaderboard(run)["columns"]
    assert {"name": f"fid5k_full {MARK}", "number": True, "long": False} in columns
    assert shared_data_note("ImageNet") in closing(account)
    config = RunConfig.model_validate({**LITE0}).model_dump()
    assert config_of(config, {})["shared_data"] == "ImageNet"
    assert "shared_data" not in config_of(RunConfig().model_dump(), {})


# --- what is not ranked together


ARMS = """
  projected: {model.discriminator: projected, model.d_features: efficientnet_lite1}
  good: {train.lr_g: 0.001}
"""


def arms_on(extractor):
    text = ablations.ABLATION + ARMS
    base = {"eval.extractor": extractor}
    spec = ablation_from_text(text, "t.yaml", base)
    values = {"plain": 40.0, "projected": 10.0, "good": 20.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablations, "VALUES", values)
        trials = [ablations.trial(n, cell) for n, cell in enumerate(ablations.cells(spec))]
    for trial in trials:
        if trial["arm"] == "projected" and "dinov2" not in extractor:
            trial["protocol"] = trial["protocol"] | {"shared_data": "ImageNet"}
    return summarise(spec, "t", trials, dict.fromkeys(spec.arms, 1.5))


def test_an_arm_with_shared_training_data_has_a_mark_and_the_reason_instead_of_a_verdict():
    summary = arms_on("inception")
    arms = {arm["name"]: arm for arm in summary["arms"]}
    projected, good = arms["projected"]["comparison"], arms["good"]["comparison"]
    assert projected["verdict"] == "no verdict" and projected["mean"] is None
    assert projected["note"].startswith(
        "the metric's network shares training data (ImageNet) with the feature network of only one "
        "of the two discriminators; measure both with eval.extractor dinov2_vitb14,"
    )
    assert good["verdict"] == "better"
    assert summary["warnings"] == []
    rows = {row[0]: row for row in ablation_tables.main_table(summary).rows}
    assert rows["projected"][1].endswith(f" {MARK}") and MARK not in rows["good"][1]
    notes = ablation_tables.notes(summary)
    assert shared_data_note("ImageNet") in notes
    assert any(
        note.startswith("projected: no verdict: the metric's network shares") for note in notes
    )
    assert shared_data_note("ImageNet") in ablation_tables.markdown(summary, "x.svg")


def test_on_other_training_data_all_arms_are_ranked():
    summary = arms_on("dinov2_vitb14")
    arms = {arm["name"]: arm for arm in summary["arms"]}
    assert arms["projected"]["comparison"]["verdict"] == "better"
    assert MARK not in str(ablation_tables.main_table(summary).rows)
    assert ablation_facts(
        ablation_from_text(ablations.ABLATION + ARMS, "t.yaml"), needs_data=False
    )["notes"] == [shared_data_note("ImageNet")]


def test_a_confirmation_says_why_it_does_not_rank_two_kinds(monkeypatch):
    # No search tries both kinds by such a metric, so here a width stands for the kind.
    monkeypatch.setattr(
        "fastgan_ray.report.data.ablation.shared_data_of",
        lambda config: "ImageNet" if config["model"]["ngf"] == 32 else "",
    )
    values = {"d": GOOD, "t1": [22.0, 23.2, 21.1], "t2": [29.0, 33.0, 31.0]}
    confirmation = confirmed(make_spec(), THREE, **values)
    assert (confirmation["searched"], confirmation["winner"]) == ("trial 00001", "trial 00001")
    assert [arm["shared_data"] for arm in confirmation["arms"]] == ["", "ImageNet", ""]
    assert confirmation["sentence"].startswith(
        "Not confirmed: trial 00001 cannot be compared with the published default: the metric's "
        "network shares training data (ImageNet) with the feature network of only one of the two "
        "discriminators"
    )
    rows = confirmation_tables.confirmation_table(confirmation).rows
    assert [MARK in row[2] for row in rows] == [False, True, False]
    assert rows[1][-1] == "no verdict"


KINDS = {"model.discriminator": {"values": ["architecture", "projected"]}}


def mixture(parameters, **overrides):
    base = {"model.resolution": 32, "train.total_kimg": 0.016}
    overrides = {key.replace("__", "."): value for key, value in overrides.items()}
    return spec_from_text(search(base=base, parameters=parameters), "s.yaml", overrides)


def test_a_search_does_not_rank_both_kinds_by_a_metric_with_shared_training_data():
    rule = (
        "model.discriminator: must be the same for all trials, because eval.extractor inception "
        "shares training data (ImageNet) with the features of a projected discriminator"
    )
    with pytest.raises(UserError) as caught:
        mixture(KINDS)
    assert rule in str(caught.value)
    # A parameter that is only sometimes active has the value of base otherwise.
    sometimes = {
        "train.beta1": {"values": [0.0, 0.5]},
        "model.discriminator": {"values": ["projected"], "when": {"train.beta1": 0.0}},
    }
    with pytest.raises(UserError, match="must be the same for all trials"):
        mixture(sometimes)
    for spec in (
        mixture(KINDS, eval__extractor="dinov2_vitb14"),
        mixture(KINDS, eval__extractor="clip_vitb32"),
        mixture(KINDS, model__discriminator="projected"),
        mixture({**KINDS, "model.discriminator": {"values": ["projected"]}}),
    ):
        assert spec.name == "s"
    with pytest.raises(UserError, match=r"eval\.extractor efficientnet_lite0 shares"):
        mixture(KINDS, eval__extractor="efficientnet_lite0")


def test_the_live_table_and_its_lines_mark_trials_with_shared_training_data():
    plain, marked = (fake_trial(number, "RUNNING", report(4.0, 200.0)) for number in range(2))
    config = RunConfig.model_validate(flatten(RunConfig().model_dump()) | LITE0)
    marked.config["run"] = config.model_dump()
    state = state_of(plain, marked)
    assert MARK not in trial_line(state, "00000", 110.0)
    assert f"{METRIC} 200.0 {MARK}" in trial_line(state, "00001", 110.0)
    table = text_of(state, width=300)
    assert f"200.0 {MARK}" in table and shared_data_note("ImageNet") in table
    assert MARK not in text_of(state_of(plain))


def test_the_lines_of_a_training_mark_values_with_shared_training_data(tmp_path):
    row = {"kimg": 1.0, "images_per_second": 9.0, "grid": "grid.png", "fid5k_full": 80.0}
    for settings, count in (({}, 0), (LITE0, 1)):
        console, config = Console(file=io.StringIO()), RunConfig.model_validate(settings)
        with stopping(lambda stop: None) as stop:
            TerminalReporter(tmp_path, config, (), console, stop).report(row, tmp_path)
        assert console.file.getvalue().count(MARK) == count
