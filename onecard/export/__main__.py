"""What a run trained, for use elsewhere.

python -m onecard.export RUN --to merged    one 16-bit model, checked against base and adapter
python -m onecard.export RUN --to gguf      the same as a GGUF file; needs llama.cpp
python -m onecard.export RUN --to ollama    the same with a Modelfile: template and settings
python -m onecard.export RUN --to hub --repo OWNER/NAME
                                            the adapter on the Hugging Face hub, private
python -m onecard.export RECIPE --to trl --out FOLDER
                                            a script and settings for stock TRL on several cards
"""

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from onecard.console.command import run_command
from onecard.console.display import Display
from onecard.export.gguf import QUANTIZATIONS, find_llama_cpp, write_gguf
from onecard.export.hub import Place, check_place, push
from onecard.export.merged import write_merged
from onecard.export.modelfile import derive_template, modelfile
from onecard.export.trl import check_trl, find_recipe, write_trl
from onecard.files.atomic import atomic_folder
from onecard.run.lock import who_may_write
from onecard.target import Target, find_target
from onecard.types import UserError

BELONGS_TO = {
    "out": ("merged", "gguf", "ollama", "trl"),
    "quantization": ("gguf", "ollama"),
    "repo": ("hub",),
    "weights": ("hub",),
    "public": ("hub",),
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m onecard.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder; trl: or a recipe")
    parser.add_argument("--to", choices=("merged", "gguf", "ollama", "hub", "trl"), required=True)
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="merged, gguf, ollama, trl: where to (default: RUN/merged and so on)",
    )
    parser.add_argument(
        "--quantization", choices=QUANTIZATIONS, help="gguf, ollama: (default: q4_k_m)"
    )
    parser.add_argument("--repo", metavar="OWNER/NAME", help="hub: where to")
    parser.add_argument(
        "--weights", choices=("adapter", "merged"), help="hub: what (default: adapter)"
    )
    parser.add_argument(
        "--public", action="store_true", default=None, help="hub: for everybody to see"
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: export(args, Display()))


def export(args: argparse.Namespace, display: Display) -> None:
    """Everything that can be wrong is found before anything heavy starts."""
    for option, kinds in BELONGS_TO.items():
        if getattr(args, option) is not None and args.to not in kinds:
            raise UserError(
                f"--{option} is for --to {' and --to '.join(kinds)}, not for --to {args.to}"
            )
    if args.to == "hub" and args.repo is None:
        raise UserError("--to hub wants --repo OWNER/NAME: where to")
    if args.to == "trl":
        export_trl(args, display)
        return
    target = find_target(args.run, adapter=None, base_only=False)
    if target.weights.adapter is None:
        raise UserError(f"{args.run} has no adapter to export: it is a model already")
    folder = args.out or Path(args.run) / args.to
    if args.to != "hub":
        check_new(folder)
    if args.to == "hub":
        place = Place(args.repo, args.weights or "adapter", bool(args.public))
        check_place(place, target)
        display.say(push(Path(args.run), target, place, display))
    elif args.to == "merged":
        with atomic_folder(folder) as unfinished:
            drift = write_merged(target, unfinished, display)
        display.say(
            f"{folder}: {drift.merged:.4f} nats a token from base and adapter, which is"
            f" {drift.base:.4f} from the base alone"
        )
        if target.recipe:
            display.say(
                f"python -m eval {shlex.quote(str(folder))}"
                f" --recipe {shlex.quote(str(args.run))}/recipe.resolved.yaml"
                " --no-load-in-4bit evaluates it"
            )
    else:
        export_gguf(args, target, folder, display)


def export_trl(args: argparse.Namespace, display: Display) -> None:
    recipe = find_recipe(args.run)
    check_trl(recipe)
    folder = args.out
    if folder is None:
        if not Path(args.run).is_dir():
            raise UserError("--to trl wants --out FOLDER for a recipe: where to")
        folder = Path(args.run) / "trl"
    check_new(folder)
    with atomic_folder(folder) as unfinished:
        rows = write_trl(recipe, unfinished)
    display.say(f"{folder}: {rows:,} rows; the first lines of train_trl.py say how to start it")


def check_new(folder: Path) -> None:
    """Raise UserError where something is in the way, or the folder could not be made. Asked before
    anything that takes time.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; remove it, or choose another place with --out")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {folder}: {error.strerror}{who_may_write(folder)}"
        ) from None
    if not os.access(folder.parent, os.W_OK):
        raise UserError(f"cannot make the folder {folder}{who_may_write(folder)}")


def export_gguf(args: argparse.Namespace, target: Target, folder: Path, display: Display) -> None:
    quantization = args.quantization or "q4_k_m"
    if target.recipe and target.recipe.model.made_here:
        raise UserError(
            f"--to {args.to}: llama.cpp converts tokenizers that it knows, and {args.run} has one"
            " that was made for it; --to merged works"
        )
    name = target.recipe.name if target.recipe else Path(args.run).name
    file = f"{name}.{quantization.upper()}.gguf"
    text = ollama_text(target, file, display) if args.to == "ollama" else None
    llama_cpp = find_llama_cpp()
    with atomic_folder(folder) as unfinished:
        drift = write_gguf(target, unfinished / file, quantization, llama_cpp, display)
        if text is not None:
            (unfinished / "Modelfile").write_text(text, encoding="utf-8")
    display.say(
        f"{folder / file}: before quantization {drift.merged:.4f} nats a token from base and"
        " adapter; the cost of that was not measured"
    )
    if text is not None:
        display.say(f"ollama create {name} -f {shlex.quote(str(folder / 'Modelfile'))}")


def ollama_text(target: Target, file: str, display: Display) -> str:
    """The Modelfile for a run; loads its tokenizer alone."""
    if target.recipe is None:
        raise UserError(
            "--to ollama wants a run's folder: the system prompt and the lengths are its recipe's,"
            f" and {target.weights.adapter} has none"
        )
    from onecard.model.engines.tokens import end_tokens
    from onecard.model.engines.transformers import load_tokenizer
    from onecard.model.engines.vllm import generation_config

    tokenizer = load_tokenizer(target.weights)
    template = derive_template(lambda messages: without_bos(tokenizer, messages))
    if "strftime_now" in tokenizer.chat_template:
        display.say(
            "this model's chat template writes the day's date into the prompt; the Modelfile keeps"
            " today's"
        )
    stop = [
        tokenizer.decode([token])
        for token in sorted(end_tokens(generation_config(target.weights.base), tokenizer))
    ]
    return modelfile(file, template, stop, target.recipe)


def without_bos(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    """The prompt's text, without the begin token that a GGUF's tokenizer, Ollama's therefore too,
    puts before any text by itself.
    """
    # What it refuses is told by its caller.
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    puts_bos = (
        tokenizer.bos_token_id is not None
        and tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    )
    if puts_bos and not text.startswith(tokenizer.bos_token):
        raise UserError(
            "Ollama would put a begin token before the prompt that this model's chat template does"
            " not; --to gguf writes the file alone"
        )
    return text.removeprefix(tokenizer.bos_token) if puts_bos else text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
