"""The policy's own completions, scored, which a stage learns from. They are kept in the run folder.

A round that was interrupted reads them there: the policy may have changed since.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecard.data.prompts import Prompt
from onecard.files.formats import read_jsonl, write_jsonl
from onecard.model.rollouts import roll_out
from onecard.run.round import Round
from onecard.stages.sections.base import Samples
from onecard.stages.training import Training
from onecard.types import Problem, Sampling, Verdict
from rewards.scoring import Scored


@dataclass(frozen=True)
class Sample:
    """A completion of the policy. `reward` is the total; `text` begins with the think block's mark
    where the prompt wrote that.
    """

    problem: Problem
    text: str
    verdict: Verdict
    truncated: bool
    reward: float

    def is_right(self, least_reward: float | None) -> bool:
        """Whether it ended and is accepted: by the grader, or by the least reward, if given."""
        if self.truncated:
            return False
        if least_reward is None:
            return self.verdict == Verdict.CORRECT
        return self.reward >= least_reward

    def is_wrong(self, least_reward: float | None) -> bool:
        """Whether it ended, and is not right. One that was cut off is neither."""
        return not self.truncated and not self.is_right(least_reward)


def draw_samples(training: Training, one: Round, asked: Samples) -> list[Sample]:
    """The completions of a round: drawn now, or as an interrupted run drew them."""
    file = training.run.folder / f"{one.label}-samples.jsonl"
    drawn = training.run.folder / f"{one.label}-drawn.jsonl"  # and not scored yet
    if not file.is_file():
        write_jsonl(file, [row_of(each) for each in sample(training, one, asked, drawn)])
    drawn.unlink(missing_ok=True)
    by_id = {problem.id: problem for problem in training.problems}
    return [sample_of(row, by_id) for row in read_jsonl(file)]


def sample(training: Training, one: Round, asked: Samples, drawn: Path) -> list[Scored]:
    seed = training.seed_of(one)
    count = min(asked.problems, len(training.problems))
    chosen = random.Random(seed).sample(training.problems, count)
    sampling = Sampling(
        asked.max_completion_length,
        asked.batch_size,
        asked.temperature,
        asked.num_generations,
        seed,
    )
    policy = training.load_policy()
    rollouts = roll_out(
        policy,
        chosen,
        sampling,
        training.data.system_prompt,
        training.display,
        f"{one.title} samples",
        drawn,
    )
    with training.scorer.moment.before_training():  # also where GRPO came before
        return training.scorer.score(rollouts)


def row_of(scored: Scored) -> dict[str, Any]:
    """A line of the file."""
    rollout = scored.rollout
    opening = "<think>" if rollout.think_opened else ""
    return {
        "id": rollout.problem.id,
        "completion": opening + rollout.text,
        "verdict": rollout.verdict,
        "truncated": rollout.truncated,
        "reward": scored.total,
        "rewards": scored.values(),
    }


def sample_of(row: Mapping[str, Any], by_id: Mapping[str, Problem]) -> Sample:
    return Sample(
        by_id[row["id"]],
        row["completion"],
        Verdict(row["verdict"]),
        row["truncated"],
        row["reward"],
    )


def as_completion(text: str, prompt: Prompt) -> Prompt:
    """A completion in the form of its prompt: text, or chat messages."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]
