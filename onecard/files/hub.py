"""Is a model or a data set within reach? Asked before a run writes anything."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from onecard.types import UserError


def check_code(name: str, trusted: bool) -> None:
    """Raise UserError where a model brings Python files along that the recipe does not say to run.

    Of a model in a folder; one on the hub shows it when its config is read.
    """
    config = Path(name) / "config.json"
    if not trusted and config.is_file() and b'"auto_map"' in config.read_bytes():
        raise UserError(foreign_code(name))


def foreign_code(name: str) -> str:
    return (
        f"model.name: {name} brings Python code of its own along, which would run with your rights;"
        " if you have read it, `model.trust_remote_code: true` runs it"
    )


def check_available(name: str, kind: Literal["model", "dataset"], key: str) -> None:
    """Raise UserError, naming `key`, unless `name` can be had.

    It is a folder, or in the local hub cache, or it answers on the hub.
    """
    if Path(name).is_dir():
        if kind == "model" and not (Path(name) / "config.json").is_file():
            if (Path(name) / "adapter").is_dir():
                raise UserError(
                    f"{key}: {name} is a run, and not a model; `python -m onecard.export {name}"
                    f" --to merged` makes one, in {name}/merged"
                )
            raise UserError(
                f"{key}: the folder {name} has no config.json, so it is not a model;"
                " save_pretrained writes one"
            )
        return
    import huggingface_hub
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    remedy = "go online once to fetch it, or name a folder on this disk"
    try:
        if any(
            name == repo.repo_id and kind == repo.repo_type
            for repo in huggingface_hub.scan_cache_dir().repos
        ):
            return
    except huggingface_hub.CacheNotFound:
        pass  # nothing was ever fetched on this machine
    try:
        huggingface_hub.HfApi().repo_info(name, repo_type=kind, timeout=10)
    except HFValidationError:
        raise UserError(
            f"{key}: no folder {name!r}, and that is no hub id (owner/name) either"
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{key}: the hub knows no {kind} {name!r}; if it is private or gated, set HF_TOKEN"
        ) from None
    # Every way of being offline, from DNS to HF_HUB_OFFLINE=1, has a class of its own.
    except Exception as error:
        raise UserError(
            f"{key}: {name} is not on this disk and the hub does not answer"
            f" ({type(error).__name__}); {remedy}"
        ) from None
    try:
        # Anybody may see that a gated one is there.
        huggingface_hub.HfApi().auth_check(name, repo_type=kind)
    except GatedRepoError:
        raise UserError(
            f"{key}: {name} is gated: accept its licence on its page of the hub, then set HF_TOKEN"
            " to a token of that account"
        ) from None
    except Exception:
        pass  # a mirror that cannot be asked this may give the files all the same


def load_rows(hub_id: str, config: str | None, split: str) -> Iterable[Any]:
    """The rows of a data set's split on the hub, or in a folder laid out like a hub repository."""
    check_available(hub_id, "dataset", key="data.hub_id")
    import datasets

    rows: Iterable[Any] = datasets.load_dataset(hub_id, config, split=split)
    return rows
