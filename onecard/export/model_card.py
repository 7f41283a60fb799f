"""The model card of what is pushed: what a run found, in a README.md as the hub reads it. Every
number comes from the run's files.
"""

import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from eval.scores import p_text
from onecard.console.text import fenced
from onecard.report.curves import title_of
from onecard.types import UserError


def model_card(run: Path, repo: str, weights: str) -> str:
    """The card of `weights` (adapter, merged) in the repository `repo`. Raises UserError for a run
    that has not written its results.
    """
    if not (run / "results.json").is_file():
        raise UserError(
            f"{run} has no results.json: the run did not finish, so there is nothing to put on a"
            " model card"
        )
    stated = yaml.safe_load((run / "recipe.resolved.yaml").read_text(encoding="utf-8"))
    recipe, base = without_folders(stated), stated["model"]["name"]
    header: dict[str, Any] = {
        "library_name": "peft" if weights == "adapter" else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [*stated["stages"], "trl", "unsloth", "onecard"],
    }
    if "/" in base and not Path(base).is_dir():
        header["base_model"] = base
        header["base_model_relation"] = "adapter" if weights == "adapter" else "finetune"
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters |= {"fenced": fenced, "p_text": p_text}
    text: str = jinja.get_template("model_card.md.j2").render(
        header=yaml.safe_dump(header, sort_keys=False),
        recipe=recipe,
        recipe_text=yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True, width=100),
        results=json.loads((run / "results.json").read_text(encoding="utf-8")),
        packages=json.loads((run / "environment.json").read_text(encoding="utf-8"))["packages"],
        repo=repo,
        weights=weights,
        base=recipe["model"]["name"],
        stages=", then ".join(map(title_of, recipe["stages"])),
    )
    return text


def without_folders(value: Any) -> Any:
    """A recipe's values with the last part alone of what is a path from the root or from home:
    where things lie is nobody's business.
    """
    if isinstance(value, dict):
        return {key: without_folders(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_folders(inner) for inner in value]
    return (
        Path(value).name
        if isinstance(value, str) and value.startswith(("/", "~/")) and "\n" not in value
        else value
    )
