"""The scorers of a recipe as TRL's reward functions: one for each reward, scored together once."""

from collections.abc import Callable, Sequence
from typing import Any

from onecard.model.engines.tokens import decode
from onecard.run.process import processes, rank
from onecard.run.together import gather
from onecard.stages.advantages import (
    Credit,
    accepted,
    step_advantages,
    token_advantages,
    tokens_up_to,
)
from onecard.types import Messages, Problem, Rollout
from rewards.scoring import BatchScorer, Scored
from rewards.steps import step_ends

PROBLEM_ID = "problem_id"  # the column of the training set by which a completion finds its problem


class RewardColumns:
    """Scores each batch once and hands each reward's column to TRL.

    `scored` is this process's last batch, and `sampled` what it was chosen from; with `all_`, those
    of all processes, for whoever measures or shows them. `first_place`: the completions of earlier
    rounds.
    """

    def __init__(
        self,
        scorer: BatchScorer,
        problems: Sequence[Problem],
        tokenizer: Any,
        end_tokens: set[int],
        think_opened: bool,
        num_generations: int,
        first_place: int = 0,
    ) -> None:
        self.scorer = scorer
        self.problems = {problem.id: problem for problem in problems}
        self.tokenizer, self.end_tokens = tokenizer, end_tokens
        self.think_opened = think_opened
        self.num_generations = num_generations
        self.place = first_place  # of the next completion
        self.scored: list[Scored] = []
        self.sampled: list[Scored] = []
        self.all_scored: list[Scored] = []
        self.all_sampled: list[Scored] = []
        self.batch: object = None  # the list of completions that `scored` is of
        self.shown: list[float] = []  # of the last batch: the mean advantage of each completion
        self.step_credit: list[tuple[float, ...]] = []  # and of each of its steps

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function per reward, under its own label, with TRL's signature."""
        return [self.column(place, label) for place, label in enumerate(self.scorer.labels)]

    def column(self, place: int, label: str) -> Callable[..., list[float | None]]:
        def score_batch(
            prompts: list[str | Messages],
            completions: list[Any],
            completion_ids: list[list[int]],
            problem_id: list[str],
            trainer_state: Any,
            log_extra: Callable[[str, list[Any]], None],
            log_metric: Callable[[str, float], None],
            **others: Any,
        ) -> list[float | None]:
            if self.batch is not completions:  # TRL passes the same list to each reward in turn
                moment = self.scorer.moment
                moment.trainer_state = trainer_state
                moment.log_extra, moment.log_metric = log_extra, log_metric
                first = self.place + rank() * len(completions)
                rollouts = self.rollouts(prompts, completion_ids, problem_id, first)
                self.place += processes() * len(rollouts)
                self.batch, self.scored = completions, self.scorer.score(rollouts)
                self.sampled = self.scored
                log_metric("rewards/faults", float(self.scorer.faults))
            return [one.values()[place] for one in self.scored]

        score_batch.__name__ = label
        return score_batch

    def share(self) -> None:
        """Have the last batch of every process in every process: they judge it alike."""
        parts = gather((self.scored, self.sampled))
        self.all_scored = [one for scored, _ in parts for one in scored]
        self.all_sampled = [one for _, sampled in parts for one in sampled]

    def credited(self, credit: Credit, width: int, divide: bool) -> list[Any]:
        """The advantages of the last batch: (B,), or (B, T) with T `width` for each token."""
        if credit == "accepted":
            self.shown = accepted(self.scored)
            return self.shown
        paid = [one.steps for one in self.scored]
        groups = [one.rollout.group for one in self.scored]
        of_steps = step_advantages(paid, groups, divide)
        self.step_credit = [tuple(one) for one in of_steps]
        rows = []
        for one, advantages in zip(self.scored, of_steps, strict=True):
            ids = one.rollout.ids
            upto = tokens_up_to(step_ends(one.rollout.text), len(ids), self.length_of(ids))
            rows.append(token_advantages(advantages, upto, width))
        self.shown = [
            sum(row) / max(1, len(one.rollout.ids))
            for row, one in zip(rows, self.scored, strict=True)
        ]
        return rows

    def length_of(self, ids: Sequence[int]) -> Callable[[int], int]:
        """The length of the text of a completion's first k tokens."""
        return lambda k: len(decode(self.tokenizer, ids[:k], self.end_tokens))

    def rollouts(
        self,
        prompts: list[str | Messages],
        completion_ids: list[list[int]],
        problem_ids: list[str],
        first: int,
    ) -> list[Rollout]:
        """TRL's table as rollouts. The completions of a prompt stand together in it.

        Their texts are decoded here: TRL leaves special tokens out, and <think> may be one.
        """
        found = []
        rows = zip(prompts, completion_ids, problem_ids, strict=True)
        for place, (prompt, ids, problem_id) in enumerate(rows, start=first):
            found.append(
                Rollout(
                    self.problems[problem_id],
                    decode(self.tokenizer, ids, self.end_tokens),
                    tokens=len(ids),
                    truncated=not ids or ids[-1] not in self.end_tokens,
                    think_opened=self.think_opened,
                    place=place,
                    group=place // self.num_generations,
                    prompt=prompt,
                    ids=tuple(ids),
                )
            )
        return found
