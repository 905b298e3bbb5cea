"""InsGen and FakeCLR: the loss, the queue and the slow copy of D, against slow obvious versions."""

from __future__ import annotations

import collections
import math
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from steps import draw_turn, take_step
from torch import Tensor

from fastgan_ray.config.run_config import RunConfig
from fastgan_ray.errors import UserError
from fastgan_ray.models import build_discriminator
from fastgan_ray.search.cost.estimate import gflop_per_image, parameter_counts
from fastgan_ray.search.cost.memory import training_gb
from fastgan_ray.train import checkpoint, instances, self_supervision, step, views
from fastgan_ray.train.initial_weights import read_source, start_from
from fastgan_ray.train.instances import Queue
from fastgan_ray.train.losses import LOSSES
from fastgan_ray.train.perceptual import DISTANCES
from fastgan_ray.train.state import TrainState, new_state

CPU = torch.device("cpu")
L1 = DISTANCES["l1"](CPU)
# Without spectral normalisation, another pass does not change D.
PLAIN = {"model.spectral_norm": False, "model.self_supervision": "insgen"}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(seed: int = 1, count: int = 4) -> Tensor:
    return torch.rand((count, 3, 32, 32), generator=rng(seed)) * 2 - 1


def start(count: int = 8, **changes: object) -> tuple[RunConfig, TrainState]:
    settings = tiny.config(**{**PLAIN, **changes})
    return settings, new_state(settings, count, CPU)


def unit(count: int, seed: int, length: int = 5) -> Tensor:
    vectors = torch.randn(count, length, generator=rng(seed), dtype=torch.float64)
    return vectors / vectors.norm(dim=1, keepdim=True)


def slow_loss(
    queries: Tensor, keys: Tensor, known: list[tuple[Tensor, float]], temperature: float
) -> float:
    """The loss by loops; `known` has the queue's keys, each with its penalty."""
    total = 0.0
    for query, key in zip(queries.tolist(), keys.tolist(), strict=True):
        right = sum(a * b for a, b in zip(query, key, strict=True)) / temperature
        others = [
            sum(a * b for a, b in zip(query, other.tolist(), strict=True)) / temperature - penalty
            for other, penalty in known
        ]
        total -= right - math.log(math.exp(right) + sum(map(math.exp, others)))
    return total / len(queries)


class TestLoss:
    @pytest.mark.parametrize("count", [0, 3, 7, 8])
    @pytest.mark.parametrize("factor", [None, 0.0, 2.5])
    def test_by_loops(self, count, factor):
        queries, keys, stored = unit(3, 1), unit(3, 2), unit(8, 3)
        stored[: 8 - count] = 0  # empty
        ages = [1, 1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 0, 0]  # the oldest first, batches of 2
        known = [(key, (factor or 0) * age) for key, age in zip(stored, ages, strict=True)]
        penalties = None if factor is None else factor * instances.ages_of(8, 2)
        found = instances.loss(queries, keys, Queue(stored, torch.tensor(count)), 0.2, penalties)
        expected = slow_loss(queries, keys, known[8 - count :], 0.2)
        assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-12)

    def test_the_newest_counts_fully_and_the_oldest_by_the_factor(self):
        ages = instances.ages_of(12, 3)
        assert ages.tolist() == pytest.approx([1] * 3 + [2 / 3] * 3 + [1 / 3] * 3 + [0] * 3)
        query = torch.tensor([[1.0, 0.0]])
        for place, counts in ((11, 1.0), (0, math.exp(-2))):
            # One other key, at a right angle: its exponential is 1 times its factor.
            keys = torch.tensor([[0.0, 1.0]]).repeat(12, 1)
            penalties = torch.full((12,), torch.inf)
            penalties[place] = 2 * ages[place]
            queue = Queue(keys, torch.tensor(12))
            found = instances.loss(query, query, queue, 0.5, penalties)
            assert float(found) == pytest.approx(math.log(1 + counts / math.exp(2)), rel=1e-5)

    def test_an_empty_queue_gives_zero_and_no_gradient(self):
        queries = unit(2, 1).requires_grad_()
        queue = Queue(torch.zeros(4, 5), torch.tensor(0))
        found = instances.loss(queries, unit(2, 2), queue, 0.2, instances.ages_of(4, 1))
        found.backward()
        assert float(found.detach()) == 0 and not bool(queries.grad.any())


class TestQueue:
    @pytest.mark.parametrize(
        ("count", "batch", "share", "length"),
        [
            (50, 8, 0.05, 32),  # 3 keys would be too few
            (640, 8, 0.05, 32),
            (641, 8, 0.05, 40),  # whole batches
            (1000, 8, 0.1, 104),
            (960, 8, 0.05, 48),
            (5, 4, 1.0, 16),
            (100, 1, 0.05, 5),
        ],
    )
    def test_its_length(self, count, batch, share, length):
        changes = {"train.batch_size": batch, "train.insgen_queue": share}
        assert instances.queue_length(tiny.config(**{**PLAIN, **changes}), count) == length

    def test_first_in_first_out(self):
        _, state = start(**{"train.batch_size": 3})
        assert state.instances is not None
        queue = state.instances.queues["fake"]
        known: collections.deque[int] = collections.deque(maxlen=12)
        assert len(queue.keys) == 12
        for number in range(0, 30, 3):
            new = [number, number + 1, number + 2]
            rows = torch.tensor(new, dtype=torch.float32)[:, None].expand(-1, 128)
            instances.push(state.instances, {"fake": rows})
            known += new
            assert int(queue.count) == len(known)
            assert queue.keys[12 - len(known) :, 5].tolist() == list(known)
        assert not bool(state.instances.queues["real"].count)

    def test_a_step_s_keys_enter_after_the_losses_that_use_them(self):
        settings, state = start(**{"train.d_steps": 2, "train.batch_size": 4})
        assert state.instances is not None
        queues = state.instances.queues
        counts = []
        loss, push = instances.loss, instances.push

        def seen_loss(queries: Tensor, keys: Tensor, queue: Queue, *others: Any) -> Tensor:
            counts.append(int(queue.count))
            assert not bool((queue.keys == keys[:1]).all(dim=1).any())
            return loss(queries, keys, queue, *others)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instances, "loss", seen_loss)
            patch.setattr(instances, "push", lambda *given: counts.append(-1) or push(*given))
            take_step(state, [pictures(1), pictures(2)], settings, L1)
        # Fake and real in each turn of D, fake in G's step.
        assert counts == [0, 0, -1, 4, 4, 4, -1]
        for queue in queues.values():
            lengths = queue.keys[-8:].norm(dim=1)
            torch.testing.assert_close(lengths, torch.ones(8))


class TestSlowCopy:
    @pytest.mark.parametrize("as_tensor", [False, True])
    def test_it_follows_d(self, as_tensor):
        _, state = start(**{"model.d_norm": "chain"})
        assert state.instances is not None
        before = {n: w.clone() for n, w in state.instances.network.named_parameters()}
        weights = dict(state.discriminator.named_parameters())
        assert all(torch.equal(before[name], weight) for name, weight in weights.items())
        with torch.no_grad():
            for weight in weights.values():
                weight.add_(torch.randn(weight.shape, generator=rng()))
            state.discriminator.chain.p.fill_(0.3)
        momentum = torch.tensor(0.9) if as_tensor else 0.9
        instances.follow(state.instances, state.discriminator, momentum)
        for name, copied in state.instances.network.named_parameters():
            expected = 0.9 * before[name] + 0.1 * weights[name]
            torch.testing.assert_close(copied, expected.detach(), msg=name)
            assert not copied.requires_grad
        assert float(state.instances.network.chain.p) == pytest.approx(0.3)

    def test_each_turn_of_d_moves_it_once(self):
        settings, state = start(**{"train.insgen_momentum": 0.75, "train.d_steps": 2})
        assert state.instances is not None
        (name, weight), *_ = state.discriminator.named_parameters()
        copied = dict(state.instances.network.named_parameters())[name]
        history, follow = [copied.clone()], instances.follow

        def seen(*given: Any) -> None:
            follow(*given)
            expected = 0.75 * history[-1] + 0.25 * weight
            torch.testing.assert_close(copied, expected.detach())
            history.append(copied.clone())

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(instances, "follow", seen)
            take_step(state, [pictures(1), pictures(2)], settings, L1)
        assert len(history) == 3 and not torch.equal(history[1], history[2])

    def test_it_starts_from_the_given_weights(self, tmp_path):
        settings, state = start()
        take_step(state, [pictures()], settings, L1)
        checkpoint.save(tmp_path / "run" / "checkpoint-last", state, settings, {"kimg": 1})
        changed, fresh = start(
            **{"train.seed": 7, "train.init_from": str(tmp_path / "run" / "checkpoint-last")}
        )
        start_from(fresh, read_source(changed.train), changed)
        assert fresh.instances is not None
        given = state.discriminator.state_dict()
        for name, value in fresh.instances.network.state_dict().items():
            assert torch.equal(value, given[name]), name


class TestSteps:
    def slow_terms(
        self, settings: RunConfig, state: TrainState, seen: views.Views
    ) -> dict[str, float]:
        """D's losses of both kinds, with the queue of the state."""
        assert state.instances is not None
        terms = {}
        for kind, images in (("real", seen.real), ("fake", seen.fake_for_d)):
            if kind not in seen.keys:
                continue
            with torch.no_grad():
                pooled = state.discriminator.trunk(images[0]).flatten(2).mean(2)
                head = state.discriminator.instance_heads[kind]
                hidden = (pooled @ head[2].weight.T + head[2].bias).clamp(min=0)
                embedded = hidden @ head[4].weight.T + head[4].bias
            queue = state.instances.queues[kind]
            count = int(queue.count)
            used = queue.keys[len(queue.keys) - count :]
            factor = 1.5 if settings.model.task == "fakeclr" else 0.0
            batches = len(queue.keys) // 4
            # How many batches ago, of as many as there can be.
            ages = [((count - 1 - i) // 4) / (batches - 1) for i in range(count)]
            known = [(key, factor * age) for key, age in zip(used, ages, strict=True)]
            queries = torch.stack([row / row.norm() for row in embedded])
            terms[kind] = slow_loss(queries, seen.keys[kind], known, 0.3)
        return terms

    @pytest.mark.parametrize("kind", ["insgen", "fakeclr"])
    def test_the_losses_of_d_and_g(self, kind):
        changes: dict[str, object] = {"model.self_supervision": kind, "train.insgen_g_weight": 0.4}
        changes |= {"train.insgen_temperature": 0.3, "train.insgen_d_fake_weight": 0.7}
        if kind == "insgen":
            changes["train.insgen_d_real_weight"] = 0.6
        else:
            changes["train.insgen_forgetting"] = 1.5
        settings, state = start(**changes)
        for seed in range(3):
            take_step(state, [pictures(seed)], settings, L1)
        turn = draw_turn(state, settings)
        seen = views.views_of(state, pictures(5), turn, settings, with_graph=True)
        assert set(seen.keys) == ({"fake", "real"} if kind == "insgen" else {"fake"})
        expected = self.slow_terms(settings, state, seen)
        total, parts = step.discriminator_loss(state, seen, turn, False, settings, L1)
        for name, value in expected.items():
            assert parts[f"loss/insgen_{name}"].item() == pytest.approx(value, rel=1e-4)
        weighted = 0.7 * expected["fake"] + 0.6 * expected.get("real", 0.0)
        assert total.item() == pytest.approx(parts["loss/d"].item() + weighted, rel=1e-4)
        g_loss = step.generator_loss(state, seen, settings)
        plain = LOSSES["hinge"].generator(state.discriminator(*seen.fake)[0], None)
        # Without ANDA, G is trained on the same pictures as D.
        assert (g_loss - plain).item() == pytest.approx(0.4 * expected["fake"], rel=1e-3)
        (g_loss - plain).backward()
        assert any(bool(weight.grad.any()) for weight in state.generator.parameters())

    def test_keys_are_of_a_second_view(self, monkeypatch):
        settings, state = start(**{"train.insgen_noise": 0.5, "augment.policy": "color"})
        turn = draw_turn(state, settings)
        (noisy,) = turn.key_latents
        assert 0.2 < float((noisy - turn.latents).std()) < 0.8
        assert set(turn.key_draws) == {"fake", "real"}
        shown: dict[str, Tensor] = {}
        embed = instances.key_of
        monkeypatch.setattr(
            instances, "key_of", lambda s, x, kind: embed(s, shown.setdefault(kind, x), kind)
        )
        seen = views.views_of(state, pictures(), turn, settings, with_graph=True)
        plain = pictures()
        (second,) = views.augmented([plain], turn.key_draws["real"], state.ada.p)
        assert torch.equal(shown["real"], second)
        assert not torch.allclose(shown["real"], seen.real[0])
        assert shown["fake"].shape == seen.fake[0].shape
        assert not torch.allclose(shown["fake"], seen.fake[0])
        assert not any(key.requires_grad for key in seen.keys.values())

    def test_without_g_s_weight_g_has_no_term(self):
        settings, state = start(**{"train.insgen_g_weight": 0.0})
        turn = draw_turn(state, settings)
        seen = views.views_of(state, pictures(), turn, settings, with_graph=True)
        assert self_supervision.g_term(state, seen, [], settings) is None

    def test_d_sees_no_picture_twice(self, monkeypatch):
        settings, state = start()
        trunk, seen = state.discriminator.trunk, []
        monkeypatch.setattr(
            state.discriminator, "trunk", lambda full: seen.append(len(full)) or trunk(full)
        )
        take_step(state, [pictures()], settings, L1)
        assert seen == []

    def test_pictures_are_learnt_to_be_told_apart(self):
        """D learns to find the key of a new picture among 32 others, whose chance is log 33."""
        changes = {"train.lr_d": 2e-3, "train.batch_size": 8, "augment.policy": ""}
        changes |= {"train.insgen_momentum": 0.9, "model.self_supervision": "fakeclr"}
        settings, state = start(**{**changes, "model.g_noise": False})
        batch, found = pictures(count=8), []
        for _ in range(50):
            turn = draw_turn(state, settings)
            seen = views.views_of(state, batch, turn, settings, with_graph=False)
            features = [state.discriminator.trunk(x[0]) for x in (seen.real, seen.fake_for_d)]
            terms = self_supervision.d_terms(state, seen, features, settings)
            loss = terms["insgen_fake"][1]
            state.optimizer_d.zero_grad()
            loss.backward()
            state.optimizer_d.step()
            self_supervision.end_turn(state, seen, settings)
            found.append(loss.item())
        assert sum(found[-10:]) / 10 < 0.7 * math.log(33)


class TestCheckpoint:
    def test_it_has_the_copy_and_the_queues(self, tmp_path):
        settings, state = start()
        for seed in range(2):
            take_step(state, [pictures(seed)], settings, L1)
        checkpoint.save(tmp_path / "c", state, settings, {})
        _, fresh = start(**{"train.seed": 3})
        checkpoint.restore(tmp_path / "c", fresh, settings)
        assert state.instances is not None and fresh.instances is not None
        pairs = zip(
            instances.changing_tensors(state.instances),
            instances.changing_tensors(fresh.instances),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs)
        assert int(fresh.instances.queues["real"].count) == 8

    def test_resuming_after_the_queue_is_full_changes_nothing(self, tmp_path):
        settings, state = start(**{"model.self_supervision": "ae_fakeclr"})
        for seed in range(6):
            take_step(state, [pictures(seed)], settings, L1)
        checkpoint.save(tmp_path / "c", state, settings, {})
        other = new_state(settings, 8, CPU)
        checkpoint.restore(tmp_path / "c", other, settings)
        for seed in range(6, 9):
            first, second = (take_step(x, [pictures(seed)], settings, L1) for x in (state, other))
            assert first == second
        for name, value in state.discriminator.state_dict().items():
            assert torch.equal(value, other.discriminator.state_dict()[name]), name

    def test_a_queue_of_another_length_is_refused(self, tmp_path: Path):
        settings, state = start()
        checkpoint.save(tmp_path / "c", state, settings, {})
        queues = load_file(tmp_path / "c" / "queues.safetensors")
        save_file(
            {name: tensor[:5] if tensor.dim() else tensor for name, tensor in queues.items()},
            tmp_path / "c" / "queues.safetensors",
        )
        with pytest.raises(UserError, match=r"damaged \(ValueError: fake.keys must have shape"):
            checkpoint.restore(tmp_path / "c", start()[1], settings)

    def test_without_the_task_there_are_no_files(self, tmp_path: Path):
        settings, state = start(**{"model.self_supervision": "ae"})
        checkpoint.save(tmp_path / "c", state, settings, {})
        names = {path.stem for path in (tmp_path / "c").iterdir()}
        assert not names & {"key_network", "queues"}
        assert state.instances is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.architecture": "dcgan", "model.dcgan_depth": 3, "model.dcgan_width": 4},
        {"model.architecture": "sngan", "model.resolution": 64},
        {"model.architecture": "stylegan2", "model.ngf": 1, "model.ndf": 1},
    ],
)
def test_the_kept_features_are_those_of_the_trunk(changes):
    config = tiny.config(**{**PLAIN, **changes}).model
    network = build_discriminator(config).eval()
    full = torch.rand(2, 3, *config.size, generator=rng()) * 2 - 1
    with network.keeping_features() as kept:
        network(full, full[:, :, ::2, ::2])
    torch.testing.assert_close(kept[0], network.trunk(full))
    embedded = network.embed_instances(kept[0], "real")
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(2))
    assert embedded.shape == (2, 128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train.insgen_noise": 0.2},
            r"insgen_noise must be 0\.15 unless model\.self_supervision is insgen, ae_insgen or "
            r"fakeclr, ae_fakeclr, because only these tasks use it \(got insgen_noise 0\.2",
        ),
        (
            {"model.self_supervision": "fakeclr", "train.insgen_d_real_weight": 0.5},
            "insgen_d_real_weight must be 1 unless model.self_supervision is insgen, ae_insgen, "
            "because only this task uses it",
        ),
        (
            {"model.self_supervision": "ae_insgen", "train.insgen_forgetting": 0.0},
            "insgen_forgetting must be 1 unless model.self_supervision is fakeclr",
        ),
        (
            {"model.self_supervision": "insgen", "augment.policy": "apa"},
            r"only if augment\.policy has an operation that changes a picture.*got policy \"apa\"",
        ),
        (
            {"model.self_supervision": "fakeclr", "model.discriminator": "projected"},
            "only if discriminator is architecture, because these tasks train the discriminator's",
        ),
        (
            {
                "model.self_supervision": "fakeclr",
                "train.insgen_queue": {
                    **{"from": 0.1, "to": 0.2, "over_kimg": 1.0, "shape": "linear"}
                },
            },
            "cannot change during a training: the number of earlier pictures is fixed",
        ),
    ],
)
def test_combinations_without_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny.config(**changes)


def test_estimates_count_the_copy_and_its_passes():
    none, fakeclr, insgen = (
        tiny.config(**{"model.self_supervision": kind, "model.resolution": 64})
        for kind in ("none", "fakeclr", "insgen")
    )
    costs = [gflop_per_image(config) for config in (none, fakeclr, insgen)]
    assert costs[0] < costs[1] < costs[2]
    counts = parameter_counts(none)
    added = 1e9 * (training_gb(insgen, False) - training_gb(none, False))
    assert 0 < added < 4 * sum(counts.values())
