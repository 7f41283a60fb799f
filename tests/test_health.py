"""What check_health says of a history: each condition, its near miss, and that nothing in a history
makes it fail.
"""

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecard.recipe.file import load_recipe
from onecard.types import Problem, Rollout, Score, UserError, Verdict
from onecard.watch.alarm import LEVELS, MAY_STOP, Alarm
from onecard.watch.batch import format_paid, measure, most_paid, pass_at_g, signal_share
from onecard.watch.health import CHECKS, Watch, check_health
from onecard.watch.section import Health
from rewards.rules.correct import CorrectAnswer
from rewards.rules.format import TagCount, ThinkFormat
from rewards.scoring import Scored

pytestmark = pytest.mark.unit
PROBLEM = Problem("1", "q", "18")
SETTINGS = Health(flat_warn_steps=40, flat_alarm_steps=80, memory_settles=40)
Curve = float | None | Callable[[int], float | None]


def history(steps: int, **curves: Curve) -> list[dict[str, Any]]:
    """Lines of a run that learns: the reward rises, half of the groups have a signal. `curves`
    change that; `__` stands for `/`.
    """
    healthy: dict[str, Curve] = {
        "reward": lambda step: 0.2 + step / 100 + wobble(step) / 20,
        "reward_std": 0.4,
        "rewards/signal_share": 0.8,
        "kl": lambda step: 0.05 * step / steps,
        "entropy": lambda step: 1.5 - step / steps,
        "completions/clipped_ratio": 0.05,
        "answers/correct": lambda step: min(1.0, 0.1 + step / 100 + wobble(step) / 20),
        "rewards/format_paid": 0.9,
        "rewards/best": 1.25,
        "rewards/worst": 0.0,
        "rewards/pass@G": lambda step: min(1.0, 0.3 + step / 100 + wobble(step) / 20),
        "grad_norm": lambda step: 0.3 + 0.1 * wobble(step),
        "loss": 0.04,
        "adapter/lora_b_norm": lambda step: 0.01 * step,
        "memory/gib": lambda step: 2.0 + 0.1 * wobble(step),
    }
    wanted = healthy | {key.replace("__", "/"): curve for key, curve in curves.items()}
    return [
        {"step": step}
        | {key: curve(step) if callable(curve) else curve for key, curve in wanted.items()}
        for step in range(1, steps + 1)
    ]


def unknown(**curves: Curve) -> list[dict[str, Any]]:
    """A run whose problems have no right answers."""
    return history(60, answers__correct=None, rewards__pass_at_G=None, **curves)


def wobble(step: int) -> float:
    """Noise without chance, in [-1, 1]."""
    return (step * 7919 % 13 - 6) / 6


def dev(
    lines: list[dict[str, Any]], every: int, *accuracies: float, start: float | None = None
) -> list[dict[str, Any]]:
    """The same, with dev evaluations before step 1 (`start`) and every so many steps, each before
    its step's own line, as in a run.
    """
    found: list[dict[str, Any]] = (
        [] if start is None else [{"step": 0, "eval/tiny-dev/accuracy": start}]
    )
    for line in lines:
        number, rest = divmod(line["step"], every)
        if rest == 0 and number <= len(accuracies):
            found.append({"step": line["step"], "eval/tiny-dev/accuracy": accuracies[number - 1]})
        found.append(line)
    return found


def said(lines: list[dict[str, Any]], settings: Health = SETTINGS) -> dict[str, str]:
    """Name -> level of all that holds after the last line."""
    return {alarm.name: alarm.level for alarm in check_health(lines, settings)}


def test_a_run_that_learns_is_well() -> None:
    for steps in range(1, 120):
        assert said(history(steps)) == {}, steps
    assert check_health([], SETTINGS) == []


FLAT: Curve = lambda step: 0.2 + wobble(step) / 20  # noqa: E731
HACKED = history(40, answers__correct=0.3)  # the reward rises, right answers do not
CASES: list[tuple[str, str, list[dict[str, Any]], list[dict[str, Any]]]] = [
    # name, level, a history that raises it, a near miss
    ("reward_flat", "warn", history(40, reward=FLAT), history(39, reward=FLAT)),
    (
        "reward_flat",
        "alarm",
        history(80, reward=FLAT),
        history(80, reward=lambda step: 0.2 + step / 1000 + wobble(step) / 50),
    ),
    (
        "reward_flat",
        "warn",
        history(40, reward=0.5),
        history(40, reward=lambda step: 0.5 + (step > 20) * 1e-3),
    ),
    ("reward_flat", "warn", history(40, reward=lambda step: 0.5 - step / 100), history(40)),
    (
        "no_signal",
        "warn",
        history(25, rewards__signal_share=0.19),
        history(25, rewards__signal_share=0.21),
    ),
    (
        "no_signal",
        "alarm",
        history(20, rewards__signal_share=0.0),
        history(19, rewards__signal_share=0.0),
    ),
    (
        "reward_blind",
        "alarm",
        history(20, rewards__signal_share=0.0, answers__correct=0.3, **{"rewards/pass@G": 0.33}),
        # Each problem is always solved or never: then its completions may be paid alike.
        history(20, rewards__signal_share=0.0, answers__correct=0.3, **{"rewards/pass@G": 0.31}),
    ),
    (
        "reward_blind",
        "alarm",
        history(20, rewards__signal_share=0.0),
        history(20, rewards__signal_share=lambda step: 0.1 if step == 7 else 0.0),
    ),
    ("kl", "warn", history(9, kl=10.1), history(9, kl=9.9)),
    ("kl", "alarm", history(9, kl=20.1), history(9, kl=lambda step: 49.0 if step == 9 else 0.1)),
    (
        "entropy_collapse",
        "alarm",
        history(30, entropy=lambda step: 1.0 if step <= 5 else 0.04),
        history(30, entropy=lambda step: 1.0 if step <= 5 else 0.06),
    ),
    (
        "completions_cut",
        "alarm",
        history(5, completions__clipped_ratio=0.31),
        history(5, completions__clipped_ratio=0.29),
    ),
    (
        "format_unpaid",
        "alarm",
        history(20, rewards__format_paid=0.0),
        history(20, rewards__format_paid=lambda step: 0.01 if step == 7 else 0.0),
    ),
    (
        "format_unpaid",
        "alarm",
        history(20, rewards__format_paid=0.0),
        history(20, rewards__format_paid=0.0, answers__correct=0.0),
    ),
    (
        "loss_near_zero",
        "note",
        history(5, loss=lambda step: 0.005 * (-1) ** step),
        history(4, loss=0.0),
    ),
    (
        "loss_near_zero",
        "note",
        history(50, loss=lambda step: 0.0 if step <= 5 else 3.0),
        history(50, loss=lambda step: 3.0 * (step <= 5)),
    ),
    (
        "adapter_unchanged",
        "alarm",
        history(8, adapter__lora_b_norm=0.0),
        history(8, adapter__lora_b_norm=lambda step: 1e-12 * step),
    ),
    (
        "adapter_unchanged",
        "alarm",
        history(9, adapter__lora_b_norm=lambda step: min(step, 5)),
        history(8, adapter__lora_b_norm=lambda step: min(step, 5)),
    ),
    (
        "grad_spikes",
        "warn",
        history(20, grad_norm=lambda step: 3.1 if step == 12 else 0.3),
        history(20, grad_norm=lambda step: 2.9 if step == 12 else 0.3),
    ),
    (
        "grad_spikes",
        "alarm",
        history(20, grad_norm=lambda step: 5.0 if step % 6 == 0 else 0.3),
        history(20, grad_norm=lambda step: 0.9 if step % 6 == 0 else 0.01),
    ),
    (
        "reward_model_hacked",
        "alarm",
        history(40, reward_model__mean=lambda step: 0.1 * step, answers__correct=0.3),
        history(39, reward_model__mean=lambda step: 0.1 * step, answers__correct=0.3),
    ),
    # Nobody knows right answers: no other reward pays more. Alone it is held against nothing.
    (
        "reward_model_hacked",
        "alarm",
        unknown(reward_model__mean=lambda s: s, rewards__polite__mean=0.5),
        unknown(reward_model__mean=lambda s: s, rewards__polite__mean=lambda s: 0.01 * s),
    ),
    (
        "reward_model_hacked",
        "alarm",
        unknown(reward_model__mean=lambda s: s, rewards__polite__mean=0.5),
        unknown(reward_model__mean=lambda s: s, rewards__reward_model__mean=0.5),
    ),
    (
        "reward_model_hacked",
        "alarm",
        history(
            60, reward_model__mean=lambda step: step, answers__correct=lambda s: 0.9 - 0.01 * s
        ),
        # What it likes is right.
        history(60, reward_model__mean=lambda s: s, answers__correct=lambda s: 0.01 * s),
    ),
    (
        "accuracy_falls",
        "alarm",
        dev(history(40, reward=FLAT), 10, 0.6, 0.6, 0.45, 0.45),
        dev(history(40, reward=FLAT), 10, 0.6, 0.6, 0.52, 0.5),
    ),
    (
        "accuracy_falls",
        "alarm",
        dev(history(30, reward=FLAT), 10, 0.6, 0.5, 0.4),
        dev(history(29, reward=FLAT), 10, 0.6, 0.5, 0.4),
    ),
    # As where the first steps undo what the model could do before them.
    (
        "accuracy_falls",
        "alarm",
        dev(history(20, reward=FLAT), 10, 0.3, 0.3, start=0.6),
        dev(history(20, reward=FLAT), 10, 0.3, 0.3),
    ),
    (
        "reward_hacking",
        "alarm",
        dev(HACKED, 10, 0.3, 0.3, 0.3, 0.3, start=0.6),
        dev(HACKED, 10, 0.6, 0.6, 0.6, 0.6, start=0.6),
    ),
    (
        "reward_hacking",
        "alarm",
        dev(HACKED, 10, 0.6, 0.6, 0.45, 0.45),
        dev(HACKED, 10, 0.6, 0.6, 0.7, 0.4),
    ),
    (
        "overfitting",
        "alarm",
        dev(history(40), 10, 0.3, 0.3, 0.3, 0.3, start=0.6),
        dev(HACKED, 10, 0.3, 0.3, 0.3, 0.3, start=0.6),
    ),
    (
        "overfitting",
        "alarm",
        dev(history(40), 10, 0.6, 0.6, 0.45, 0.45),
        dev(history(40), 10, 0.6, 0.6, 0.7, 0.4),
    ),
    (
        "pass_at_g_flat",
        "warn",
        history(40, **{"rewards/pass@G": FLAT}),
        history(40, **{"rewards/pass@G": 0.95}),
    ),
    (
        "pass_at_g_flat",
        "alarm",
        history(80, **{"rewards/pass@G": FLAT}),
        history(39, **{"rewards/pass@G": FLAT}),
    ),
    (
        "memory_climbs",
        "alarm",
        history(80, memory__gib=lambda step: 2 + 0.003 * step),
        history(80, memory__gib=lambda step: 2 + 0.003 * min(step, 65)),
    ),
    (
        "memory_climbs",
        "alarm",
        history(120, memory__gib=lambda step: 2 + step / 20 + wobble(step) / 20),
        history(79, memory__gib=lambda step: 2 + step / 20),
    ),
    (
        "memory_climbs",
        "alarm",
        history(80, memory__gib=lambda step: 1.1 + step / 80),
        history(80, memory__gib=lambda step: 1.1 + min(step, 31) / 80),
    ),
    (
        "sampling_drift",
        "alarm",
        history(3, sampling__drift=0.6),
        history(9, sampling__drift=lambda step: 0.02 if step % 3 == 0 else 0.9),
    ),
    # As where the engine was not handed the adapter (LOG.md), and as where 16 bit rounds: more, but
    # not much more, with what is learned.
    (
        "sampling_drift",
        "alarm",
        history(9, sampling__drift=lambda step: 0.001 if step < 3 else 0.17),
        history(9, sampling__drift=lambda step: 0.001 if step < 3 else 0.04),
    ),
    (
        "sampling_drift",
        "alarm",
        history(9, sampling__drift=lambda step: 0.02 if step < 3 else 0.12),
        history(9, sampling__drift=lambda step: 0.02 if step < 3 else 0.08),
    ),
    (
        "tokens_rejected",
        "alarm",
        history(3, sampling__rejected=0.4),
        history(9, sampling__rejected=lambda step: 0.02 if step % 3 == 0 else 0.9),
    ),
    (
        "skipped_steps",
        "alarm",
        history(12, steps__skipped_in_a_row=lambda step: step - 2),
        history(11, steps__skipped_in_a_row=lambda step: step - 2),
    ),
]


@pytest.mark.parametrize(
    ("name", "level", "ill", "well"),
    CASES,
    ids=[f"{name}-{number}" for number, (name, *_) in enumerate(CASES)],
)
def test_each_condition_and_its_near_miss(
    name: str, level: str, ill: list[dict[str, Any]], well: list[dict[str, Any]]
) -> None:
    found = said(ill)
    assert found[name] == level
    assert name not in said(well)


def test_every_condition_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(CHECKS)


def test_no_condition_drags_another_along() -> None:
    """What is told beside a condition is about the same trouble, or nothing."""
    related = {"reward_flat", "pass_at_g_flat", "accuracy_falls", "no_signal", "reward_blind"}
    for name, _, ill, _ in CASES:
        assert set(said(ill)) - {name} <= related, name


def one(lines: list[dict[str, Any]], name: str) -> Alarm:
    return next(alarm for alarm in check_health(lines, SETTINGS) if alarm.name == name)


@pytest.mark.parametrize(
    ("right", "told"),
    [
        (0.97, "Too easy"),
        (0.02, "Too hard"),
        (0.5, "Some problems are too easy and the others too hard"),
    ],
)
def test_no_signal_says_whether_the_problems_are_too_easy_or_too_hard(
    right: float, told: str
) -> None:
    assert (
        told
        in one(
            history(
                20,
                rewards__signal_share=0.0,
                answers__correct=right,
                **{"rewards/pass@G": right},
            ),
            "no_signal",
        ).advice
    )


@pytest.mark.parametrize(("reward", "told"), [(0.25, "Too easy"), (0.01, "Too hard")])
def test_no_signal_without_correct_answer_looks_at_what_completions_have_earned(
    reward: float, told: str
) -> None:
    lines = history(
        20,
        rewards__signal_share=0.0,
        reward=reward,
        **{"rewards/best": 0.25, "answers/correct": None},
    )
    assert told in one(lines, "no_signal").advice


def test_pass_at_g_says_whether_single_answers_got_better() -> None:
    flat = history(40, **{"rewards/pass@G": FLAT})
    assert "the best of a group does not" in one(flat, "pass_at_g_flat").advice
    neither = history(40, **{"rewards/pass@G": FLAT, "answers/correct": FLAT})
    assert "Neither" in one(neither, "pass_at_g_flat").advice


def test_what_rises_says_why_dev_accuracy_falls() -> None:
    falls = (0.6, 0.6, 0.45, 0.4)
    names = {"reward_hacking", "accuracy_falls", "overfitting"}
    assert {"overfitting"} == set(said(dev(history(40), 10, *falls))) & names
    assert {"reward_hacking"} == set(said(dev(HACKED, 10, *falls))) & names
    assert {"accuracy_falls"} == set(said(dev(history(40, reward=FLAT), 10, *falls))) & names


def test_an_alarm_has_its_numbers_in_one_line() -> None:
    alarm = one(history(9, kl=12.3), "kl")
    assert (round(alarm.value, 6), alarm.limit, alarm.step) == (12.3, 10.0, 9)
    assert alarm.text.startswith(
        "warn: kl, step 9: kl, nats a token, mean of 5 steps: 12.3, limit 10. The policy is far"
        " from"
    )
    for _, _, ill, _ in CASES:
        assert all(
            "\n" not in alarm.text and alarm.step == ill[-1]["step"]
            for alarm in check_health(ill, SETTINGS)
        )


@given(st.floats(0, 60), st.floats(0, 60))
def test_a_worse_value_is_never_milder(one_kl: float, other_kl: float) -> None:
    low, high = (said(history(6, kl=value)).get("kl", "") for value in sorted((one_kl, other_kl)))
    ranks = ["", *LEVELS]
    assert ranks.index(low) <= ranks.index(high)


KEYS = sorted(
    {key for line in history(1) for key in line}
    | {"eval/dev/accuracy", "sampling/drift", "steps/skipped_in_a_row", "step"}
)
NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from([0.0, 1e308, -1e308, 10**400]),
)
LINES = st.lists(st.dictionaries(st.sampled_from(KEYS), NUMBERS), max_size=60)
SHORT = Health(flat_warn_steps=1, flat_alarm_steps=2, memory_settles=1, skipped_steps=1)


@given(LINES, st.sampled_from([SETTINGS, SHORT]))
def test_no_history_makes_it_fail(lines: list[dict[str, Any]], settings: Health) -> None:
    for alarm in check_health(lines, settings):
        assert alarm.text.isprintable()


def told(lines: list[dict[str, Any]], start: int = 0) -> list[tuple[int, str, str]]:
    """What a Watch tells of the lines after `start`, having been made with those before."""
    watch = Watch(SETTINGS, lines[:start])
    found: list[tuple[int, str, str]] = []
    for end in range(start + 1, len(lines) + 1):
        if "reward" in lines[end - 1]:
            found += [
                (alarm.step, alarm.name, alarm.level)
                for alarm in watch.begun(check_health(lines[:end], SETTINGS))
            ]
    return found


def test_a_condition_is_told_when_it_begins_and_when_it_worsens() -> None:
    rising = history(60, kl=lambda step: step / 2)
    assert told(rising) == [(23, "kl", "warn"), (43, "kl", "alarm")]
    to_and_fro = history(60, kl=lambda step: 12.0 if step // 8 % 2 else 0.0)
    assert [step for step, *_ in told(to_and_fro)] == [12]
    returns = history(60, kl=lambda step: 12.0 if step < 10 or step > 50 else 0.0)
    assert [step for step, *_ in told(returns)] == [1, 55]


def test_the_loss_is_explained_once() -> None:
    assert told(history(100, loss=0.0)) == [(5, "loss_near_zero", "note")]


@pytest.mark.parametrize(
    "kl", [lambda step: step / 2, lambda step: 12.0 if step // 15 % 2 else 0.0]
)
def test_a_resumed_run_tells_what_an_uninterrupted_one_tells(kl: Curve) -> None:
    lines = dev(history(90, kl=kl, reward=FLAT), 10, 0.6, 0.6, 0.4, 0.4, 0.4)
    whole = told(lines)
    assert len(whole) >= 3
    for start in range(0, len(lines), 19):
        step = max((line["step"] for line in lines[:start] if "reward" in line), default=0)
        assert told(lines, start) == [event for event in whole if event[0] > step], start


def test_stop_on_takes_names_of_alarms_only() -> None:
    assert set(
        load_recipe("recipes/tiny.yaml", [f"health.stop_on=[{', '.join(MAY_STOP)}]"]).health.stop_on
    ) == set(MAY_STOP)
    with pytest.raises(
        UserError,
        match=(
            r"health\.stop_on\.0: no alarm 'rewad_flat' \(did you mean 'reward_flat'\?\); there"
            r" are: reward_flat, "
        ),
    ):
        load_recipe("recipes/tiny.yaml", ["health.stop_on=[rewad_flat]"])
    with pytest.raises(UserError, match=r"kl_warn 30.0 is more than kl_alarm 20.0"):
        load_recipe("recipes/tiny.yaml", ["health.kl_warn=30"])
    with pytest.raises(UserError, match=r"unknown key health.kl_wran \(did you mean 'kl_warn'\?\)"):
        load_recipe("recipes/tiny.yaml", ["health.kl_wran=30"])


def test_every_alarm_but_the_explanation_can_end_a_run() -> None:
    assert set(MAY_STOP) == set(CHECKS) - {"loss_near_zero"}
    reached = {name for name, level, *_ in CASES if level == "alarm"}
    assert reached == set(MAY_STOP)


def scored(*rows: tuple[int, bool, float], rewards: int = 1) -> list[Scored]:
    """Completions made by hand: their group, whether they are right, and what each reward pays."""
    found = []
    for place, (group, right, value) in enumerate(rows):
        graded = Score(float(right), Verdict.CORRECT if right else Verdict.WRONG)
        rollout = Rollout(PROBLEM, "abcdefgh"[place], 1, place=place, group=group, graded=graded)
        found.append(
            Scored(rollout, (Score(value),) * rewards, value * rewards, ((value * rewards,),))
        )
    return found


def test_pass_at_g_counts_groups_with_a_right_completion() -> None:
    rows = [(0, False, 0.0), (0, False, 0.0), (1, True, 1.0), (1, False, 0.0), (2, False, 0.0)]
    assert pass_at_g(scored(*rows)) == pytest.approx(1 / 3)
    assert pass_at_g(scored((0, True, 0.0), (0, True, 0.0))) == 1.0


# Not exact in binary: their mean in 32 bit is another.
@pytest.mark.parametrize("value", [0.1, 0.3, 0.6, 0.7])
def test_a_group_that_is_all_alike_has_no_signal(value: float) -> None:
    rounded = struct.unpack("f", struct.pack("f", value))[0]  # as TRL has it
    alike = [(0, True, paid) for paid in (value, value, value, rounded)]
    apart = [(1, True, paid) for paid in (0.0, 0.0, 0.0, value)]
    assert signal_share(scored(*alike, *apart)) == 0.5
    measured = measure(scored(*alike, *apart, rewards=2), [])
    assert measured["rewards/best"] == pytest.approx(2 * value)
    assert measured["rewards/worst"] == 0.0


def test_verdicts_are_measured_as_shares_of_the_step() -> None:
    measured = measure(
        scored((0, True, 1.0), (0, False, 0.0), (1, False, 0.0), (1, False, 0.0)), []
    )
    assert (measured["answers/correct"], measured["answers/wrong"]) == (0.25, 0.75)
    assert (measured["answers/no_answer"], measured["rewards/format_paid"]) == (0.0, None)
    assert measured["rewards/pass@G"] == 0.5


def test_what_layout_rewards_pay_is_measured_by_what_they_are_not_by_their_name() -> None:
    layout, right = ThinkFormat(name="think_format"), CorrectAnswer(name="correct_answer")
    tags = TagCount(name="tag_count")
    batch = [
        replace(one, scores=(Score(1.0), Score(float(place == 0)), Score(0.25)))
        for place, one in enumerate(scored((0, True, 1.0), (0, False, 0.0)))
    ]
    assert format_paid(batch, [right, layout, tags]) == 0.5  # the least paid of the two
    assert format_paid(batch, [right, right, tags]) == 1.0
    assert format_paid(batch, [right, right, right]) is None
    unpaid = [replace(one, scores=(None,)) for one in batch]  # its group was left out
    assert format_paid(unpaid, [layout]) == 0.0


def test_the_completions_shown_for_hacking_are_the_best_paid_wrong_ones() -> None:
    def paid(place: int, right: bool, layout: float) -> Scored:
        (one,) = scored((0, right, float(right)))
        rollout = replace(one.rollout, text="abcdef"[place])
        scores = (Score(float(right)), Score(layout))
        total = float(right) + 0.5 * layout
        return Scored(rollout, scores, total, ((total,),))

    labels = ["correct_answer", "think_format"]
    layouts = [1.0, 0.0, 1.0, 0.5, 0.2, 0.1]
    batch = [paid(place, place == 0, layout) for place, layout in enumerate(layouts)]
    shown = most_paid(batch, labels)
    assert [text[-1] for text in shown] == ["c", "d", "e"]
    assert shown[0] == "earns 0.5 (correct_answer 0, think_format 1)\nc"
    all_right = [paid(place, True, place / 10) for place in range(6)]
    assert [text[-1] for text in most_paid(all_right, labels)] == ["f", "e", "d"]


def test_settings_change_what_is_told() -> None:
    lines = history(9, kl=12.0)
    assert said(lines) == {"kl": "warn"}
    assert said(lines, SETTINGS.model_copy(update={"kl_warn": 13.0})) == {}
    assert said(lines, SETTINGS.model_copy(update={"kl_alarm": 11.0})) == {"kl": "alarm"}
