"""The model card of an export: what it is, how it was made, what was measured, and how to use it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import fastdraft_core
from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.catalog import hub_id, own_target
from fastdraft_core.models.draft_vocab import DRAFT_VOCAB_FILE, DraftVocab

#: Sections of the source's card that are still true of the export.
_CARRIED = ("Data", "Training", "Acceptance", "Recipe")
_LIBRARIES = {"openvino": "openvino", "hf": "transformers", "gguf": "gguf"}
_FORMS = {
    "openvino": "An OpenVINO IR with tokenizer and detokenizer",
    "hf": "A Hugging Face folder",
    "gguf": "A GGUF file with its tokenizer",
}
_SCHEMA = "fastdraft.bench/"
_GAMMA = 4


class _Model(msgspec.Struct, frozen=True):
    name: str
    dtype: str
    device: str


class _Machine(msgspec.Struct, frozen=True):
    cpu: str
    versions: dict[str, str]


class _Sampling(msgspec.Struct, frozen=True):
    temperature: float


class Point(msgspec.Struct, frozen=True):
    """One row of a benchmark's table."""

    gamma: int
    tokens_per_second: float
    speedup: float
    low: float | None
    high: float | None
    predicted: float
    acceptance: float
    tau: float


class Measured(msgspec.Struct, frozen=True):
    """What the card says of the JSON line of ``fastdraft bench``."""

    schema: str
    command: str
    machine: _Machine
    target: _Model
    draft: _Model
    runtime: str
    threads: int
    length: int
    prompts: int
    sampling: _Sampling
    points: list[Point]

    @property
    def best(self) -> Point:
        """The point with the highest speed-up."""
        return max((p for p in self.points if p.gamma), key=lambda point: point.speedup)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was exported; ``target`` is empty unless it is a draft whose target is known, ``file`` unless it is a GGUF file."""

    name: str
    target: str
    form: str
    weights: str
    width: int
    width_before: int
    parameters: int
    measured: Measured | None
    vocab: DraftVocab | None = None
    file: str = ""


def read_measured(file: Path, model: str) -> Measured:
    """The benchmark in the last line of ``file``, which must be of ``model``.

    Raises:
        FastdraftError: the file is no benchmark, or one of other models.
    """
    try:
        lines = file.read_bytes().strip().splitlines()
        found = msgspec.json.decode(lines[-1] if lines else b"", type=Measured)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FastdraftError(
            f"{file} cannot be read as a benchmark ({error}). Make one: fastdraft bench TARGET --draft DRAFT > {file}"
        ) from error
    if not found.schema.startswith(_SCHEMA) or not any(point.gamma for point in found.points):
        raise FastdraftError(f"{file} is no result of fastdraft bench with a draft.")
    if model not in (found.target.name, found.draft.name):
        raise FastdraftError(
            f"{file} measures {found.target.name} with {found.draft.name}, not {model}. Give the figures of this model."
        )
    return found


def model_card(facts: Facts, source: Path, folder: str) -> str:
    """Markdown with a header for the model hub. ``source`` is the model's folder, ``folder`` the export's name."""
    header, text = _read(source / "README.md")
    intro, sections = _sections(text)
    parts = [
        _header(facts, header),
        f"# {folder}",
        intro,
        _origin(facts),
        f"## Use\n\n{_use(facts, folder)}",
        f"## Speed-up\n\n{_speedup(facts)}",
        f"What follows is from the card of `{facts.name}`; its figures are of the model before the export."
        if any(title in sections for title in _CARRIED)
        else f"`{facts.name}` has no card that says how it was made.",
        *(f"## {title}\n\n{sections[title]}" for title in _CARRIED if title in sections),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _read(file: Path) -> tuple[dict[str, Any], str]:
    """Header and text of a card; both empty where there is none."""
    from huggingface_hub import RepoCard

    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    if not text.startswith("---"):
        return {}, text
    card = RepoCard(text, ignore_metadata_errors=True)
    return card.data.to_dict(), card.text


def _sections(text: str) -> tuple[str, dict[str, str]]:
    """The first paragraph of a card, and the text under each ``##`` heading."""
    # A line of a code block that begins with ## is no heading.
    pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    marked = "".join(p if p.startswith("```") else re.sub(r"^## +", "\0", p, flags=re.MULTILINE) for p in pieces)
    head, *rest = marked.split("\0")
    paragraphs = [p.strip() for p in head.split("\n\n") if p.strip() and not p.strip().startswith("#")]
    titled = (section.partition("\n") for section in rest)
    return (paragraphs[0] if paragraphs else ""), {title.strip(): body.strip() for title, _, body in titled}


def _header(facts: Facts, source: dict[str, Any]) -> str:
    from huggingface_hub import CardData

    # The bundled models and SmolLM2 have this licence; what others trained says for itself.
    ours = "apache-2.0" if own_target(facts.name) else None
    data = CardData(
        license=source.get("license") or ours,
        library_name=_LIBRARIES[facts.form],
        pipeline_tag="text-generation",
        base_model=hub_id(facts.name) or source.get("base_model"),
        tags=["speculative-decoding", "fastdraft", *(["draft-model"] if facts.target else [])],
    )
    return f"---\n{data.to_yaml()}\n---"


def _origin(facts: Facts) -> str:
    width = f"{facts.width} logits"
    if facts.width != facts.width_before:
        width += f", the width of `{facts.target}` (the source has {facts.width_before}; added ids are never the most likely)"
    exported = (
        f"{_FORMS[facts.form]}, weights {facts.weights}, {facts.parameters:,} parameters, {width}. Exported from `{facts.name}` by "
        f"fastdraft {fastdraft_core.__version__}."
    )
    if facts.vocab is None:
        return exported
    listed = "" if facts.file else f" fastdraft reads `{DRAFT_VOCAB_FILE}` and scores the list alone."
    return (
        f"{exported}\n\nThe draft was trained to score {facts.vocab}. This export has the whole head, since other programs know no "
        f"such list: the rows of all other ids are the mean of those {len(facts.vocab.ids):,}, so that none of them is ever the "
        f"most likely.{listed}"
    )


def _use(facts: Facts, folder: str) -> str:
    """The lines for OpenVINO GenAI, transformers and vLLM; those that read the other form come after the way to it."""
    if facts.form == "gguf":
        return _gguf(facts)
    names = f"`{'TARGET' if facts.target else 'DRAFT'}` is the {'target' if facts.target else 'draft'}'s folder or id"
    other, suffix = ("hf", "hf") if facts.form == "openvino" else ("openvino", "ov")
    converted = f"{folder}-{suffix}"
    convert = f"`fastdraft export {facts.name} --to {other} --output {converted}`"
    if facts.form == "openvino":
        huggingface = f"{_transformers(facts, converted)}\n\n{_vllm(facts, converted)}"
        return (
            f"{names}, converted as well.\n\n{_genai(facts, folder)}\n\ntransformers and vLLM read the Hugging Face form, "
            f"which {convert} writes.\n\n{huggingface}"
        )
    return (
        f"{names}.\n\n{_transformers(facts, folder)}\n\n{_vllm(facts, folder)}\n\nOpenVINO GenAI reads an IR, which {convert} "
        f"writes; the other model is converted as well.\n\n{_genai(facts, converted)}"
    )


def _both(facts: Facts, folder: str) -> tuple[str, str, int]:
    """Target, draft and gamma as they stand in the lines."""
    target, draft = ("TARGET", folder) if facts.target else (folder, "DRAFT")
    return target, draft, facts.measured.best.gamma if facts.measured else _GAMMA


def _genai(facts: Facts, folder: str) -> str:
    target, draft, gamma = _both(facts, folder)
    return (
        "OpenVINO GenAI (greedy; version 2026.4 does not keep the target's distribution when it samples):\n\n"
        "```python\nimport openvino_genai\n\n"
        f'draft = openvino_genai.draft_model("{draft}", "CPU")\n'
        f'pipe = openvino_genai.LLMPipeline("{target}", "CPU", draft_model=draft)\n'
        f'print(pipe.generate("def main():", max_new_tokens=64, num_assistant_tokens={gamma}, apply_chat_template=False))\n```'
    )


def _transformers(facts: Facts, folder: str) -> str:
    target, draft, _ = _both(facts, folder)
    return (
        "transformers:\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{target}")\n'
        f'target = AutoModelForCausalLM.from_pretrained("{target}")\n'
        f'draft = AutoModelForCausalLM.from_pretrained("{draft}")\n'
        'inputs = tokenizer("def main():", return_tensors="pt")\n'
        "output = target.generate(**inputs, assistant_model=draft, max_new_tokens=64, do_sample=False)\n"
        "print(tokenizer.decode(output[0], skip_special_tokens=True))\n```"
    )


def _vllm(facts: Facts, folder: str) -> str:
    target, draft, gamma = _both(facts, folder)
    return (
        f"vLLM:\n\n```sh\nvllm serve {target} --speculative-config "
        f'\'{{"method": "draft_model", "model": "{draft}", "num_speculative_tokens": {gamma}}}\'\n```'
    )


def _gguf(facts: Facts) -> str:
    """The lines for the programs that read GGUF files."""
    target, draft, gamma = _both(facts, facts.file)
    which = "target" if facts.target else "draft"
    stem = facts.file.removesuffix(".gguf").lower()
    return (
        f"`{'TARGET' if facts.target else 'DRAFT'}` is the GGUF file of the {which}.\n\nllama.cpp (older releases say `--draft-max` "
        "for the last option and know no `--spec-type`):\n\n"
        f"```sh\nllama-server --model {target} --model-draft {draft} --spec-type draft-simple --spec-draft-n-max {gamma}\n```"
        f"\n\nLM Studio: put the file into a folder of its own, and choose the draft beside the loaded target, under "
        "Speculative Decoding in the chat's side bar (Power User).\n\n"
        f"```sh\nmkdir -p ~/.lmstudio/models/fastdraft/{stem}\ncp {facts.file} ~/.lmstudio/models/fastdraft/{stem}/\n```\n\n"
        "Ollama has no option for a GGUF draft beside a target (its issue 5800 asks for one). It runs this model by itself, and "
        f"llama.cpp takes Ollama's own files as targets.\n\n```sh\necho 'FROM ./{facts.file}' > Modelfile\nollama create {stem} -f Modelfile\n```"
    )


def _interval(point: Point) -> str:
    return "" if point.low is None else f" [{point.low:.2f}, {point.high:.2f}]"


def _speedup(facts: Facts) -> str:
    found = facts.measured
    if found is None:
        return (
            "Not measured for this card. Measure your own pair on your own machine: "
            "`fastdraft bench TARGET --draft DRAFT`."
        )
    versions = found.machine.versions
    library = "torch" if found.runtime == "torch" else "openvino"
    rows = [
        f"Measured on {found.machine.cpu}, {found.threads} threads, {found.runtime} {versions.get(library, '')}: target "
        f"{found.target.name} ({found.target.dtype} on {found.target.device}), draft {found.draft.name} "
        f"({found.draft.dtype} on {found.draft.device}), {found.prompts} prompts of {found.length} new tokens, temperature "
        f"{found.sampling.temperature:g}. Speed-up is decode tokens/s over autoregressive decoding in the same run, with "
        "its 95 % interval over prompts; accepted is accepted/drafted.\n",
        "| gamma | speed-up | predicted | accepted | tau |",
        "| ---: | :--- | ---: | ---: | ---: |",
    ]
    rows += [
        f"| {p.gamma} | {p.speedup:.2f}x{_interval(p)} | {p.predicted:.2f}x | {p.acceptance:.3f} | {p.tau:.2f} |"
        for p in found.points
        if p.gamma
    ]
    return "\n".join([*rows, f"\n`{found.command}`"])
