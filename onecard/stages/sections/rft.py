"""The recipe's section `rft:`."""

from onecard.section import Count
from onecard.stages.sections.base import Load, Samples, Supervised


class Rft(Supervised):
    """Rejection sampling: the policy answers problems, and is fine-tuned on its own right answers.

    What counts as right: the grader's verdict, or a total reward of at least `least_reward` where
    that is given. Of a problem at most `per_problem` different completions are kept (Yuan et al.
    2023, arXiv 2308.01825). With `iterate` the policy of each round answers for the next one.
    """

    samples: Samples
    least_reward: float | None = None
    per_problem: Count = 4
    iterate: Count = 1

    @property
    def rounds(self) -> int:
        return self.iterate

    @property
    def load(self) -> Load:
        longest = self.samples.max_completion_length
        return Load(self.rows, longest, sampled=self.samples.batch_size)
