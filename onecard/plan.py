"""What a recipe will do, in numbers, before anything is imported or downloaded."""

import yaml

from eval.benchmarks import BENCHMARKS
from onecard.recipe import Recipe
from rewards import expand


def plan_text(recipe: Recipe) -> str:
    """The resolved recipe, then steps, completions, tokens, and what will be evaluated."""
    grpo = recipe.grpo
    completions = grpo.max_steps * grpo.completions_per_step // grpo.num_iterations
    longest = recipe.data.max_prompt_length + grpo.max_completion_length
    lines = [yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)]
    if recipe.warmup:
        w = recipe.warmup
        lines.append(f"warm-up    {w.max_steps} supervised steps x {w.batch_size} solutions, training the {w.trains}".replace("_", " "))
    lines += [
        f"GRPO       {grpo.max_steps} steps x {grpo.prompts_per_step} prompts x {grpo.num_generations} completions",
        f"           {completions:,} completions, at most {completions * grpo.max_completion_length:,} generated tokens",
        f"           at most {longest} tokens a sequence, {grpo.completions_per_step * longest:,} a step",
        "rewards    " + ", ".join(f"{reward.label} x {reward.weight:g}" for reward in expand(recipe.rewards)),
    ]
    for name in recipe.eval.benchmarks:
        known = BENCHMARKS.get(name)
        counts = [count for count in (recipe.eval.limit, known and known.problems) if count]
        about = known.about if known else "problems of that file"
        lines.append(f"evaluated  {name}, before and after, greedy: {min(counts, default='all')} {about}")
    if recipe.eval.every_steps:
        lines.append(f"           {recipe.dev_benchmark}, every {recipe.eval.every_steps} steps: {recipe.eval.dev_problems} problems")
    lines.append(f"kept       a checkpoint every {recipe.save.every_steps} steps, the adapter, report.md, report.html, results.json")
    return "\n".join(lines)
