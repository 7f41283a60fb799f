"""A quarter of an hour on a card, the most wanted first.

    python -m bench.card OUT [PART ...] [--vllm] [--model FOLDER --rows FOLDER]

    smoke     recipes/gpu-smoke.yaml; base and adapter through transformers and PEFT
    memory    the plan beside the driver's peak, of the shapes of two recipes with random weights
    beside    bench/gpu.py: Onecard, a notebook's loop and stock TRL
    learn     --model, a real pretrained one, on SVAMP's --rows: before, after SFT, after GRPO
    kill      the smoke run again, killed with -9 and resumed: is it the same to the bit?

With --vllm, vLLM generates in all of them. Each part has so many seconds and is then cut off.
OUT/card.json has what was measured as it was measured, and OUT/card.md says it in words: a machine
that goes away takes only the rest with it. OUT/PART.log has what was printed. Without a card the
tiny recipe stands for the smoke recipe, so that the script can be tried.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.card_page import text
from bench.card_runs import ROOT, Bench, OutOfTime, facts_of, kill, set_options, training
from bench.training import made_model
from eval.record import read_result
from onecard.machine.gpu import GIB, find_cards
from onecard.machine.packages import versions
from onecard.recipe.file import load_recipe

KEPT_AT = 5  # the step of the smoke run whose checkpoint a killed one goes on from
ON_A_CPU = (
    "grpo.max_steps=10",
    "sft.max_steps=40",
    "data.train_problems=600",
    "eval.limit=48",
    "eval.benchmarks=[tiny]",
    "pilot=0",
)
# Of random weights, whose steps only the coin pays.
SHAPE = (
    "data.path=tiny",
    "data.train_problems=400",
    "rewards=[{name: random}]",
    "grpo.max_steps=2",
    "eval.benchmarks=[tiny]",
    "eval.every_steps=null",
    "eval.limit=8",
    "eval.max_completion_length=16",
    "pilot=0",
)
SHAPES = ("gsm8k-qwen2.5-1.5b", "gsm8k-qwen2.5-3b")


def smoke_run(bench: Bench) -> tuple[str, tuple[str, ...]]:
    """The recipe of the smoke run, and what is set in it."""
    recipe, settings = ("gpu-smoke", (bench.engine,)) if find_cards() else ("tiny", ON_A_CPU)
    return recipe, (*settings, f"save.every_steps={KEPT_AT}")


def completions(folder: Path) -> list[str]:
    return [item.completion for item in read_result(folder)[1].items]


def alike(some: Sequence[str], others: Sequence[str]) -> float:
    """The share of completions whose first eight characters are equal.

    Random weights make near ties, so that texts drift apart.
    """
    pairs = list(zip(some, others, strict=True))
    return round(sum(one[:8] == other[:8] for one, other in pairs) / len(pairs), 3)


def smoke(bench: Bench) -> None:
    shutil.rmtree(bench.work)
    bench.work.mkdir()
    recipe, settings = smoke_run(bench)
    run = bench.train(recipe, "smoke", settings)
    during = {when: completions(run / f"eval/tiny-{when}") for when in ("before", "after")}
    bench.add(before_like_after=alike(during["before"], during["after"]))
    # The base of the tiny recipe is trained too, so that only its adapter is left to compare.
    asked = {"before": ["--base"], "after": []} if find_cards() else {"after": []}
    limit, outs = str(len(during["after"])), {when: bench.work / when for when in asked}
    same = ("--benchmark", "tiny", "--limit", limit, "--engine", "transformers")
    calls = [[str(run), *how, *same, "--out", str(outs[when])] for when, how in asked.items()]
    # One process for both: to import torch takes longer than to answer.
    code = "import json, sys; from eval.__main__ import main; [main(one) for one in json.loads("
    bench.call("-c", f"{code}sys.argv[1])]", json.dumps(calls))
    for when, out in outs.items():
        (folder,) = out.glob("*/")
        bench.add(**{f"agreement_{when}": alike(during[when], completions(folder))})


def memory(bench: Bench) -> None:
    if not find_cards():
        raise ValueError("there is no card, whose memory could be measured")
    for name in SHAPES:
        shape = [*SHAPE, bench.engine]
        recipe = load_recipe(ROOT / f"recipes/{name}.yaml", shape)
        model = made_model(recipe, recipe.source.load("train"), bench.work / f"{name}-model")
        bench.train(name, name, [*shape, f"model.name={model}"])


def beside(bench: Bench) -> None:
    """On a CPU bench/gpu.py chooses a small recipe by itself."""
    options = set_options((bench.engine, "grpo.max_steps=6"))
    try:
        bench.call("-m", "bench.gpu", *(options if find_cards() else ()))
    finally:  # it fails where Onecard's row has no numbers; the row says why
        log = (bench.out / f"{bench.part}.log").read_text(encoding="utf-8", errors="replace")
        bench.add(table=[line for line in log.splitlines() if line.startswith("|")])


def learn(bench: Bench) -> None:
    if not (bench.model and bench.rows):
        raise ValueError("--model and --rows were not given")
    cut = () if find_cards() else ("sft.max_steps=2", "grpo.max_steps=2", "eval.limit=8", "pilot=0")
    settings = [f"model.name={bench.model}", f"data.path={bench.rows}", bench.engine, *cut]
    bench.train("smollm2-svamp", "learn", settings)


def kill_and_resume(bench: Bench) -> None:
    """Step by step beside the smoke run: up to the kill that says whether runs are alike at all."""
    recipe, settings = smoke_run(bench)
    whole, run = bench.work / "runs/smoke", bench.work / "runs/killed"
    if not (whole / "results.json").is_file():
        raise ValueError("there is no whole smoke run to compare with; the part smoke makes it")
    shutil.rmtree(run, ignore_errors=True)
    process = bench.start(*training(recipe, "killed", settings))
    while len(facts_of(run)["rewards"]) <= KEPT_AT and process.poll() is None:
        if time.monotonic() > bench.deadline:
            kill(process)
            raise OutOfTime
        time.sleep(0.05)
    kill(process)
    bench.train(recipe, "killed", settings, "--resume")
    one, other = facts_of(whole)["rewards"], facts_of(run)["rewards"]
    files = [folder / "adapter/adapter_model.safetensors" for folder in (whole, run)]
    bench.add(
        same_before=one[:KEPT_AT] == other[:KEPT_AT],
        same_after=one[KEPT_AT:] == other[KEPT_AT:],
        same_adapter=files[0].read_bytes() == files[1].read_bytes(),
    )


@dataclass(frozen=True)
class Part:
    seconds: int
    measure: Callable[[Bench], None]


PARTS = {
    "smoke": Part(180, smoke),
    "memory": Part(120, memory),
    "beside": Part(120, beside),
    "learn": Part(150, learn),
    "kill": Part(120, kill_and_resume),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="a folder for what is found")
    parser.add_argument("parts", nargs="*", metavar="PART", help="all of them, where none is named")
    parser.add_argument("--vllm", action="store_true", help="vLLM generates")
    parser.add_argument("--model", type=Path, help="a folder of SmolLM2-135M-Instruct")
    parser.add_argument("--rows", type=Path, help="a folder of SVAMP's rows")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if args.vllm and not find_cards():
        parser.error("--vllm: there is no card")
    out = args.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    work = ROOT / "runs/card"
    work.mkdir(parents=True, exist_ok=True)
    model, rows = (path and path.resolve() for path in (args.model, args.rows))
    bench = Bench(out, work, model, rows, vllm=args.vllm)
    if (out / "card.json").is_file():  # of an earlier call, for other parts
        bench.found = json.loads((out / "card.json").read_text(encoding="utf-8"))
    bench.found["machine"] = {
        "card": next((f"{one.name}, {one.memory / GIB:.0f} GiB" for one in find_cards()), None),
        "date": time.strftime("%Y-%m-%d"),
        "vllm": args.vllm,
        "versions": versions(),
    }
    for name in args.parts or PARTS:
        with bench.measuring(name, PARTS[name].seconds):
            PARTS[name].measure(bench)
    print(text(bench.found))


if __name__ == "__main__":
    main()
