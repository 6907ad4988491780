"""Whether an architecture makes the network that a recipe's ``[model]`` describes, and whether that trains.

Configurations of transformers take any value and use those that their architecture knows: a width under another name, experts,
shared layers or a second table stay at what a published model has. So the model is made without storage, one step is run
through it, and what it turned out to be is held against what was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from fastdraft_core.errors import FastdraftError, short_error
from fastdraft_core.runtimes.torch.runtime import context_length, refuse_unrewindable

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from fastdraft_core.training.recipe import ModelShape

#: What works for every target: a draft needs the target's vocabulary, not its architecture.
WAY_OUT = 'set model.architecture = "llama", which drafts for any target'
#: Layers that are left out at random, as OPT's may be: neither this check nor the plan's memory can follow them.
_UNFORESEEN = (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException)
_ROWS, _TOKENS = 2, 8
#: Positions that an architecture may add to its table for itself, as OPT does.
_SPARE_POSITIONS = 8
#: Norms and biases of a layer: at most so many vectors of the residual stream, and of the feed-forward network.
_VECTORS, _INNER_VECTORS = 24, 4


def check_shape(config: PretrainedConfig, shape: ModelShape) -> None:
    """Make the model of ``config`` without storage, train it for one step, and hold it against ``shape``.

    Raises:
        FastdraftError: it is another network, cannot be made or trained, or its past cannot be rewound.
    """
    kind = str(config.model_type)
    try:
        refuse_unrewindable(config, "A draft of this architecture")
        with torch.inference_mode(False), torch.enable_grad(), FakeTensorMode():
            model = _fake(config)
            _check_size(model, kind, shape)
            found = _made(model, config)
    except FastdraftError as error:
        raise FastdraftError(f"{error.message} For a draft, {WAY_OUT}.") from error
    except Exception as error:
        reason = "what it does depends on its numbers" if isinstance(error, _UNFORESEEN) else short_error(error)
        raise FastdraftError(
            f"transformers cannot make or train {kind} as [model] describes it ({reason}). Instead, {WAY_OUT}."
        ) from error
    asked = {name: getattr(shape, name) for name in found}
    wrong = [
        f"{name} = {_told(found[name])} and not {_told(asked[name])}" for name in found if found[name] != asked[name]
    ]
    if wrong:
        raise FastdraftError(
            f"As {kind} the draft would have {', '.join(wrong)}. Set that under [model], or {WAY_OUT}."
        )


def usable_attention(config: PretrainedConfig, attention: str) -> str:
    """``attention``, or plain attention for an architecture that has no fused one."""
    from transformers import AutoModelForCausalLM

    known = AutoModelForCausalLM._model_mapping.get(type(config), None)
    return attention if known is None or getattr(known, f"_supports_{attention}", True) else "eager"


def _made(model: Any, config: PretrainedConfig) -> dict[str, Any]:
    """What the ``model`` of ``config`` is, by the recipe's names, read from it and from its cache after one step."""
    ids = torch.zeros(_ROWS, _TOKENS, dtype=torch.int64)
    model.eval()
    past = model(input_ids=ids, use_cache=True).past_key_values
    model.train()
    model(input_ids=ids, use_cache=False).logits.float().logsumexp(-1).sum().backward()
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    found = {
        "hidden_size": table.shape[1],
        "num_layers": len(past.layers),
        "num_heads": config.num_attention_heads,
        "num_kv_heads": past.layers[0].keys.shape[1],
        "tie_embeddings": head is table,
    }
    context = context_length(config)
    # Distances that are added to the scores reach as far as anything.
    return found if context >= 1 << 30 else {**found, "context_length": context}


def _check_size(model: Any, kind: str, shape: ModelShape) -> None:
    """Whether the layers have the weights that their widths make, feed-forward networks with a gate or without one.

    Raises:
        FastdraftError: they have far more or fewer, such as with experts.
    """
    head = model.get_output_embeddings()
    tables = [model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None)]
    # Learned positions are as many as the context is long.
    tables += [
        module.weight
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        and 0 <= module.num_embeddings - shape.context_length <= _SPARE_POSITIONS
    ]
    left_out = {id(table) for table in tables}
    made = sum(p.numel() for p in model.parameters() if id(p) not in left_out)
    width, inner = shape.hidden_size, shape.intermediate_size
    attention = 2 * width * width + 2 * width * (width // shape.num_heads) * shape.num_kv_heads
    least = shape.num_layers * (attention + 2 * width * inner)
    spare = (shape.num_layers + 1) * (_VECTORS * width + _INNER_VECTORS * inner)
    most = shape.num_layers * (attention + 3 * width * inner) + spare
    if not least <= made <= most:
        raise FastdraftError(
            f"As {kind} the draft would have {made:,} weights in its layers, and the widths under [model] make {least:,} to "
            f"{most:,}: it has parts that [model] does not describe."
        )


def _fake(config: PretrainedConfig) -> Any:
    from transformers import AutoModelForCausalLM

    attention = usable_attention(config, "sdpa")
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
