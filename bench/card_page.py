"""What bench/card.py has found on a card, in words: pure."""

from collections.abc import Iterator, Mapping
from typing import Any

HEAD = """# Measured on a card

Made by `python -m bench.card`, which has five parts with so many seconds each. docs/gpu.md says
what else was seen and what was not.
"""
NOT_RUN = "Not run."


def text(found: Mapping[str, Any]) -> str:
    """The page. `found`: what each part has measured, as far as it came."""
    machine = found.get("machine", {})
    packages = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = machine["card"] or "no card: these numbers say nothing about one"
    engine = "vLLM" if machine["vllm"] else "transformers"
    lines = [HEAD, f"{machine['date']}, on {where}; {engine} generated. {packages}."]
    for part, (title, told) in PARTS.items():
        lines += ["", f"## {title}", ""]
        facts = found.get(part)
        if facts is None:
            lines.append(NOT_RUN)
            continue
        measured = told(facts)
        lines += [*measured, ""] if measured else []
        lines += ended(facts)
    return "\n".join(lines) + "\n"


def ended(facts: Mapping[str, Any]) -> Iterator[str]:
    """How the part ended, and after how long."""
    if "cut_after" in facts:
        yield f"Cut off after {facts['cut_after']} s. What is here was measured until then."
    elif "failed" in facts:
        yield f"It failed: `{facts['failed']}`"
    if "wall_seconds" in facts:
        yield f"This part took {facts['wall_seconds']:.0f} s."


def run_lines(run: Mapping[str, Any]) -> Iterator[str]:
    """Steps, seconds and memory of one run."""
    split = run["seconds_per_step"]
    if split is None:
        yield f"{run['steps']} steps; none was timed."
    else:
        step = split["generation"] + split["reward"] + split["training"]
        speed = split["tokens_per_second"]
        told = f", {speed:,.0f} tokens/s while generating" if speed else ""
        yield (
            f"{run['steps']} steps of {step:.2f} s: generation {split['generation']:.2f}, reward"
            f" {split['reward']:.2f}, training {split['training']:.2f}{told}."
        )
    if "seconds" in run:
        phases = [f"{phase} {seconds:.0f} s" for phase, seconds in run["seconds"].items()]
        yield f"The run: {', '.join(phases)}."
    if card := run.get("card"):
        for phase, gib in card["measured_gib"].items():
            planned = (card["planned_gib"] or {}).get(phase)
            beside = f", planned {planned:.2f} ({planned / gib:.2f} of it)" if planned else ""
            yield f"Peak while {phase}: {gib:.2f} GiB{beside}."


def listed(lines: Iterator[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def told_smoke(facts: Mapping[str, Any]) -> list[str]:
    def lines() -> Iterator[str]:
        if "smoke" in facts:
            yield from run_lines(facts["smoke"])
        if "before_like_after" in facts:
            same = facts["before_like_after"]
            yield f"Greedy completions that begin alike before and after training: {same:.0%}."
        for when, which in (("before", "base alone"), ("after", "base and adapter")):
            if (share := facts.get(f"agreement_{when}")) is not None:
                yield (
                    f"Begin alike in the run and through transformers and PEFT, {which}:"
                    f" {share:.0%}."
                )

    return listed(lines())


def told_memory(facts: Mapping[str, Any]) -> list[str]:
    runs = {name: run for name, run in facts.items() if isinstance(run, Mapping)}
    return [
        line for name, run in runs.items() for line in (f"{name}:", "", *listed(run_lines(run)))
    ]


def told_beside(facts: Mapping[str, Any]) -> list[str]:
    return list(facts.get("table", ()))


def told_learn(facts: Mapping[str, Any]) -> list[str]:
    def lines() -> Iterator[str]:
        run = facts["learn"]
        yield from run_lines(run)
        rewards = run["rewards"]
        tenth = max(1, len(rewards) // 10)
        if rewards:
            first, last = rewards[:tenth], rewards[-tenth:]
            yield (
                f"Mean reward of the first and last tenth of the steps: {sum(first) / tenth:.3f},"
                f" {sum(last) / tenth:.3f}."
            )
        for name, one in run.get("benchmarks", {}).items():
            by, states = one["difference"], [one[when]["accuracy"] for when in ("before", "after")]
            yield (
                f"{name}, {one['n']} problems: {states[0]:.1%} after SFT, {states[1]:.1%} after"
                f" GRPO; {by['points']:+.1f} points ({by['ci_low']:+.1f} to {by['ci_high']:+.1f}),"
                f" p {by['p_value']:.2g}."
            )

    return listed(lines()) if "learn" in facts else []


def told_kill(facts: Mapping[str, Any]) -> list[str]:
    said = {
        "same_before": "The two runs' rewards are the same up to the checkpoint",
        "same_after": "The same after it, where one was killed and resumed",
        "same_adapter": "The adapters are the same to the bit",
    }
    found = {name: line for name, line in said.items() if name in facts}
    return [f"- {line}: {'yes' if facts[name] else 'no'}." for name, line in found.items()]


PARTS = {
    "smoke": ("The smoke recipe", told_smoke),
    "memory": ("Memory: the plan beside the driver's peak", told_memory),
    "beside": ("Side by side", told_beside),
    "learn": ("A real model on SVAMP", told_learn),
    "kill": ("Killed with -9, and resumed", told_kill),
}
