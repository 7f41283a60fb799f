"""Does llama.cpp answer as our engine does? python -m bench.gguf RUN FILE.gguf [FILE.gguf ...]

RUN is a finished run; the files are what `python -m onecard.export RUN --to gguf` made of it, one
for each quantization. Both are asked the run's first benchmark greedily: our engine with base and
adapter in 32 bit, and llama.cpp's own server on this machine. llama-server is looked for in the
folder UNSLOTH_LLAMA_CPP_PATH, as the export looks for llama-quantize. Prints the share of
completions that are equal to the letter, and both accuracies, and writes docs/gguf.md.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from eval.asking import evaluate
from eval.problems import load_problems
from onecard.console.command import run_command
from onecard.console.display import Display
from onecard.files.atomic import write_atomic
from onecard.target import find_target
from onecard.types import Completion, EvalResult, Sampling, UserError

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/gguf.md"
SECONDS = 60.0  # for a model to load, and for one completion


class LlamaServer:
    """llama.cpp's server as an engine: it gets tokens, and says what follows."""

    def __init__(self, url: str, tokenizer: Any, context: int) -> None:
        self.client = httpx.Client(base_url=url, timeout=SECONDS)
        self.tokenizer, self.context = tokenizer, context

    def description(self) -> dict[str, Any]:
        return {"engine": "llama.cpp"}

    def tokens(self, text: str) -> list[int]:
        """The text as the GGUF file's own tokenizer reads it."""
        asked = {"content": text, "add_special": False, "parse_special": True}
        found: list[int] = self.post("/tokenize", asked)["tokens"]
        return found

    def generate(
        self, prompts: list[list[int]], sampling: Sampling, done: Collection[int] = ()
    ) -> Iterator[dict[int, Completion]]:
        for index in sorted(set(range(len(prompts))) - set(done)):
            asked = {
                "prompt": prompts[index],
                "n_predict": sampling.max_completion_length,
                "temperature": 0.0,
                "cache_prompt": False,  # a prompt that was begun before is computed otherwise
            }
            said = self.post("/completion", asked)
            truncated = said["stop_type"] == "limit"
            yield {index: Completion(said["content"], said["tokens_predicted"], truncated)}

    def post(self, path: str, asked: dict[str, Any]) -> Any:
        return self.client.post(path, json=asked).raise_for_status().json()


@contextmanager
def serving(file: Path, context: int) -> Iterator[str]:
    """The address of a llama-server that has loaded a GGUF file, on loopback."""
    folder = Path(os.environ.get("UNSLOTH_LLAMA_CPP_PATH") or Path.home() / ".unsloth/llama.cpp")
    program = folder / "llama-server"
    if not program.is_file():
        raise UserError(f"{program} is not there; UNSLOTH_LLAMA_CPP_PATH=FOLDER names one that has")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--host", "127.0.0.1", "--port", str(port)]
    command = [str(program), "--model", str(file), *place, "--ctx-size", str(context)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([*command, "--parallel", "1"], stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}", server, file)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str, server: "subprocess.Popen[bytes]", file: Path) -> None:
    """Until the server has loaded its model. Raises UserError where it does not."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            if httpx.get(f"{url}/health").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise UserError(f"llama-server did not load {file}")


def row(file: Path, ours: EvalResult, theirs: EvalResult, same_tokens: int) -> str:
    """A line of the table."""
    pairs = list(zip(ours.items, theirs.items, strict=True))
    equal = sum(a.completion == b.completion for a, b in pairs)
    graded_alike = sum(a.correct == b.correct for a, b in pairs)
    right = sum(b.correct for _, b in pairs)
    n = len(pairs)
    size = file.stat().st_size / 2**20
    return (
        f"| {file.name} | {size:,.0f} | {same_tokens} | {equal} ({100 * equal / n:.0f} %) |"
        f" {graded_alike} | {100 * right / n:.1f} |"
    )


def compare(run: str, files: list[Path], limit: int) -> int:
    from onecard.model.engines.transformers import TransformersEngine

    display = Display()
    target = find_target(run, None, base_only=False)
    recipe = target.recipe
    if recipe is None:
        raise UserError(f"{run} is not the folder of a run")
    problems = load_problems(recipe.source, recipe.eval, recipe.answer, recipe.data)
    task = problems.benchmarks[0]
    task = replace(task, problems=task.problems[:limit])
    engine = TransformersEngine(target.weights, False, recipe.model.max_seq_length)
    engine.model.float()  # in 16 bit two engines round differently
    with tempfile.TemporaryDirectory() as temporary:
        ours = evaluate(engine, task, Path(temporary) / "ours", display, "our engine")
        rows = []
        for file in files:
            with serving(file, engine.context) as url:
                server = LlamaServer(url, engine.tokenizer, engine.context)
                folder = Path(temporary) / file.name
                theirs = evaluate(server, task, folder, display, file.name)
                prompts = [item.prompt for item in ours.items]
                same = sum(server.tokens(text) == ids_of(engine, text) for text in prompts)
            rows.append(row(file, ours, theirs, same))
    right = 100 * sum(item.correct for item in ours.items) / len(ours.items)
    text = f"""# GGUF files, asked in llama.cpp

Made by `python -m bench.gguf RUN FILE.gguf ...` from a run of the recipe {recipe.name}:
{len(ours.items)} problems of its benchmark, greedily.
Our engine, base and adapter in 32 bit: {right:.1f} % right. A GGUF file is made of the two merged
and rounded to 16 bit, and then to what the file's name says.

| file | MiB | prompts with our tokens | equal completions | right or wrong as ours | right: % |
|---|---|---|---|---|---|
{chr(10).join(rows)}
"""
    write_atomic(PAGE, text)
    print(text)
    return 0


def ids_of(engine: Any, text: str) -> list[int]:
    """A prompt as our engine reads it."""
    found: list[int] = engine.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.gguf",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", help="the folder of a finished run")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.gguf")
    parser.add_argument("--limit", type=int, default=100, help="the first N problems")
    args = parser.parse_args()
    return run_command(lambda: compare(args.run, args.files, args.limit))


if __name__ == "__main__":
    sys.exit(main())
