"""Write a model so that other programs use it: an IR for OpenVINO GenAI, a Hugging Face folder, or a GGUF file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdraft_core.engine.pair import check_vocabularies
from fastdraft_core.errors import FastdraftError
from fastdraft_core.export.card import Facts, model_card, read_measured
from fastdraft_core.files import building
from fastdraft_core.models.catalog import is_here, own_target, parse_name
from fastdraft_core.models.draft_vocab import read_draft_vocab, write_draft_vocab
from fastdraft_core.models.folders import load_config, load_tokenizer, local_folder
from fastdraft_core.models.weights import is_ir
from fastdraft_core.runtimes.openvino.conversion import (
    WeightFormat,
    convert_tokenizer,
    load_for,
    needed_bytes,
    write_ir,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

#: Each form and the weights it has when nobody chooses.
FORMS = {"openvino": "int8", "hf": "original", "gguf": "q8_0"}
#: What a GGUF file can store; q4_1 is nearest to the int4 of OpenVINO.
GGUF_WEIGHTS = ("f16", "q8_0", "q4_0", "q4_1")
_GGUF_ENDING = re.compile(r"[-.]gguf$", re.IGNORECASE)
#: Of the generation settings, what the others must agree with.
_FIRST_SETTINGS = ("bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "num_beams")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to write. ``weights`` empty is the form's default; ``target`` is whose width a draft gets.

    ``bench`` is a file with the last line of ``fastdraft bench``, for the model card.
    """

    form: str
    weights: str = ""
    target: str = ""
    bench: Path | None = None
    trust_remote_code: bool = False


def export(model: str, output: Path, options: ExportOptions, report: Callable[[str], None]) -> Facts:
    """Write ``model`` to ``output`` with its tokenizer and a model card; ``report`` hears of each step.

    Other programs know no draft vocabulary, so the head is always whole: ``@vocab`` changes nothing, and of a draft that was
    trained with a list the rows outside are made harmless.

    Raises:
        FastdraftError: the model, the form or the weights are not usable, the draft does not fit its target, or
            ``output`` is in use or on a full disk.
    """
    weights, stored = _weights(options)
    if options.form == "gguf" and output.suffix.lower() == ".gguf":
        raise FastdraftError(f"--output is a folder, for the GGUF file and its card; write {output.with_suffix('')}.")
    measured = read_measured(options.bench, model) if options.bench else None
    trust = options.trust_remote_code
    asked = parse_name(model)
    model = asked.base
    report(f"finding {model}")
    if asked.draft_vocab is not None:
        report(f"the whole head of {model} is written: other programs cannot use @vocab")
    source = local_folder(model, report=report)
    if is_ir(source):
        raise FastdraftError(f"{model} is an OpenVINO IR already. Export from the Hugging Face folder it was made of.")
    with building(output, needed=needed_bytes(source, weights)) as folder:
        tokenizer = load_tokenizer(source, model, trust_remote_code=trust)
        own = own_target(model) if ":" in model else ""
        target = options.target or own
        # A bundled draft has its target's width; a target that was not downloaded need not be.
        known = bool(options.target or (own and is_here(own)))
        width = _target_width(target, model, tokenizer, trust=trust) if known else None
        loaded: Any = load_for(weights, source, model, report, trust_remote_code=trust)
        before = loaded.config.get_text_config().vocab_size
        vocab = read_draft_vocab(source)
        if vocab is not None:
            report(f"making the rows of the head that {model} was not trained with harmless")
            fill_unscored_rows(loaded, vocab.ids)
            if options.form == "gguf":
                report(f"the whole head of {model} is written: llama.cpp knows no draft vocabulary")
            else:
                write_draft_vocab(folder, vocab)
        if width and width != before:
            report(f"giving {model} the {width} logits of {target} (it has {before})")
            resize_vocabulary(loaded, width)
        facts = Facts(
            name=_public(model),
            target=_public(target),
            form=options.form,
            weights=stored,
            width=width or before,
            width_before=before,
            parameters=loaded.num_parameters(),
            measured=measured,
            vocab=vocab,
            file=f"{_GGUF_ENDING.sub('', output.name)}-{stored.upper()}.gguf" if options.form == "gguf" else "",
        )
        if options.form == "gguf":
            _write_gguf(loaded, folder, facts, target if known else model, report, trust=trust)
        else:
            _write_folder(loaded, tokenizer, folder, options.form, weights, model, report)
        (folder / "README.md").write_text(model_card(facts, source, output.name), encoding="utf-8")
    return facts


def _write_folder(
    loaded: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    form: str,
    weights: WeightFormat,
    name: str,
    report: Callable[[str], None],
) -> None:
    """Model and tokenizer as an IR or for transformers."""
    if dropped := mend_generation_config(loaded):
        report(f"leaving out of generation_config.json what contradicts the rest: {', '.join(dropped)}")
    if form == "openvino":
        write_ir(loaded, folder, weights, report, name=name)
    else:
        report(f"writing {name}")
        loaded.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _help_older_readers(folder)
    if form == "openvino":
        convert_tokenizer(tokenizer, folder)


def _write_gguf(
    loaded: PreTrainedModel,
    folder: Path,
    facts: Facts,
    vocabulary_of: str,
    report: Callable[[str], None],
    *,
    trust: bool,
) -> None:
    """One file for llama.cpp, with the tokenizer of the model ``vocabulary_of``."""
    from fastdraft_core.export.gguf_file import tokenizer_metadata, write_gguf

    called = facts.file.rpartition("-")[0]
    report(f"taking the tokenizer of {vocabulary_of}")
    tokenizer = tokenizer_metadata(vocabulary_of, facts.width, called, trust_remote_code=trust)
    write_gguf(loaded, folder / facts.file, facts.weights, tokenizer, facts.name, called, report)


def fill_unscored_rows(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Give every row of the head outside of ``ids`` the mean of those inside, as ``resize_vocabulary`` does with new rows.

    A draft with a draft vocabulary was never taught what these rows should say; so they never say the most. A head that
    shares the table of the embeddings gets one of its own.
    """
    import torch

    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    if head.weight is table:
        own = torch.nn.Linear(table.shape[1], table.shape[0], bias=False, dtype=table.dtype)
        own.weight = torch.nn.Parameter(table.detach().clone())
        model.config.get_text_config().tie_word_embeddings = False
        model.config.tie_word_embeddings = False
        # What is tied was settled when the model was made.
        model.all_tied_weights_keys = {}
        model.set_output_embeddings(own)
        head = own
    with torch.no_grad():
        outside = torch.ones(head.weight.shape[0], dtype=torch.bool)
        outside[list(ids)] = False
        for rows in (head.weight, getattr(head, "bias", None)):
            if rows is not None:
                rows[outside] = rows[list(ids)].float().mean(0).to(rows.dtype)


def resize_vocabulary(model: PreTrainedModel, width: int) -> None:
    """Give ``model`` ``width`` logits, as peers want that compare the widths of a pair.

    A new row is the mean of the old ones. Its logit is then the mean of all logits: it is never the largest, and by
    Jensen's inequality its probability is at most one in the old number of rows.
    """
    import torch

    old = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(width, mean_resizing=False)
    head = model.get_output_embeddings()
    tables = {id(t): t for t in (model.get_input_embeddings().weight, head.weight, getattr(head, "bias", None))}
    with torch.no_grad():
        for table in tables.values():
            if table is not None and width > old:
                table[old:] = table[:old].float().mean(0).to(table.dtype)


def mend_generation_config(model: PreTrainedModel) -> list[str]:
    """Drop the generation settings that contradict the others, which transformers refuses to write; returns their names."""
    from transformers import GenerationConfig

    settings = model.generation_config
    if settings is None or _holds(settings.to_diff_dict()):
        return []
    told = {key: value for key, value in settings.to_diff_dict().items() if key != "transformers_version"}
    kept = {key: told.pop(key) for key in _FIRST_SETTINGS if key in told}
    for key, value in told.items():
        if _holds({**kept, key: value}):
            kept[key] = value
    model.generation_config = GenerationConfig(**kept)
    return [key for key in told if key not in kept]


def _holds(settings: dict[str, Any]) -> bool:
    """Whether transformers would write these generation settings."""
    from transformers import GenerationConfig

    try:
        GenerationConfig(**settings).validate(strict=True)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _public(name: str) -> str:
    """A name for a card that others read: where a folder lies on this machine is nobody's business."""
    return Path(name).resolve().name if Path(name).exists() else name


def _weights(options: ExportOptions) -> tuple[WeightFormat, str]:
    """In which format the model is loaded and, for an IR, written; and the name of what is stored."""
    if options.form not in FORMS:
        raise FastdraftError(f"There is no form {options.form!r} to export to; use {', '.join(FORMS)}.")
    asked = options.weights or FORMS[options.form]
    if options.form == "gguf":
        if (kind := asked.strip().lower()) not in GGUF_WEIGHTS:
            raise FastdraftError(f"--to gguf has the weights {', '.join(GGUF_WEIGHTS)}, not {asked!r}.")
        return WeightFormat("original"), kind
    weights = WeightFormat.parse(asked)
    if options.form == "hf" and weights.bits:
        raise FastdraftError(f"{weights} is a format of OpenVINO; --to hf has original, bf16 and f16 weights.")
    return weights, str(weights)


def _target_width(target: str, draft: str, tokenizer: PreTrainedTokenizerBase, *, trust: bool) -> int:
    """Logits of the target, whose tokenizer is the draft's; no weights are read.

    Raises:
        FastdraftError: the two vocabularies differ, or the target scores fewer ids than there are.
    """
    folder = local_folder(target, weights=False)
    vocabulary = load_tokenizer(folder, target, trust_remote_code=trust).get_vocab()
    check_vocabularies(vocabulary, tokenizer.get_vocab(), target, draft)
    width: int = load_config(folder, target, trust_remote_code=trust).get_text_config().vocab_size
    if width <= max(vocabulary.values()):
        raise FastdraftError(
            f"{target} scores {width} ids and its tokenizer knows ids up to {max(vocabulary.values())}; a draft cannot "
            "have the width of such a target. Leave --target out."
        )
    return width


def _help_older_readers(folder: Path) -> None:
    """Say in the configurations, beside it, what releases before transformers 5 and other programs look for."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        rest = {key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")}
        old = {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
        old["rope_scaling"] = None if rest.get("rope_type", "default") == "default" else rest
        config = {**old, **config}
    if "dtype" in config:
        config.setdefault("torch_dtype", config["dtype"])
    _write_json(folder / "config.json", config)
    file = folder / "tokenizer_config.json"
    if file.is_file():
        settings = json.loads(file.read_text(encoding="utf-8"))
        if settings.get("tokenizer_class") == "TokenizersBackend":
            settings["tokenizer_class"] = "PreTrainedTokenizerFast"
            _write_json(file, settings)


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
