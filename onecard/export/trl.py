"""A recipe's GRPO as a folder that stock TRL trains: for more cards than one."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.problems import load_problems
from onecard.files.formats import write_jsonl, write_yaml
from onecard.recipe.file import load_recipe
from onecard.recipe.schema import Recipe
from onecard.run.folder import RECIPE
from onecard.stages.trl.config import grpo_settings
from onecard.types import UserError
from rewards.custom.entry import Custom
from rewards.judges.reward_model import RewardModel

SCRIPT = Path(__file__).parents[2] / "examples/train_trl.py"
# What is of our trainer on one machine, and what a vLLM server and checkpoints of TRL want instead.
OURS = ("use_cpu", "dataloader_pin_memory", "disable_tqdm", "fp16")
THEIRS = {
    "bf16": True,
    "use_vllm": True,
    "vllm_mode": "server",
    "save_strategy": "steps",
    "report_to": "tensorboard",
}


def find_recipe(name: str) -> Recipe:
    """The recipe of a run's folder, or of a file."""
    path = Path(name)
    return load_recipe(path / RECIPE if (path / RECIPE).is_file() else path)


def check_trl(recipe: Recipe) -> None:
    """Raises UserError for what stock TRL has no setting for."""
    why = ""
    grpo = recipe.grpo
    if grpo is None or recipe.stages != ["grpo"]:
        why = (
            f"the stages are [{', '.join(recipe.stages)}], and TRL's script does grpo alone; train"
            " the others here, export them with --to merged, and name that model in a recipe with"
            " grpo alone"
        )
    elif recipe.model.made_here:
        why = f"model.name: {recipe.model.name} is made here; name a model on the hub, or a folder"
    elif recipe.model.adapter:
        why = "model.adapter: export that run with --to merged, and name it in model.name"
    elif grpo.iterate > 1:
        why = f"grpo.iterate: {grpo.iterate} rounds; TRL's script does one, so write iterate: 1"
    elif names := nowhere(recipe):
        why = f"{names[0]} is no folder here, and no name of a model on the hub"
    elif files := relative_files(recipe):
        why = f"{files[0]} is beside you; name it by its whole path, for the script"
    elif grpo.dynamic_sampling or grpo.final_temperature is not None:
        why = "grpo.dynamic_sampling and grpo.final_temperature are Onecard's; leave them out"
    elif any(isinstance(reward, RewardModel) for reward in recipe.rewards):
        why = "the reward reward_model: each of TRL's processes would load it; leave it out"
    elif grpo.credit != "outcome":
        why = f"grpo.credit: {grpo.credit} is Onecard's; leave it out"
    if why:
        raise UserError(f"--to trl: {why}")


def nowhere(recipe: Recipe) -> list[str]:
    """The models that a recipe names which are neither a folder nor, by their form, on the hub."""
    from huggingface_hub.errors import HFValidationError  # late: it takes 0.3 s
    from huggingface_hub.utils import validate_repo_id

    found = []
    for _, name, _ in recipe.named_models:
        try:
            validate_repo_id(name)
        except HFValidationError:
            found += [] if Path(name).is_dir() else [name]
    return found


def relative_files(recipe: Recipe) -> list[str]:
    """The files and folders that a recipe names from where it is started."""
    named = [recipe.model.chat_template] if recipe.model.chat_template else []
    named += [name for _, name, _ in recipe.named_models if Path(name).exists()]
    for reward in recipe.rewards:
        if isinstance(reward, Custom) and ".py:" in reward.function:
            named.append(reward.function.partition(".py:")[0] + ".py")
    return [name for name in named if not Path(name).is_absolute()]


def write_trl(recipe: Recipe, folder: Path) -> int:
    """Fill a folder with the script, the settings and the rows; how many rows."""
    found = load_problems(recipe.source, recipe.eval, recipe.answer, recipe.data, recipe.pair_files)
    shutil.copy(SCRIPT, folder)
    write_yaml(folder / "grpo.yaml", trl_settings(recipe))
    write_yaml(folder / "recipe.yaml", recipe.resolved())
    write_jsonl(folder / "rows.jsonl", [asdict(problem) for problem in found.train])
    return len(found.train)


def trl_settings(recipe: Recipe) -> dict[str, Any]:
    """GRPOConfig's values for cards whose completions come from a vLLM server."""
    assert recipe.grpo is not None
    settings = grpo_settings(
        recipe.grpo,
        Path("output"),
        seed=recipe.seed,
        reward_weights=[reward.weight for reward in recipe.rewards],
        vllm=True,
        cuda=True,
        precision="bf16",
    )
    kept = {key: value for key, value in settings.items() if key not in OURS}
    return kept | THEIRS | {"save_steps": recipe.save.every_steps}
