"""What we assume of Ray, Optuna, W&B and PyTorch beyond their public interfaces.

A test that fails here says which library has changed, and what breaks with us.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
import ray
import ray.train
import ray.tune
import torch
import wandb
from ray.air.execution._internal import RayActorManager
from ray.exceptions import RayActorError, RayError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.tune import Callback, PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from fastgan_ray import torch_compat
from fastgan_ray.errors import UserError
from fastgan_ray.tune.ray import compat as ray_compat
from fastgan_ray.tune.ray.session import connected
from fastgan_ray.tune.suggest import compat as optuna_compat
from fastgan_ray.tune.trial.compat import ResourceRelease
from fastgan_ray.tune.wandb import compat as wandb_compat

ROOT = Path(__file__).parent.parent
RAY = Path(ray.__file__).parent


# No private or version-bound name outside the compat files.

COMPAT = {
    "fastgan_ray/tune/ray/compat.py",
    "fastgan_ray/tune/trial/compat.py",
    "fastgan_ray/tune/suggest/compat.py",
    "fastgan_ray/tune/wandb/compat.py",
    "fastgan_ray/torch_compat.py",
}
LIBRARIES = "ray|optuna|wandb|wandb_workspaces|torch|torchvision"
# Attributes of other objects that begin with an underscore and are public, or ours.
NOT_PRIVATE = {
    "_exit",  # os
    *("_fields", "_asdict", "_replace"),  # of a named tuple
    *("_u", "_v"),  # buffers of our spectral normalisation, named as in PyTorch's state dicts
    # Layers of efficientnet_lite_pytorch, named so in its weights, too.
    *("_fc", "_blocks", "_conv_stem", "_depthwise_conv", "_project_conv"),
}
# Names that a library does not promise, or that it promises for its own version only.
VERSION_BOUND = [
    rf"\b({LIBRARIES})(\.\w+)*\.(_(?!_)\w+|internal)\b",  # private modules and functions
    r"__mixins__|run_metadata|experiment_driver_staging_path|error_file",
    r"\.placement_group_factory|invalidate_cache|num_failures",
    r"\bSearchGenerator|tune_controller import|FunctionTrainable|AUTO_RESULT_KEYS|RayActorManager",
    r"experiment_state|searcher-state|search_gen_state|callback.states|trial_data",
    r"ray_constants|ray_bootstrap_config|[\"']low on memory[\"']|Failure # |SIGUSR1|CKPT_FILE",
    r"""["'](RAY|TUNE)_(?!ADDRESS\b)\w+["']""",  # RAY_ADDRESS is documented
    r"JournalFileBackend|JournalStorage|_trial_id\b(?<=\._trial_id)",
    r"\bx_[a-z]+_[a-z_]+\b|Settings\.model_fields|offline-run-|netrc",
    r"torch\.(cpu|cuda|backends)\._\w+|\._foreach_|\._buffers\b|\._parameters\b",
]


def source_files() -> list[Path]:
    folders = (ROOT / "fastgan_ray", ROOT / "benchmarks")
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def private_attributes(path: Path) -> list[str]:
    """`object._name` where the object is neither self, cls, super() nor of the same class."""
    tree = ast.parse(path.read_text())
    own = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"))
    }
    return [
        f"{ast.unparse(node.value)}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and re.match("_(?!_)", node.attr)
        and node.attr not in own | NOT_PRIVATE
        and ast.unparse(node.value) != "super()"
    ]


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_private_and_version_bound_names_stand_in_the_compat_files(path):
    if str(path.relative_to(ROOT)) in COMPAT:
        return
    found = set(private_attributes(path))
    for number, line in enumerate(path.read_text().splitlines(), 1):
        code = line.split("#")[0]
        found |= {
            f"line {number}: {match[0]}" for p in VERSION_BOUND for match in re.finditer(p, code)
        }
    assert not found, (
        f"{path.relative_to(ROOT)} uses {', '.join(sorted(found))}: private or bound to a version "
        f"of a library. Use the public way, or move it to the compat file with its reason and test."
    )


# Ray


def test_finished_is_a_value_that_no_suggestion_equals():
    assert isinstance(ray_compat.FINISHED, str), (
        f"Ray's Searcher.FINISHED is {ray_compat.FINISHED!r} now, not a string: remove the cast in "
        "tune/ray/compat.py, and check that a search with an exhausted space ends"
    )


SOURCES = (
    "_common/usage/usage_constants.py",
    "_private/ray_constants.py",
    "exceptions.py",
    "_private/accelerators/accelerator.py",
    "_private/utils.py",
    "train/constants.py",
    "train/v2/_internal/constants.py",
    "tune/constants.py",
    "tune/experimental/output.py",
)
VARIABLES = [
    *(name for name in ray_compat.SETTINGS if name.startswith(("RAY_", "TUNE_"))),
    ray_compat.STATE_PERIOD,
    ray_compat.THREAD_TIMEOUT,
    ray_compat.AUTH_TOKEN,
    ray_compat.DASHBOARD,
]


@pytest.mark.parametrize("name", VARIABLES)
def test_ray_reads_the_environment_variable(name):
    text = "".join((RAY / source).read_text() for source in SOURCES if (RAY / source).is_file())
    assert name in text, (
        f"Ray {ray.__version__} no longer names {name} where it did: what it sets in "
        "tune/ray/compat.py has no effect any more"
    )


def test_another_error_than_a_death_ends_the_search_unless_patched():
    parameters = list(inspect.signature(RayActorManager._actor_task_failed).parameters)
    assert parameters == ["self", "tracked_actor_task", "exception"], (
        f"RayActorManager._actor_task_failed takes {parameters} now: "
        "every_death_is_an_actor_error, which replaces it, does not fit"
    )
    seen = []
    task = SimpleNamespace(
        _tracked_actor=SimpleNamespace(
            actor_id=1, _on_error=lambda actor, error: seen.append(error)
        ),
        _on_error=None,
    )
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)
    error = RayError("ended by the memory monitor")
    with pytest.raises(RuntimeError):
        RayActorManager._actor_task_failed(manager, task, error)
        pytest.fail(
            "Ray restarts a trial after any error now: every_death_is_an_actor_error is no longer "
            "needed"
        )
    with ray_compat.every_death_is_an_actor_error():
        RayActorManager._actor_task_failed(manager, task, error)
    assert [type(one) for one in seen] == [RayActorError], (
        "Ray no longer tells Tune of an actor's death in _actor_task_failed: a trial that the "
        "memory monitor ends is not restarted"
    )


def test_ray_train_calls_what_frees_the_resources_of_lost_workers():
    """What the calls do is tested with real workers in test_tune_workers.py."""
    message = (
        "Ray Train no longer has the callback {}, which frees the resources of lost workers "
        "(tune/trial/compat.py): if a worker dies at its start, its trial waits for ever"
    )
    for base, name in (
        (WorkerGroupCallback, "after_worker_group_start"),
        (ControllerCallback, "before_controller_shutdown"),
    ):
        assert hasattr(base, name), message.format(name)
    assert inspect.iscoroutinefunction(ControllerCallback.before_controller_shutdown), (
        "Ray Train's callback before_controller_shutdown is no longer a coroutine "
        "(tune/trial/compat.py)"
    )
    callback = ResourceRelease()
    assert ray.train.RunConfig(callbacks=[callback]).callbacks == [callback]


def test_the_memory_monitor_says_low_on_memory():
    raylet = RAY / "core" / "src" / "ray" / "raylet" / "raylet"
    assert ray_compat.LOW_ON_MEMORY.encode() in raylet.read_bytes(), (
        "Ray's memory monitor words its message otherwise: trials that it ends count as failed, "
        "not as out of memory"
    )


def test_ray_reads_its_token_again_when_told(monkeypatch):
    loader = ray_compat.TOKEN_LOADER.instance()
    for token in ("a" * 64, "b" * 64):
        monkeypatch.setenv(ray_compat.AUTH_TOKEN, token)
        loader.reset_cache()
        assert loader.get_raw_token(ignore_auth_mode=True) == token, (
            "Ray keeps the token of an earlier Ray of this process: a search after `ray.init` in "
            "the same process does not start (tune/ray/session.py)"
        )
    loader.reset_cache()


def test_loopback_is_chosen_by_a_constant_and_a_variable():
    from ray._private import ray_constants, services

    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool)
    before = os.environ.get(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR)
    with ray_compat.on_loopback():
        address = services.get_node_ip_address()
    assert address.startswith("127."), (
        f"Ray listens on {address} in spite of ENABLE_RAY_CLUSTER=False: a search on one machine "
        "can be reached from the network (tune/ray/compat.py, on_loopback)"
    )
    assert os.environ.get(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR) == before


def test_ray_up_leaves_its_configuration_as_json():
    text = (RAY / "autoscaler" / "_private" / "commands.py").read_text()
    assert ray_compat.CLUSTER_CONFIG.name in text and "json.dumps(remote_config)" in text, (
        "`ray up` no longer writes ~/ray_bootstrap_config.yaml as JSON: machines that the "
        "autoscaler can still start are not counted (tune/ray/compat.py, startable_nodes)"
    )


class Points(Searcher):
    """Suggests two points."""

    def __init__(self) -> None:
        super().__init__(metric="value", mode="min")
        self.count = 0
        self.ends = {}

    def suggest(self, trial_id):
        self.count += 1
        return {"number": self.count - 1} if self.count <= 2 else ray_compat.FINISHED

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ends[trial_id] = (result, error)

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_bytes(b"")

    def restore(self, checkpoint_path):
        pass


PREPARED = []


def note_thread():
    PREPARED.append(threading.current_thread() is threading.main_thread())


def objective(config):
    ray.tune.report({"value": 1.0, "prepared": PREPARED == [True]})
    if config["number"] == 1:
        raise ValueError("the second trial fails")


class Witness(Callback):
    """Notes what only a callback sees."""

    handler = None
    statuses = set()  # noqa: RUF012

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.statuses.add(trial.status)
        type(self).handler = signal.getsignal(ray_compat.STOP_SIGNAL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of Ray Tune with two trials, the second of which fails."""
    folder = tmp_path_factory.mktemp("run")
    searcher = Points()
    trainable = lambda config: objective(config)  # noqa: E731
    ray_compat.prepare_process(trainable, note_thread)
    name = lambda trial: f"{trial.config['number']:05d}"  # noqa: E731
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'tests'}")
    with connected(None):
        analysis = ray.tune.run(
            ray.tune.with_resources(trainable, lambda config: PlacementGroupFactory([{"CPU": 1}])),
            name="trials",
            storage_path=str(folder),
            search_alg=ray_compat.NamedTrialGenerator(
                searcher, name, ran_out_of_memory=lambda trial_id: trial_id == "00001"
            ),
            num_samples=2,
            callbacks=[Witness()],
            trial_dirname_creator=name,
            raise_on_failed_trial=False,
            verbose=0,
        )
        yield SimpleNamespace(folder=folder / "trials", trials=analysis.trials, searcher=searcher)


def test_a_trial_has_the_attributes_that_we_read(run):
    trial = run.trials[0]
    missing = [
        name
        for name in (
            *("trial_id", "config", "status", "last_result", "has_reported_at_least_once", "path"),
            *("error_file", "placement_group_factory", "storage", "run_metadata"),
        )
        if not hasattr(trial, name)
    ]
    assert not missing, (
        f"Ray's Trial has no {', '.join(missing)} any more: see TrialLike in tune/ray/compat.py"
    )
    assert [trial.status for trial in run.trials] == ["TERMINATED", "ERROR"], (
        f"Ray calls trials that ended or failed {[trial.status for trial in run.trials]} now: "
        "tune/driver/state.py and records.py read TERMINATED and ERROR"
    )
    assert {"RUNNING"} == Witness.statuses


def test_trials_have_our_names(run):
    assert [trial.trial_id for trial in run.trials] == ["00000", "00001"], (
        "Ray's SearchGenerator takes its trials' ids elsewhere now: folders, records and the study "
        "are named by them (NamedTrialGenerator)"
    )


def test_the_searcher_learns_that_memory_ran_out(run):
    assert run.searcher.ends["00001"] == ({"outcome": "out_of_memory"}, False), (
        "Ray's SearchGenerator no longer passes a trial's error to on_trial_complete: samplers do "
        "not avoid points that run out of memory (NamedTrialGenerator)"
    )


def test_a_search_that_should_be_restored_is_not_started_over():
    generator = ray_compat.NamedTrialGenerator(Points(), str, resuming=True)
    with pytest.raises(UserError, match="state of the search cannot be read"):
        generator.add_configurations([])


def test_a_restored_search_may_have_more_trials():
    generator = ray_compat.NamedTrialGenerator(Points(), str, resuming=True, trial_count=9)
    state = {**generator.get_state(), "counter": 4, "total_samples": 4, "finished": True}
    generator.set_state(state)
    assert not generator.is_finished() and generator.total_samples == 9, (
        "Ray's SearchGenerator has other names for its state: a resumed search does not start "
        "more trials (NamedTrialGenerator)"
    )


def test_no_trial_starts_after_the_end(run):
    ended = ray_compat.NamedTrialGenerator(Points(), str, ended=lambda: True)
    assert ended.create_trial_if_possible({}) is None and ended.is_finished()


def test_the_cores_are_known_before_ray_starts(run):
    assert ray_compat.core_count() == ray.cluster_resources()["CPU"], (
        "Ray counts cores in another way: resources that do not exist are refused only after Ray "
        "has started, or resources that exist are refused (core_count)"
    )


def test_the_configuration_of_a_trial_can_be_changed_before_it_is_restored(run, tmp_path):
    (state,) = run.folder.glob(ray_compat.EXPERIMENT_STATE)
    content = json.loads(state.read_text())
    trials = [
        [json.dumps({**json.loads(text), "status": status}), metadata]
        for (text, metadata), status in zip(
            content["trial_data"], ("PENDING", "TERMINATED"), strict=True
        )
    ]
    path = tmp_path / state.name
    path.write_text(json.dumps({**content, "trial_data": trials}))
    ray_compat.change_configs(path, lambda config: {**config, "run": "changed"})
    first, second = (
        Trial.from_json_state(record).config
        for record, _ in json.loads(path.read_text())["trial_data"]
    )
    assert first["run"] == "changed" and "run" not in second, (
        "Ray's experiment state has other names: a resumed search keeps its old resources "
        "(change_configs)"
    )


def test_the_process_is_prepared_in_its_main_thread(run):
    assert run.trials[0].last_result["prepared"], (
        "Ray does not mix `__mixins__` into the class that it makes of a function, or runs its "
        "setup in a thread: trials do not save when their machine sends SIGTERM (prepare_process)"
    )


def test_ray_tune_listens_to_the_stop_signal(run):
    assert callable(Witness.handler) and "ray" in Witness.handler.__module__, (
        f"Ray Tune does not take {ray_compat.STOP_SIGNAL!r} while it runs: Ctrl-C does not stop a "
        "search (tune/driver/signals.py)"
    )


def test_the_state_is_in_the_files_that_we_copy(run):
    folder = ray_compat.state_folder(run.trials[0])
    assert all(list(folder.glob(pattern)) for pattern in ray_compat.STATE_FILES), (
        f"Ray Tune does not write {ray_compat.STATE_FILES} to its staging folder any more: "
        "snapshots, from which a search resumes, are incomplete (tune/storage/snapshot.py)"
    )
    copied = {path for pattern in ray_compat.STATE_FILES for path in run.folder.glob(pattern)}
    others = {path for path in run.folder.glob("[!.]*") if path.is_file()} - copied
    assert not others, (
        f"Ray Tune also writes {sorted(path.name for path in others)} beside the trials: a restore "
        "may need it, and snapshots lack it (STATE_FILES)"
    )


def test_the_state_says_which_trials_have_terminated(run):
    (state,) = ray_compat.state_folder(run.trials[0]).glob(ray_compat.EXPERIMENT_STATE)
    assert ray_compat.terminated_trials(state) == {"00000"}, (
        "Ray Tune's state has another form: checkpoints of trials that have ended stay on the disk "
        "(terminated_trials)"
    )


def test_ray_adds_only_keys_that_we_know(run):
    added = set(run.trials[0].last_result) - {"value", "prepared"} - ray_compat.RESULT_KEYS
    assert not added - {"config", "experiment_tag", "trial_id"}, (
        f"Ray adds {sorted(added)} to results now: W&B gets them as if they were metrics "
        "(RESULT_KEYS)"
    )


def test_failures_are_counted_where_we_reset_them(run):
    trial = run.trials[1]
    assert trial.num_failures == 1
    ray_compat.set_failure_count(trial, 0)
    assert trial.num_failures == 0, (
        "Ray counts a trial's failures elsewhere now: a long trial on spot machines is given up "
        "after five of them in all (set_failure_count)"
    )


def test_the_last_failure_is_in_the_error_file(run):
    text = ray_compat.last_failure(run.trials[1])
    assert text.startswith("1 ") and text.endswith("ValueError: the second trial fails"), (
        f"Ray writes a trial's error file otherwise ({text[:80]!r} ...): the reason why a trial "
        "failed is not shown (last_failure)"
    )
    assert ray_compat.last_failure(run.trials[0]) == ""


def test_a_trials_resources_are_known(run):
    reserved = run.trials[0].placement_group_factory
    assert (
        reserved.required_resources == {"CPU": 1} and ray_compat.trial_gpus(run.trials[0]) == 0
    ), (
        "Ray's Trial.placement_group_factory is another thing now: GPU-hours are not counted "
        "(trial_gpus)"
    )


def test_a_wrapped_searchers_state_is_kept(tmp_path):
    class Wrapper(Points):
        """What Ray knows for a wrapper: a searcher in `searcher`."""

        def __init__(self) -> None:
            super().__init__()
            self.searcher = Points()
            self.state = {"lengths": {}}

        def get_state(self):
            return self.state

        def set_state(self, state):
            self.state = state

    wrapper, name = Wrapper(), lambda trial: trial.trial_id
    wrapper.state = {"lengths": {"00000": 1.0}}
    ray_compat.NamedTrialGenerator(wrapper, name).save_to_dir(str(tmp_path), "1")
    restored = Wrapper()
    ray_compat.NamedTrialGenerator(restored, name).restore_from_dir(str(tmp_path))
    assert restored.state == wrapper.state, (
        "Ray does not keep the state of a searcher that has another one in `searcher`: a resumed "
        "search with a budget in kimg counts running trials twice (tune/driver/budget.py)"
    )


# Optuna


def open_study(journal: Path) -> optuna.Study:
    storage = optuna_compat.open_journal(journal)
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


def test_a_shorter_journal_is_the_study_as_it_was(tmp_path):
    journal = tmp_path / "study.journal"
    study = open_study(journal)
    study.ask().set_user_attr("first", True)
    size = journal.stat().st_size
    study.tell(study.ask(), 1.0)
    optuna_compat.cut_journal(journal, size)
    (trial,) = open_study(journal).get_trials()
    assert trial.user_attrs == {"first": True} and journal.read_bytes().endswith(b"\n"), (
        "Optuna's journal is no longer a file of lines that only grows: a resumed search cannot "
        "forget trials that its state does not know (cut_journal)"
    )


def test_a_running_trial_is_found_again(tmp_path):
    number = open_study(tmp_path / "study.journal").ask().number
    study = open_study(tmp_path / "study.journal")
    optuna_compat.running_trial(study, number).report(3.0, step=1)
    assert study.get_trials()[number].intermediate_values == {1: 3.0}, (
        "optuna.Trial cannot be made of a storage's id any more: intermediate values of trials are "
        "lost to the sampler (running_trial)"
    )


def test_a_killed_process_leaves_the_lock_that_we_remove(tmp_path):
    from optuna.storages.journal import JournalFileSymlinkLock

    journal = tmp_path / "study.journal"
    open_study(journal)
    assert JournalFileSymlinkLock(str(journal)).acquire()
    optuna_compat.unlock_journal(journal)
    assert [path.name for path in tmp_path.iterdir()] == ["study.journal"], (
        "Optuna locks its journal with another file: a search that is resumed after a kill waits "
        "30 seconds for it (unlock_journal)"
    )


# W&B


@pytest.mark.parametrize("name", wandb_compat.SETTINGS)
def test_wandb_knows_the_setting(name):
    assert name in wandb.Settings.model_fields, (
        f"W&B {wandb.__version__} has no setting {name} any more: see SETTINGS in "
        "tune/wandb/compat.py for what it was to do"
    )


def test_a_runs_folder_is_named_by_how_it_was_started(tmp_path):
    run = wandb.init(
        mode="offline", dir=str(tmp_path), project="p", settings=wandb_compat.settings()
    )
    run.log({"value": 1.0}, step=3)
    assert run.offline and run.step in (3, 4)
    run.finish()
    found = wandb_compat.run_folders(tmp_path, wandb_compat.OFFLINE)
    assert found == [wandb_compat.run_folder(run)] and list(found[0].glob("*.wandb")), (
        "W&B keeps an offline run elsewhere than in wandb/offline-run-*: the command that uploads "
        "it is wrong (run_folder, run_folders)"
    )
    assert not wandb_compat.run_folders(tmp_path, wandb_compat.ONLINE)


@pytest.mark.parametrize("host", ["api.wandb.ai", "example.com"])
def test_a_login_is_found_where_wandb_finds_it(host, tmp_path, monkeypatch):
    from wandb.sdk.lib import wbauth

    path = tmp_path / "netrc"
    path.write_text(f"machine {host}\n  login user\n  password {'k' * 40}\n")
    path.chmod(0o600)
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(path))
    theirs = wbauth.read_netrc_auth(host="https://api.wandb.ai") is not None
    assert wandb_compat.logged_in(os.environ) == theirs == (host == "api.wandb.ai"), (
        "W&B looks for its login elsewhere than in netrc: --wandb auto chooses the wrong mode "
        "(logged_in)"
    )


# PyTorch


def test_lists_of_tensors_are_changed_in_place():
    tensors = [torch.zeros(2), torch.ones(3)]
    torch_compat.add_each_(tensors, [torch.ones(2), torch.ones(3)])
    torch_compat.move_each_(tensors, [torch.zeros(2), torch.zeros(3)], torch.tensor(0.25))
    copies = [torch.empty(2), torch.empty(3)]
    torch_compat.copy_each_(copies, tensors)
    norms = torch_compat.norm_of_each(copies)
    assert torch.allclose(norms, torch.stack([tensor.norm() for tensor in tensors]))
    assert torch.equal(tensors[0], torch.full((2,), 0.75)), "torch._foreach_* do otherwise now"
    assert torch.equal(tensors[1], torch.full((3,), 1.5)), "torch._foreach_* do otherwise now"


def test_the_processor_tells_whether_it_multiplies_bf16():
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        assert hasattr(torch.cpu, name), (
            f"PyTorch {torch.__version__} has no torch.cpu.{name} any more: train.precision auto "
            "cannot choose bfloat16 on a CPU (torch_compat.py)"
        )
    if hasattr(torch.cpu, "get_capabilities"):
        public = torch.cpu.get_capabilities()
        known = public.get("avx512_bf16", False) or public.get("amx_tile", False)
        assert torch_compat.cpu_multiplies_bf16() == bool(known)
