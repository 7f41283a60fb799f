"""What a checkpoint holds, there and back: kinds, keys and bits, of a bitsandbytes optimizer that
has no kernels on a CPU too.
"""

import json
import random
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def there_and_back(tree: Any) -> Any:
    import onecard.model.load  # noqa: F401  isort: skip  (unsloth, before all that it patches)
    from safetensors import torch as safetensors

    from onecard.run.state import join, split

    tensors: dict[str, Any] = {}
    text = json.dumps(split(tree, tensors))
    return join(json.loads(text), safetensors.load(safetensors.save(tensors)))


def test_kinds_and_keys_are_kept() -> None:
    import torch

    tree: Any = {
        0: (1, [2.5, None, True]),
        "a": {"b": torch.arange(3), (1, 2): float("inf")},
        "empty": {},
        "tensor": "not one",
    }
    found = there_and_back(tree)
    assert torch.equal(found["a"].pop("b"), tree["a"].pop("b"))
    assert found == tree
    assert isinstance(found[0], tuple)
    assert found[0][1][2] is True


def test_what_cannot_be_kept_is_refused() -> None:
    with pytest.raises(
        TypeError, match="a set in the training state cannot be kept in a checkpoint"
    ):
        there_and_back({"x": {1, 2}})


def test_random_numbers_go_on_where_they_were() -> None:
    import numpy as np
    import torch

    import onecard.model.load  # noqa: F401  isort: skip
    from onecard.run.state import put_random_states, random_states

    kept = there_and_back(random_states())

    def drawn() -> tuple[float, float, float, float]:
        return (
            random.random(),
            float(np.random.rand()),
            float(np.random.randn()),
            float(torch.rand(())),
        )

    first = drawn()
    assert drawn() != first
    put_random_states(kept)
    assert drawn() == first


def test_the_state_of_an_8_bit_optimizer_survives_to_the_bit() -> None:
    """Its steps need a card; its state, quantized in blocks, does not."""
    import torch

    import onecard.model.load  # noqa: F401  isort: skip
    import bitsandbytes

    def optimizer(weights: list[Any]) -> Any:
        return bitsandbytes.optim.AdamW8bit(
            [torch.nn.Parameter(w.clone()) for w in weights], lr=1e-3
        )

    weights = [torch.randn(64, 128), torch.randn(16)]  # the small one stays in 32 bit
    trained = optimizer(weights)
    trained.check_overrides()
    for number, parameter in enumerate(trained.param_groups[0]["params"]):
        parameter.grad = torch.randn_like(parameter)
        trained.init_state(trained.param_groups[0], parameter, 0, number)
        state = trained.state[parameter]
        state["state1"].copy_(torch.randint(0, 255, state["state1"].shape))
        state["step"] = 7
    assert trained.state[trained.param_groups[0]["params"][0]]["state1"].dtype == torch.uint8
    resumed = optimizer(weights)
    resumed.load_state_dict(there_and_back(trained.state_dict()))
    for before, after in zip(trained.state.values(), resumed.state.values(), strict=True):
        assert set(before) == set(after)
        for name, value in before.items():
            same = (
                torch.equal(value, after[name]) and value.dtype == after[name].dtype
                if torch.is_tensor(value)
                else value == after[name]
            )
            assert same, name


def test_the_state_of_a_loss_scaler_survives() -> None:
    import torch

    state = {
        "scale": 1024.0,
        "growth_factor": 2.0,
        "backoff_factor": 0.5,
        "growth_interval": 2000,
        "_growth_tracker": 5,
    }
    scaler = torch.amp.GradScaler("cpu")
    scaler.load_state_dict(there_and_back(state))
    assert scaler.state_dict() == state
