"""`python -m onecard.export`: what a run trained as one model, as GGUF, for Ollama and on the hub.
Nothing here leaves this machine.
"""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Call, ShortRun, no_sft, variables
from go_template import execute
from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from safetensors import torch as safetensors
from small_hub import Hub, created, pushed

from onecard.console.display import Display
from onecard.export import merged
from onecard.export.__main__ import main
from onecard.export.gguf import find_llama_cpp
from onecard.export.merged import Drift, write_merged
from onecard.export.model_card import model_card
from onecard.export.modelfile import CONTENTS, Render, conversations, derive_template, modelfile
from onecard.export.trl import check_trl
from onecard.files.atomic import atomic_folder
from onecard.files.formats import write_yaml
from onecard.model.random_model import CHAT_TEMPLATE
from onecard.model.weights import Weights
from onecard.recipe.file import load_recipe
from onecard.target import Target
from onecard.types import UserError

QWEN = ROOT / "recipes/gsm8k-qwen2.5-0.5b.yaml"


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run's folder with all that an export looks at before it loads weights; its base is a folder
    too.
    """
    base = tmp_path / "Qwen2.5-0.5B-Instruct"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "qwen2"}')
    recipe = load_recipe(QWEN, [f"model.name={base}", "data.path=/home/somebody/data/gsm8k"])
    run = tmp_path / "run"
    (run / "adapter").mkdir(parents=True)
    (run / "recipe.resolved.yaml").write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    )
    (run / "environment.json").write_text('{"packages": {"trl": "1.15.0", "torch": "2.11.0"}}')
    (run / "adapter/adapter_config.json").write_text(
        '{"base_model_name_or_path": "unsloth/qwen2.5-0.5b-instruct-bnb-4bit", "r": 8}'
    )
    (run / "adapter/adapter_model.safetensors").write_bytes(b"")
    difference = {"points": 12.125, "ci_low": 8.0, "ci_high": 16.26, "p_value": 0.000123}
    flexible = {"points": 11.0, "ci_low": 7.0, "ci_high": 15.0, "p_value": 0.002}
    accuracies = [{"accuracy": 0.312, "flexible": 0.35}, {"accuracy": 0.43325, "flexible": 0.46}]
    benchmark = {
        "n": 1319,
        "before": accuracies[0],
        "after": accuracies[1],
        "difference": difference,
        "flexible_difference": flexible,
    }
    (run / "results.json").write_text(
        json.dumps({"recipe": recipe.name, "seed": 3, "benchmarks": {"gsm8k": benchmark}})
    )
    return run


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "merged", "--public"], "--public is for --to hub, not for --to merged"),
        (
            ["--to", "merged", "--quantization", "q8_0"],
            "--quantization is for --to gguf and --to ollama, not for --to merged",
        ),
        (
            ["--to", "hub", "--repo", "me/mine", "--out", "here"],
            "--out is for --to merged and --to gguf and --to ollama and --to trl, not for --to hub",
        ),
        (["--to", "hub"], "--to hub wants --repo OWNER/NAME"),
        (["--to", "hub", "--repo", "mine"], "wanted owner/name"),
        (["--to", "hub", "--repo", "me/mine/too"], "wanted owner/name"),
        (["--to", "hub", "--repo", "me/mine"], "--weights merged pushes both in one"),
        (["--to", "gguf"], "GGUF needs llama.cpp, and "),
    ],
)
def test_what_a_newcomer_gets_wrong_is_one_sentence_before_anything_is_loaded(
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("UNSLOTH_LLAMA_CPP_PATH", str(tmp_path / "nothing"))
    before = sorted(finished.rglob("*"))
    assert main([str(finished), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert sorted(finished.rglob("*")) == before


@pytest.mark.unit
def test_no_run_no_adapter_and_a_folder_in_the_way(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (finished / "merged").mkdir()
    assert main([str(finished), "--to", "merged"]) == 2
    assert (
        "merged exists already; remove it, or choose another place with --out"
        in capsys.readouterr().err
    )
    assert main([str(tmp_path / "Qwen2.5-0.5B-Instruct"), "--to", "merged"]) == 2
    assert "it is a model already" in capsys.readouterr().err
    (finished / "adapter/adapter_model.safetensors").unlink()
    assert main([str(finished), "--to", "gguf"]) == 2
    assert "the run did not finish" in capsys.readouterr().err


@pytest.mark.unit
def test_an_adapter_alone_has_no_recipe_for_ollama_or_the_hub(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = finished.parent / "Qwen2.5-0.5B-Instruct"
    (finished / "adapter/adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(base)})
    )
    for asked in (["--to", "ollama"], ["--to", "hub", "--repo", "me/mine", "--weights", "merged"]):
        assert main([str(finished / "adapter"), *asked]) == 2
        assert f"{' '.join(asked[:2])} wants a run's folder" in capsys.readouterr().err


@pytest.mark.unit
def test_a_token_is_wanted_before_anything_and_the_hub_after_it(
    finished: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked = [
        sys.executable,
        "-m",
        "onecard.export",
        str(finished),
        "--to",
        "hub",
        "--repo",
        "me/mine",
        "--weights",
        "merged",
    ]
    environment = variables("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    environment |= {"HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "export HF_TOKEN=" in done.stderr
    done = subprocess.run(
        asked,
        env=environment | {"HF_TOKEN": "hf_secret"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the hub does not answer (OfflineModeIsEnabled)" in done.stderr
    assert "hf_secret" not in done.stdout + done.stderr


@pytest.mark.unit
def test_llama_cpp_has_to_be_built_where_unsloth_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSLOTH_LLAMA_CPP_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".unsloth/llama.cpp"
    with pytest.raises(
        UserError,
        match=(
            r"has no llama-quantize and no convert_hf_to_gguf\.py.*git clone .* --target"
            r" llama-quantize"
        ),
    ):
        find_llama_cpp()
    folder.mkdir(parents=True)
    (folder / "convert_hf_to_gguf.py").touch()
    with pytest.raises(UserError, match=r"has no llama-quantize; "):
        find_llama_cpp()
    (folder / "llama-quantize").touch(mode=0o644)
    with pytest.raises(UserError, match=r"chmod \+x"):
        find_llama_cpp()
    (folder / "llama-quantize").chmod(0o755)
    assert find_llama_cpp() == folder


@pytest.mark.unit
def test_a_merge_is_refused_where_it_drifts_and_where_rounding_hides_the_adapter() -> None:
    Drift(merged=0.004, base=0.1).check()
    with pytest.raises(UserError, match=r"drifts from base and adapter by 0.060"):
        Drift(merged=0.06, base=0.1).check()
    with pytest.raises(UserError, match=r"drifts"):
        Drift(merged=float("nan"), base=0.1).check()
    with pytest.raises(UserError, match=r"0.004 nats a token and the adapter itself by 0.003"):
        Drift(merged=0.004, base=0.003).check()


# Ollama


def refuse(message: str) -> None:
    raise TemplateError(message)


def renderer(chat_template: str) -> Render:
    """The chat template as transformers renders it, in Jinja's words alone."""
    jinja = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    jinja.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "26 Jul 2024"}
    template = jinja.from_string(chat_template)
    return lambda messages: template.render(
        messages=messages, add_generation_prompt=True, bos_token="", eos_token="</s>"
    )


def known_chat_templates() -> dict[str, str]:
    """The tiny model's, and those that Unsloth's sources hold, by their names there; read, not
    imported.
    """
    spec = importlib.util.find_spec("unsloth")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0], "chat_templates.py").read_text(
        encoding="utf-8"
    )
    found = {"tiny": CHAT_TEMPLATE}
    for node in ast.parse(source).body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        ):
            found[node.targets[0].id] = str(node.value.value)
    return found


TEMPLATES = known_chat_templates()
OTHER_CONTENTS = (
    "Work it out between <think> and </think>.\nThen <answer>7</answer>.",
    "Ann has {{ 7 }} {% apples %} and\n\n\ttwo 'pears'. How many?",
    "4 {end} #### 4",
    "{{ .System }} $5?",
)


@pytest.mark.unit
@pytest.mark.parametrize(
    "name",
    [
        "tiny",
        "qwen25_template",
        "qwen3_template",
        "qwen3_instruct_template",
        "qwen3_thinking_template",
        "llama3_template",
        "llama31_template",
        "chatml_template",
        "phi4_template",
        "gemma3_template",
        "mistral_template",
    ],
)
def test_ollama_puts_the_same_prompt_as_the_chat_template(name: str) -> None:
    render = renderer(TEMPLATES[name])
    template = derive_template(render)
    for contents in (*CONTENTS, OTHER_CONTENTS):
        for messages in conversations(*contents):
            assert execute(template.go, messages) == render(messages)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("chat_template", "why"),
    [
        ("{{ messages[-1]['content'] }}", "it leaves out or repeats a message"),
        (
            "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}",
            "it leaves out or repeats a message",
        ),
        (
            "{% for m in messages %}<{{ m['content'].replace('+', 'plus') }}>{% endfor %}",
            "it does more with user messages",
        ),
        (
            "{% for m in messages %}<{{ m['content'] }}>{{ m['content']|length }}{% endfor %}",
            "it does more with user messages",
        ),
        (
            "{% for m in messages %}{{ loop.index }} {{ m['content'] }} {% endfor %}",
            "it does more with user and assistant messages",
        ),
        (
            (
                "{{ raise_exception('no system role') if messages[0]['role'] == 'system' }}{{"
                " messages[0]['content'] }}"
            ),
            "no system role",
        ),
    ],
)
def test_a_chat_template_that_ollama_cannot_follow_is_refused(chat_template: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        derive_template(renderer(chat_template))


@pytest.mark.unit
def test_a_modelfile_carries_what_the_run_was_evaluated_with() -> None:
    recipe = load_recipe(QWEN)
    text = modelfile(
        "gsm8k.Q4_K_M.gguf",
        derive_template(renderer(TEMPLATES["qwen25_template"])),
        ["<|im_end|>", "<|endoftext|>"],
        recipe,
    )
    head, template, system, parameters = (
        text.split('"""')[0],
        *text.split('"""')[1:4:2],
        text.split('"""')[4],
    )
    assert head == "FROM ./gsm8k.Q4_K_M.gguf\nTEMPLATE "
    assert system == recipe.data.system_prompt
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": "What is 2 + 2?"},
    ]
    assert (
        execute(template, messages)
        == f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nWhat is 2 +"
        " 2?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert parameters.split("\n")[1:-1] == [
        "PARAMETER temperature 0",
        "PARAMETER repeat_penalty 1",
        "PARAMETER num_ctx 1024",
        "PARAMETER num_predict 512",
        'PARAMETER stop "<|im_end|>"',
        'PARAMETER stop "<|endoftext|>"',
    ]


@pytest.mark.unit
def test_what_a_modelfile_cannot_hold_is_refused() -> None:
    template = derive_template(renderer(CHAT_TEMPLATE))
    for system in ('say """ often', "a\u00a0space", "a\x00zero"):
        recipe = load_recipe(QWEN)
        recipe = recipe.model_copy(
            update={"data": recipe.data.model_copy(update={"system_prompt": system})}
        )
        with pytest.raises(
            UserError, match="the system has three quotation marks or an unprintable character"
        ):
            modelfile("a.gguf", template, ["<|im_end|>"], recipe)
    braces = derive_template(renderer(CHAT_TEMPLATE.replace("<|im_end|>", "{{ '{{' }}")))
    with pytest.raises(UserError, match=r"what it writes has \{\{ in it"):
        modelfile("a.gguf", braces, [], load_recipe(QWEN))


# the hub


@pytest.mark.unit
def test_a_model_card_says_what_the_files_say_and_nothing_of_this_machine(finished: Path) -> None:
    recipe = load_recipe(finished / "recipe.resolved.yaml")
    card = model_card(finished, "me/mine", "adapter")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["grpo", "trl", "unsloth", "onecard"],
    }
    assert "| gsm8k | 1319 | 31.2 % | 43.3 % | +12.1 | +8.0 to +16.3 | < 0.001 |" in card
    assert (
        "| gsm8k, flexible extraction | | 35.0 % | 46.0 % | +11.0 | +7.0 to +15.0 | 0.002 |" in card
    )
    assert f"> {recipe.caveat}" in card
    assert str(recipe.claim) in card
    assert f"    {recipe.data.system_prompt}" in card
    assert "seed 3" in card
    assert "trl 1.15.0, torch 2.11.0." in card
    assert "merging" not in card
    assert str(finished.parent) not in card
    assert "/home" not in card
    inside = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert inside["grpo"] == recipe.model_dump(mode="json")["grpo"]
    assert (inside["model"]["name"], inside["data"]["path"]) == ("Qwen2.5-0.5B-Instruct", "gsm8k")


@pytest.mark.unit
def test_a_merged_model_s_card_names_its_base_and_says_what_was_not_measured(
    finished: Path,
) -> None:
    (finished / "recipe.resolved.yaml").write_text(
        yaml.safe_dump(load_recipe(QWEN).model_dump(mode="json"), sort_keys=False)
    )
    card = model_card(finished, "me/mine", "merged")
    header = yaml.safe_load(card.split("---\n")[1])
    assert (header["base_model"], header["base_model_relation"]) == (
        "Qwen/Qwen2.5-0.5B-Instruct",
        "finetune",
    )
    assert "not again after merging" in card
    (finished / "results.json").unlink()
    with pytest.raises(UserError, match="the run did not finish"):
        model_card(finished, "me/mine", "merged")


# real weights


def export(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m onecard.export` in a process of its own."""
    command = [sys.executable, "-m", "onecard.export", *arguments]
    env = variables() | environment
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def target_of(run: Path) -> Target:
    recipe = load_recipe(run / "recipe.resolved.yaml")
    return Target(
        Weights(str(run / "base-model"), run / "adapter", as_trained=True), recipe, run / "eval"
    )


@pytest.mark.e2e
def test_a_merged_model_is_base_and_adapter_to_within_rounding(
    short_run: ShortRun, eval_again: Call, tmp_path: Path
) -> None:
    folder = short_run[0]
    done = export(tmp_path, str(folder), "--to", "merged", "--out", "merged")
    assert done.returncode == 0, done.stderr
    drift, base = (
        float(part.split()[-1])
        for part in done.stdout.split("merged: ")[1].split(" from the base")[0].split(" nats")
        if part
    )
    assert 0.0 <= drift < base
    assert drift < 0.05
    again = export(tmp_path, str(folder), "--to", "merged", "--out", "merged")
    assert again.returncode == 2
    assert "merged exists already" in again.stderr
    recipe = str(folder / "recipe.resolved.yaml")
    asked = ("--benchmark", "tiny", "--limit", "8", "--out", "out", "--no-load-in-4bit")
    assert eval_again(tmp_path, "merged", "--recipe", recipe, *asked).returncode == 0


@pytest.mark.e2e
def test_a_merge_that_drifts_is_taken_back(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the disk is looked at: the weights are spoiled there, after they were written."""
    import unsloth  # noqa: F401  isort: skip
    from safetensors.torch import load_file, save_file

    def spoil(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        name = next(name for name in weights if name.endswith("layers.1.mlp.down_proj.weight"))
        save_file(
            weights | {name: weights[name] * 0}, folder / "model.safetensors", {"format": "pt"}
        )

    monkeypatch.setattr(merged, "make_readable", spoil)  # the last that is done to them
    with (
        pytest.raises(UserError, match=r"drifts from base and adapter by .* nothing was kept"),
        atomic_folder(tmp_path / "merged") as folder,
    ):
        write_merged(target_of(short_run[0]), folder, Display())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_an_adapter_that_rounding_hides_is_not_merged(short_run: ShortRun, tmp_path: Path) -> None:
    import unsloth  # noqa: F401  isort: skip
    from safetensors.torch import load_file, save_file

    run = short_run[0]
    shutil.copytree(run / "adapter", tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    save_file(
        {
            name: weights * (0.001 if "lora_B" in name else 1)
            for name, weights in load_file(file).items()
        },
        file,
    )
    target = Target(Weights(str(run / "base-model"), tmp_path / "adapter"), None, tmp_path)
    with (
        pytest.raises(UserError, match="so that would be lost; nothing was kept"),
        atomic_folder(tmp_path / "out") as folder,
    ):
        write_merged(target, folder, Display())
    assert not (tmp_path / "out").exists()


@pytest.mark.e2e
def test_a_base_stored_in_4_bit_is_refused_before_its_weights_are_read(
    short_run: ShortRun, tmp_path: Path
) -> None:
    import unsloth  # noqa: F401  isort: skip

    config = json.loads((short_run[0] / "base-model/config.json").read_text())
    (tmp_path / "config.json").write_text(
        json.dumps(
            config | {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
        )
    )
    target = Target(Weights(str(tmp_path), short_run[0] / "adapter"), None, tmp_path)
    with pytest.raises(
        UserError,
        match=(
            "is stored quantized, so there is no 16-bit model to merge into; write its 16-bit"
            " original's name"
        ),
    ):
        write_merged(target, tmp_path / "merged", Display())


@pytest.mark.e2e
def test_the_tiny_tokenizer_is_no_gguf_and_is_told_so_at_once(
    short_run: ShortRun, tmp_path: Path
) -> None:
    for kind in ("gguf", "ollama"):
        done = export(tmp_path, str(short_run[0]), "--to", kind)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "--to merged works" in done.stderr


@pytest.mark.e2e
def test_ollama_s_prompt_is_that_of_the_run_s_own_tokenizer(short_run: ShortRun) -> None:
    import unsloth  # noqa: F401  isort: skip

    from onecard.export.__main__ import ollama_text
    from onecard.model.engines.transformers import load_tokenizer

    target = target_of(short_run[0])
    text = ollama_text(target, "tiny.gguf", Display())
    assert text.split('"""')[2].split("\n")[-2:] == ['PARAMETER stop "<|im_end|>"', ""]
    first = json.loads((short_run[0] / "eval/tiny-after/items.jsonl").read_text().split("\n")[0])
    messages = [{"role": "user", "content": first["question"]}]
    assert execute(text.split('"""')[1], messages) == first["prompt"]
    assert (
        load_tokenizer(target.weights).apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        == first["prompt"]
    )


def with_its_base_named(run: Path, folder: Path) -> Path:
    """The short run as one of a model from a folder, which is what a run of a real model is."""
    shutil.copytree(run / "adapter", folder / "adapter")
    recipe = load_recipe(
        run / "recipe.resolved.yaml",
        [
            f"model.name={run / 'base-model'}",
            "stages=[grpo]",
            "sft=null",
            "data.system_prompt=Be brief.",
        ],
    )
    (folder / "recipe.resolved.yaml").write_text(
        yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
    )
    return folder


@pytest.mark.e2e
def test_what_llama_cpp_says_against_a_model_is_one_sentence_and_nothing_stays(
    short_run: ShortRun, tmp_path: Path
) -> None:
    run, llama_cpp = with_its_base_named(short_run[0], tmp_path / "run"), tmp_path / "llama.cpp"
    llama_cpp.mkdir()
    (llama_cpp / "llama-quantize").write_text("#!/bin/sh\necho usage: none\n")
    (llama_cpp / "llama-quantize").chmod(0o755)
    (llama_cpp / "convert_hf_to_gguf.py").write_text(
        "raise NotImplementedError('a model of a kind that nobody knows')\n"
    )
    done = export(tmp_path, str(run), "--to", "ollama", UNSLOTH_LLAMA_CPP_PATH=str(llama_cpp))
    assert done.returncode == 2
    assert (
        "did not convert the model: NotImplementedError: a model of a kind that nobody knows\n"
        in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in run.iterdir()) == ["adapter", "recipe.resolved.yaml"]


@pytest.mark.e2e
@pytest.mark.skipif(
    not os.environ.get("UNSLOTH_LLAMA_CPP_PATH"),
    reason="llama.cpp, built, is not where UNSLOTH_LLAMA_CPP_PATH says",
)
@pytest.mark.parametrize("quantization", ["q4_k_m", "q8_0", "bf16"])
def test_a_gguf_file_has_the_model_in_it(
    short_run: ShortRun, tmp_path: Path, quantization: str
) -> None:
    """With a copy of llama.cpp's converter that takes the tiny model's tokenizer, which it cannot
    know, for GPT-2's, which it is like.
    """
    installed, llama_cpp = Path(os.environ["UNSLOTH_LLAMA_CPP_PATH"]), tmp_path / "llama.cpp"
    for part in ("conversion", "gguf-py"):
        shutil.copytree(installed / part, llama_cpp / part)
    for part in ("convert_hf_to_gguf.py", "llama-quantize"):
        shutil.copy(installed / part, llama_cpp)
    base = llama_cpp / "conversion/base.py"
    unknown = '            raise NotImplementedError("BPE pre-tokenizer was not recognized'
    assert unknown in base.read_text()
    base.write_text(base.read_text().replace(unknown, f'            return "gpt-2"\n{unknown}'))
    run = with_its_base_named(short_run[0], tmp_path / "run")
    asked = ("--to", "ollama", "--quantization", quantization, "--out", "out")
    done = export(tmp_path, str(run), *asked, UNSLOTH_LLAMA_CPP_PATH=str(llama_cpp))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("ollama create tiny -f out/Modelfile\n")
    file = tmp_path / f"out/tiny.{quantization.upper()}.gguf"
    assert sorted(path.name for path in file.parent.iterdir()) == ["Modelfile", file.name]
    text = (file.parent / "Modelfile").read_text()
    assert text.startswith(f"FROM ./{file.name}\n")
    assert '\nSYSTEM """Be brief."""\n' in text
    script = """
import json, sys
from gguf import GGUFReader
reader = GGUFReader(sys.argv[1])
kept = {name: f for name, f in reader.fields.items() if not name.startswith("tokenizer.ggml.t")}
fields = {name: field.contents() for name, field in kept.items()}
tensors = {t.name: t.tensor_type.name for t in reader.tensors}
print(json.dumps({"fields": fields, "tensors": tensors}, default=str))
"""
    command = [sys.executable, "-c", script, str(file)]
    environment = os.environ | {"PYTHONPATH": str(llama_cpp / "gguf-py")}
    found = json.loads(
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    )
    assert found["fields"]["general.architecture"] == "qwen3"
    assert found["fields"]["general.name"] == "Tiny"
    assert found["fields"]["tokenizer.chat_template"] == CHAT_TEMPLATE
    assert len(found["tensors"]) == 24  # embedding, last norm, and 11 of each of two layers
    assert {"q4_k_m": "Q4_K", "q8_0": "Q8_0", "bf16": "BF16"}[quantization] in found[
        "tensors"
    ].values()


@pytest.mark.e2e
def test_a_begin_token_that_ollama_puts_itself_is_not_in_its_template() -> None:
    import unsloth  # noqa: F401  isort: skip
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from onecard.export.__main__ import without_bos

    words = Tokenizer(
        models.WordLevel(
            {"<|begin_of_text|>": 0, "<|eot_id|>": 1, "a": 2, "[UNK]": 3}, unk_token="[UNK]"
        )
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        "<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)]
    )
    chat_template = (
        "{{ bos_token }}{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<|eot_id|>{%"
        " endfor %}<assistant>"
    )
    special = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, chat_template=chat_template, **special
    )
    messages = [{"role": "user", "content": "a"}]
    assert without_bos(tokenizer, messages) == "<user>a<|eot_id|><assistant>"
    tokenizer.chat_template = chat_template.removeprefix("{{ bos_token }}")
    with pytest.raises(UserError, match="would put a begin token before the prompt"):
        without_bos(tokenizer, messages)
    words.post_processor = processors.TemplateProcessing("$A", special_tokens=[])
    plain = PreTrainedTokenizerFast(tokenizer_object=words, chat_template=chat_template, **special)
    assert without_bos(plain, messages) == "<|begin_of_text|><user>a<|eot_id|><assistant>"


@pytest.mark.e2e
def test_pushing_an_adapter_pushes_these_files_and_no_others(
    short_run: ShortRun, finished: Path, tmp_path: Path, hub: tuple[type[Hub], dict[str, str]]
) -> None:
    """The adapter of a run whose base is on the hub: the files are the short run's, the recipe and
    the results made by hand.
    """
    known, environment = hub
    known.known["Qwen/Qwen2.5-0.5B-Instruct"] = {"private": False}
    shutil.rmtree(finished / "adapter")
    shutil.copytree(short_run[0] / "adapter", finished / "adapter")
    (finished / "adapter/base.json").write_text(
        '{"name": "Qwen/Qwen2.5-0.5B-Instruct", "sha256": null}'
    )
    (finished / "recipe.resolved.yaml").write_text(
        yaml.safe_dump(load_recipe(QWEN).model_dump(mode="json"), sort_keys=False)
    )
    done = export(tmp_path, str(finished), "--to", "hub", "--repo", "me/mine", **environment)
    assert done.returncode == 0, done.stderr
    assert "hf_secret" not in done.stdout + done.stderr
    files = pushed(known.seen)
    assert sorted(files) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "results.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert files["README.md"].decode() == model_card(finished, "me/mine", "adapter")
    assert (
        files["adapter_model.safetensors"]
        == (short_run[0] / "adapter/adapter_model.safetensors").read_bytes()
    )
    assert (
        json.loads(files["adapter_config.json"])["base_model_name_or_path"]
        == "Qwen/Qwen2.5-0.5B-Instruct"
    )
    (asked,) = created(known.seen)
    assert (asked["name"], asked["organization"], asked["visibility"]) == ("mine", "me", "private")
    assert not any(short_run[0].parent.as_posix().encode() in content for content in files.values())


@pytest.mark.e2e
def test_pushing_a_merged_model_publicly(
    short_run: ShortRun, tmp_path: Path, hub: tuple[type[Hub], dict[str, str]]
) -> None:
    known, environment = hub
    asked = ("--to", "hub", "--repo", "me/mine", "--weights", "merged", "--public")
    done = export(tmp_path, str(short_run[0]), *asked, **environment)
    assert done.returncode == 0, done.stderr
    files = pushed(known.seen)
    assert sorted(files) == [
        "README.md",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "results.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    (made,) = created(known.seen)
    assert made["visibility"] == "public"
    assert not any(tmp_path.parent.as_posix().encode() in content for content in files.values())
    assert not list(short_run[0].glob("tmp*"))


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("there", "extra", "said"),
    [
        (
            {"siblings": [{"rfilename": "README.md"}, {"rfilename": ".gitattributes"}]},
            [],
            "holds 1 files already, such as README.md",
        ),
        ({"private": False}, [], "exists and is public; --public if you want that"),
        (
            {"private": True},
            ["--public"],
            "exists and is private; --public is for one that everybody may see",
        ),
    ],
)
def test_what_is_on_the_hub_already_is_left_alone(
    short_run: ShortRun,
    tmp_path: Path,
    hub: tuple[type[Hub], dict[str, str]],
    there: dict[str, Any],
    extra: list[str],
    said: str,
) -> None:
    known, environment = hub
    known.known["me/mine"] = there
    done = export(
        tmp_path,
        str(short_run[0]),
        "--to",
        "hub",
        "--repo",
        "me/mine",
        "--weights",
        "merged",
        *extra,
        **environment,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
    assert {method for method, _, _ in known.seen} == {"GET"}


@pytest.mark.e2e
def test_a_token_that_the_hub_does_not_know(
    short_run: ShortRun, tmp_path: Path, hub: tuple[type[Hub], dict[str, str]]
) -> None:
    asked = ("--to", "hub", "--repo", "me/mine", "--weights", "merged")
    done = export(tmp_path, str(short_run[0]), *asked, **hub[1] | {"HF_TOKEN": "hf_other"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the hub does not know the token in HF_TOKEN" in done.stderr
    assert "hf_other" not in done.stdout + done.stderr


# stock TRL


@pytest.mark.e2e
def test_stock_trl_trains_what_was_exported(short_run: ShortRun, tmp_path: Path) -> None:
    """With the settings that a CPU needs in place of a card's and a vLLM server's."""
    settings = [*no_sft(short_run), "grpo.max_steps=2", "grpo.per_device_train_batch_size=16"]
    recipe = load_recipe(ROOT / "recipes/tiny.yaml", settings)
    write_yaml(tmp_path / "mine.yaml", recipe.resolved())
    done = export(tmp_path, "mine.yaml", "--to", "trl", "--out", "exported")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "exported"
    exported = yaml.safe_load((folder / "grpo.yaml").read_text(encoding="utf-8"))
    assert exported["vllm_mode"] == "server"
    assert exported["num_generations"] == 8
    assert exported["reward_weights"] == [1.0, 0.25]
    here = {"use_vllm": False, "bf16": False, "use_cpu": True, "save_strategy": "no"}
    write_yaml(folder / "grpo.yaml", exported | here | {"report_to": "none"})
    # Stock TRL does not import GRPOTrainer without Triton; Unsloth helps it on a CPU.
    run = "import onecard.model.load, runpy; runpy.run_path('train_trl.py', run_name='__main__')"
    trained = subprocess.run(
        [sys.executable, "-c", run],
        cwd=folder,
        env=variables(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    assert "rewards/correct_answer/mean" in trained.stdout
    weights = safetensors.load_file(folder / "output/adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in weights.items() if "lora_B" in name)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([], r"the stages are \[sft, grpo\]"),
        (["model.name=some", "sft=null", "grpo.dynamic_sampling={}"], "are Onecard's"),
        (["model.name=some", "sft=null", "grpo.credit=accepted"], "grpo.credit: accepted"),
        (["model.name=some", "sft=null", "grpo.iterate=3"], "grpo.iterate: 3 rounds"),
        (
            ["model.name=some", "sft=null", "rewards=[{name: custom, function: mine.py:f}]"],
            "mine.py is beside you",
        ),
        (["model.name=random-qwen2.5-0.5b", "sft=null"], "random-qwen2.5-0.5b is made here"),
        (["model.name=runs/a/merged", "sft=null"], "runs/a/merged is no folder here"),
        (["model.name=tests", "sft=null"], "tests is beside you; name it by its whole path"),
    ],
)
def test_what_stock_trl_has_no_setting_for_is_refused(settings: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_trl(load_recipe(ROOT / "recipes/tiny.yaml", settings))
