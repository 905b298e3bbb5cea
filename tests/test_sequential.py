"""Comparisons whose seeds arrive one after another, against SciPy, and 2,000 simulated searches."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fastgan_ray.search.luck import NO_PRIOR, LuckPrior, prior_of
from fastgan_ray.search.sequential import Rules, decide, looks_one_by_one, shares

BASE = "default"
SEEDS = (1, 2, 3)
PRIOR = prior_of("fd_efficientnet_lite0")


def rules(looks=(1, 2, 3), prior=PRIOR, goal="minimize", **settings):
    seeds = range(1, looks[-1] + 1)
    return Rules(BASE, goal, tuple(seeds), looks, prior, **settings)


def values(**arms):
    """{arm: {seed: value}} of lists of values for the seeds 1, 2, ...; `base` is the baseline."""
    named = {BASE if name == "base" else name: listed for name, listed in arms.items()}
    return {name: dict(enumerate(listed, 1)) for name, listed in named.items()}


# --- the test ---


def test_without_a_prior_and_with_one_look_it_is_students_test():
    rng = np.random.default_rng(0)
    for count in (2, 3, 7):
        ours, theirs = np.exp(rng.normal(0, 0.1, count)), np.exp(rng.normal(0.2, 0.1, count))
        result = decide(values(base=theirs, a=ours), rules((count,), NO_PRIOR)).arms["a"]
        oracle = stats.ttest_ind(np.log(ours), np.log(theirs))
        low, high = oracle.confidence_interval(0.95)
        assert result.p == pytest.approx(oracle.pvalue)
        assert [result.low, result.high] == pytest.approx(
            [100 * math.expm1(low), 100 * math.expm1(high)]
        )
        ratio = stats.gmean(ours) / stats.gmean(theirs)
        assert result.change == pytest.approx(100 * (ratio - 1))


def test_values_that_are_not_positive_are_compared_as_they_are():
    ours, theirs = [-1.0, 2.0, 0.5], [4.0, 5.0, 6.5]
    result = decide(values(base=theirs, a=ours), rules((3,), PRIOR)).arms["a"]
    assert result.p == pytest.approx(stats.ttest_ind(ours, theirs).pvalue)
    assert result.change == pytest.approx(100 * (0.5 - 15.5 / 3) / (15.5 / 3))
    maximised = decide(values(base=theirs, a=ours), rules((3,), PRIOR, "maximize")).arms["a"]
    assert (result.verdict, maximised.verdict) == ("better", "worse")


def test_the_moderated_variance_against_its_formula():
    prior = LuckPrior(0.06, 4.0)
    ours, theirs = [20.0, 22.0], [30.0, 31.0]
    result = decide(values(base=theirs, a=ours), rules((2,), prior)).arms["a"]
    pooled = np.var(np.log(ours), ddof=1) + np.var(np.log(theirs), ddof=1)
    variance = (4 * 0.06**2 + pooled) / (4 + 2)
    t = np.mean(np.log(ours)) - np.mean(np.log(theirs))
    t /= math.sqrt(variance * (1 / 2 + 1 / 2))
    assert result.p == pytest.approx(2 * stats.t.sf(abs(t), 6))
    one = decide(values(base=[30.0], a=[20.0]), rules(prior=prior)).arms["a"]
    half = stats.t.ppf(0.975, 4) * 0.06 * math.sqrt(2)
    assert one.low == pytest.approx(100 * math.expm1(math.log(2 / 3) - half))


def test_the_chance_of_a_better_verdict_against_simulation():
    """An arm is dropped exactly if it is called better in less than a tenth of its futures."""
    rng, prior = np.random.default_rng(1), LuckPrior(0.06, 200.0)  # the luck is known
    kept = {}
    for gain in (0.0, 0.02, 0.04, 0.05, 0.06, 0.08, 0.12):
        first = values(base=[1.0], a=[math.exp(-gain)])
        kept[gain] = decide(first, rules(prior=prior)).arms["a"].verdict == ""
        effect = gain + rng.normal(0, 0.06 * math.sqrt(2), 40_000)
        means = (gain + 2 * effect + rng.normal(0, 0.06 * 2, 40_000)) / 3
        critical = stats.norm.ppf(1 - 0.05 * shares((1, 2, 3))[-1] / 2)
        chance = np.mean(means > critical * 0.06 * math.sqrt(2 / 3))
        if abs(chance - 0.1) > 0.01:
            assert kept[gain] == (chance > 0.1)
    assert set(kept.values()) == {True, False}


def test_the_error_probability_is_shared_by_the_looks():
    assert shares([1, 2, 3]) == pytest.approx([0, 0.3, 0.7])
    assert shares([1, 2]) == [0, 1] and shares([4]) == [1] and shares([1]) == [1]
    for looks in (looks_one_by_one(count) for count in range(1, 30)):
        assert sum(shares(looks)) == pytest.approx(1) and min(shares(looks)) >= 0


# --- symmetries ---


def random_values(rng, arms="abc", failures=0.0):
    listed = {
        name: [
            None if rng.random() < failures else float(math.exp(rng.normal(3 - 0.1 * index, 0.08)))
            for _ in SEEDS
        ]
        for index, name in enumerate([BASE, *arms])
    }
    return {name: dict(zip(SEEDS, of_arm, strict=True)) for name, of_arm in listed.items()}


@pytest.mark.parametrize("seed", range(20))
def test_neither_the_order_of_arms_nor_the_unit_matters(seed):
    table = random_values(np.random.default_rng(seed), failures=0.1)
    decision = decide(table, rules())
    for order in itertools.permutations(table):
        other = decide({name: table[name] for name in order}, rules())
        assert other.arms == decision.arms and not other.needed
    scaled = {
        name: {key: value and 7 * value for key, value in of_arm.items()}
        for name, of_arm in table.items()
    }
    for name, result in decide(scaled, rules()).arms.items():
        assert result.verdict == decision.arms[name].verdict
        assert result.change == pytest.approx(decision.arms[name].change)


@pytest.mark.parametrize("seed", range(10))
def test_the_goal_is_a_sign(seed):
    table = random_values(np.random.default_rng(seed))
    inverse = {
        name: {key: 1 / value for key, value in of_arm.items()} for name, of_arm in table.items()
    }
    lower, higher = decide(table, rules()), decide(inverse, rules(goal="maximize"))
    assert {name: (result.verdict, result.seeds) for name, result in lower.arms.items()} == {
        name: (result.verdict, result.seeds) for name, result in higher.arms.items()
    }


# --- one after another ---


def run(table, plan):
    """Train what is needed until nothing is; return the decision and the trainings in order."""
    known = {name: {} for name in table}
    trained = []
    while needed := decide(known, plan).needed:
        for arm, seed in needed:
            assert seed not in known[arm], "a training twice"
            known[arm][seed] = table[arm][seed]
            trained.append((arm, seed))
            # In the middle of a round nothing is decided that the whole round would not decide.
            assert set(decide(known, plan).needed) >= set(needed) - set(trained)
    return decide(known, plan), trained


@pytest.mark.parametrize("seed", range(20))
def test_the_trainings_that_have_ended_alone_decide(seed):
    table = random_values(np.random.default_rng(seed), failures=0.1)
    decision, trained = run(table, rules())
    for name, result in decide(table, rules()).arms.items():  # later seeds of dropped arms count
        known = decision.arms[name]  # in the estimate, but not in the decisions
        decided = (result.seeds, result.verdict, result.p, result.note)
        assert decided == (known.seeds, known.verdict, known.p, known.note)
    assert all(result.verdict for result in decision.arms.values())
    assert len(trained) <= 12 and trained[:4] == [(arm, 1) for arm in table]
    for name, result in decision.arms.items():
        assert max(seed for arm, seed in trained if arm == name) == result.seeds


def test_an_arm_that_is_no_better_is_dropped_after_its_first_seed():
    decision, trained = run(values(base=[20, 20, 20], a=[21, 10, 10], b=[22, 9, 9]), rules())
    assert len(trained) == 3
    assert decision.arms["a"].verdict == "not better" and decision.arms["a"].p is None
    note = 'dropped after 1 seed: the verdict "better" had become unlikely'
    assert decision.arms["a"].note == note


def test_one_seed_alone_calls_nothing_better():
    decision, trained = run(values(base=[90, 20, 21], a=[20, 20, 20]), rules())
    assert decision.arms["a"].verdict != "better" and decision.arms["a"].seeds > 1
    assert len(trained) > 2


def test_a_clear_winner_ends_the_confirmation_after_two_seeds():
    decision, trained = run(values(base=[30, 31, 9], a=[15, 16, 99], b=[24, 25, 1]), rules())
    assert decision.arms["a"].verdict == "better" and decision.arms["a"].seeds == 2
    assert "unlikely to become better than a" in decision.arms["b"].note
    assert len(trained) == 6


def test_a_negative_value_of_another_arm_withdraws_no_verdict():
    """A kernel distance below 0 has no logarithm, but the earlier tests had none."""
    known = values(base=[2.87, 3.19, 2.72], a=[1.66, 1.12], b=[1.71, 0.78])
    before = decide(known, rules()).arms["a"]
    assert (before.verdict, before.seeds) == ("better", 2)
    later = {**known, "b": {**known["b"], 3: -0.37}}
    assert decide(later, rules()).arms["a"] == before


def test_seeds_that_a_user_names_are_all_trained_before_the_only_look():
    decision, trained = run(values(base=[20, 20, 21], a=[29, 28, 30]), rules((3,)))
    assert len(trained) == 6 and decision.arms["a"].verdict == "worse"
    assert decision.arms["a"].note == ""


def test_failures_never_make_an_arm_better():
    lost = decide(values(base=[30, 31, 30], a=[15, None, 15]), rules()).arms["a"]
    assert (lost.verdict, lost.seeds) == ("no verdict", 2)
    assert "only the arm failed" in lost.note
    dropped = decide(values(base=[30, 31, 30], a=[None, 15, 15]), rules()).arms["a"]
    assert dropped.verdict == "no verdict" and dropped.seeds == 1
    assert "in 1 seed, only the arm failed" in dropped.note
    both = decide(values(base=[None] * 3, a=[None] * 3), rules()).arms["a"]
    assert both.verdict == "no verdict" and "too few trainings" in both.note
    rescued = decide(values(base=[None, 20, 20], a=[30, 32, 31]), rules((3,))).arms["a"]
    assert rescued.verdict == "no verdict" and "only the baseline failed" in rescued.note


def test_an_arm_that_cannot_be_compared_has_no_verdict_and_all_seeds():
    plan = rules(apart={"a": "measured otherwise"})
    decision, trained = run(values(base=[20, 20, 20], a=[1, 1, 1]), plan)
    assert decision.arms["a"].verdict == "no verdict" and len(trained) == 3
    assert decision.arms["a"].note == "measured otherwise"


def test_without_a_prior_one_seed_drops_nothing():
    decision, trained = run(values(base=[0.2, 0.2, 0.3], a=[0.1, 0.2, 0.2]), rules(prior=NO_PRIOR))
    assert decision.arms["a"].seeds > 1 and len(trained) >= 4


def test_a_prior_belongs_to_the_distances_whose_luck_was_measured():
    assert prior_of("fid5k_full") == prior_of("fd_dinov2_vitb14") == PRIOR
    assert prior_of("kid5k_full") == prior_of("kd_inception") != PRIOR
    assert prior_of("precision_k5") == prior_of("is5k") == NO_PRIOR


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="the baseline 'default' must be one of"):
        decide({"a": {}}, rules())
    with pytest.raises(ValueError, match="values must be finite"):
        decide(values(base=[1.0], a=[math.inf]), rules())


# --- simulated searches ---

SEARCHES = 2000
TRIALS = 16
LUCK = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape) / math.sqrt(3),
}


@pytest.mark.parametrize("luck", LUCK)
@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_of_2000_searches_without_a_better_trial_at_most_one_in_twenty_finds_one(factor, luck):
    """All trials are the default; the luckiest two are confirmed with new seeds."""
    rng = np.random.default_rng(7)
    false, cost = 0, 0
    for _ in range(SEARCHES):
        found = LUCK[luck](rng, TRIALS)
        top = np.argsort(found)[:2]  # says nothing of the new seeds
        logs = factor * PRIOR.sd * LUCK[luck](rng, (1 + len(top), 3))
        names = [BASE, *(f"trial {trial}" for trial in top)]
        table = {
            name: dict(zip(SEEDS, np.exp(3 + of_arm).tolist(), strict=True))
            for name, of_arm in zip(names, logs, strict=True)
        }
        decision = decide(table, rules())
        false += any(result.verdict == "better" for result in decision.arms.values())
        used = [result.seeds for result in decision.arms.values()]
        cost += sum(used) + max(used)
    binomial_error = 2 * math.sqrt(0.05 * 0.95 / SEARCHES)
    assert false / SEARCHES <= 0.05 + binomial_error
    assert cost / SEARCHES <= 0.75 * 9
