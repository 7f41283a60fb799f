"""A run's result in a repository on the Hugging Face hub: private unless asked otherwise, and never
without being asked.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from onecard.console.display import Display
from onecard.export.merged import write_merged
from onecard.export.model_card import model_card
from onecard.files.formats import write_json
from onecard.target import Target
from onecard.types import UserError

Weights = Literal["adapter", "merged"]
REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Of an adapter's folder, what is pushed: PEFT's own README.md is replaced, and base.json names a
# place on this disk.
ADAPTER_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
)


@dataclass(frozen=True)
class Place:
    """Where a run's result goes. `public`: for everybody to see."""

    repo: str
    weights: Weights
    public: bool


def check_place(place: Place, target: Target) -> None:
    """Raise UserError for what would fail only after minutes of merging and uploading: no token, a
    repository that holds something.
    """
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    if not REPO.fullmatch(place.repo):
        raise UserError(
            f"--repo {place.repo}: wanted owner/name, such as your-name/qwen2.5-1.5b-gsm8k"
        )
    if target.recipe is None:
        raise UserError(
            "--to hub wants a run's folder: a model card is made of its recipe and results, and"
            f" {target.weights.adapter} has none"
        )
    if place.weights == "adapter" and Path(target.weights.base).is_dir():
        raise UserError(
            f"the adapter's base, {target.weights.base}, is on this disk alone, so nobody could"
            " use it; --weights merged pushes both in one"
        )
    if huggingface_hub.get_token() is None:
        raise UserError(
            "--to hub needs a token that may write: make one at"
            " https://huggingface.co/settings/tokens, then export HF_TOKEN=..."
        )
    hub = huggingface_hub.HfApi()
    try:
        hub.whoami()
        there = hub.model_info(place.repo, timeout=10)
    except RepositoryNotFoundError:
        return
    except HfHubHTTPError as error:
        if error.response.status_code == 401:
            raise UserError(
                "the hub does not know the token in HF_TOKEN; make one at"
                " https://huggingface.co/settings/tokens"
            ) from None
        raise unreachable(error) from None
    except (
        Exception
    ) as error:  # every way of being offline, from DNS to HF_HUB_OFFLINE=1, has its own class
        raise unreachable(error) from None
    if files := {file.rfilename for file in there.siblings or ()} - {".gitattributes"}:
        raise UserError(
            f"--repo {place.repo} holds {len(files)} files already, such as {min(files)}; name a"
            " new one, or delete it on the hub"
        )
    if there.private == place.public:
        wanted = (
            "--public is for one that everybody may see"
            if place.public
            else "--public if you want that"
        )
        raise UserError(
            f"--repo {place.repo} exists and is {'private' if there.private else 'public'};"
            f" {wanted}, or name a new one"
        )


def unreachable(error: Exception) -> UserError:
    return UserError(
        f"--to hub: the hub does not answer ({type(error).__name__}); nothing was pushed"
    )


def stage(run: Path, target: Target, place: Place, folder: Path, display: Display) -> list[str]:
    """Write exactly what is pushed to `folder`; return the names of the files."""
    card = model_card(run, place.repo, place.weights)
    if place.weights == "merged":
        write_merged(target, folder, display)
    else:
        assert target.weights.adapter is not None
        for pattern in ADAPTER_FILES:
            for file in target.weights.adapter.glob(pattern):
                shutil.copy(file, folder)
        config: dict[str, Any] = json.loads(
            (folder / "adapter_config.json").read_text(encoding="utf-8")
        )
        # Unsloth's has the name of its 4-bit copy.
        named = config | {"base_model_name_or_path": target.weights.base}
        write_json(folder / "adapter_config.json", named)
    (folder / "README.md").write_text(card, encoding="utf-8")
    shutil.copy(run / "results.json", folder)
    return sorted(file.name for file in folder.iterdir())


def push(run: Path, target: Target, place: Place, display: Display) -> str:
    """Make the repository and push to it in one commit; return its address. Raises UserError where
    the hub refuses.
    """
    import huggingface_hub

    with TemporaryDirectory(dir=run, prefix="export-") as folder:
        names = stage(run, target, place, Path(folder), display)
        display.say(
            f"pushing {', '.join(names)} to {place.repo}, {'public' if place.public else 'private'}"
        )
        hub = huggingface_hub.HfApi()
        try:
            address = hub.create_repo(
                place.repo, visibility="public" if place.public else "private", exist_ok=True
            )
            hub.upload_folder(
                repo_id=place.repo, folder_path=folder, commit_message="A run of Onecard"
            )
        except Exception as error:  # the hub's refusals and every way of losing the connection
            what = (
                getattr(error, "server_message", None)
                or f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
            )
            raise UserError(
                f"the hub did not take {place.repo}: {what}; see what is there before you try again"
            ) from None
    return str(address)
