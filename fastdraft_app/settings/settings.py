"""Everything that can be set, in one schema: the settings file, the settings screen and ``--help`` come from it.

The type of a field holds its limits and its description. What a key changes during a session is a
new ``Settings``; nothing here reads or writes a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal, get_args

from msgspec import Meta

from fastdraft_core.events import Load, Run
from fastdraft_core.models.catalog import own_target, usual_draft

GAMMA_RANGE = (1, 12)
TEMPERATURES = (0.0, 0.3, 0.6, 0.8, 1.0)
OFF = "off"
"""The draft of a session without speculation."""
AUTO = "auto"
Runtime = Literal["auto", "torch", "openvino"]
PromptForm = Literal["template", "plain"]
"""How a prompt is put to a target with a chat template: as a question, or as the beginning of a text."""
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
GROUPS = ("pair", "decoding", "sweep", "design", "machine", "screen", "files")
"""In the order of the settings screen and of ``--help``."""

Value = str | int | float | bool
Changes = Mapping[str, Value]
"""Some settings by name, with their new values."""


def _in(group: str, about: str, low: float | None = None, high: float | None = None) -> Meta:
    return Meta(ge=low, le=high, description=about, extra={"group": group})


@dataclass(frozen=True)
class Settings:
    """The choices of one session: flags over the settings file over these defaults."""

    target: Annotated[str, _in("pair", "a model folder, a hub id, demo (the bundled target) or smollm2")] = "demo"
    draft: Annotated[
        str,
        _in(
            "pair",
            "a model folder, a hub id, demo:XS, demo:S, demo:M, a way to draft such as ngram:2-4 or self:int4, or off",
        ),
    ] = "demo:S"

    trust_remote_code: Annotated[
        bool,
        _in(
            "pair",
            "run Python code that comes WITH a model; it can do here whatever you can. Only while all models loaded are ones you trust",
        ),
    ] = False

    prompt: Annotated[str, _in("decoding", "what to continue; empty: the first bundled prompt")] = ""
    prompt_form: Annotated[
        PromptForm, _in("decoding", "what a chat target gets: a question in its template, or plain text to continue")
    ] = "template"
    system: Annotated[str, _in("decoding", "system prompt of a chat target; empty: its template's own")] = ""
    gamma: Annotated[int, _in("decoding", "tokens drafted a block", *GAMMA_RANGE)] = 4
    temperature: Annotated[float, _in("decoding", "sampling temperature; 0 is greedy", 0, 10)] = 0.0
    top_k: Annotated[int, _in("decoding", "sample from the k most probable tokens; 0: all", 0, 1_000_000)] = 0
    top_p: Annotated[float, _in("decoding", "sample from the smallest set with this probability", 0.01, 1)] = 1.0
    verification: Annotated[
        Literal["token", "block"],
        _in("decoding", "how sampled blocks are judged: token by token, or the whole at once"),
    ] = "token"
    seed: Annotated[int, _in("decoding", "fixes every random number", 0, 2**63 - 1)] = 1
    length: Annotated[int, _in("decoding", "new tokens at most", 1, 1_000_000)] = 128

    sweep_drafts: Annotated[
        str,
        _in(
            "sweep",
            'drafts, with commas ("a,b" in quotes is one name); empty: all bundled ones of demo, else the draft above',
        ),
    ] = ""
    sweep_preset: Annotated[
        Literal["none", "paper"], _in("sweep", "paper: gamma 3, T 0.6, sampled, on the paper's four tasks")
    ] = "none"
    sweep_gamma: Annotated[str, _in("sweep", "block lengths: 4, 1-8 or 1,3,5")] = "1-8"
    sweep_temp: Annotated[str, _in("sweep", "temperatures: 0 (greedy), 0.6 or 0,0.6")] = "0"
    sweep_task: Annotated[
        str, _in("sweep", "code,text (bundled), cnn-dm, tinystories, dolly, humaneval, mbpp, gsm8k; NAME=FILE")
    ] = "code,text"
    sweep_file: Annotated[
        str, _in("sweep", "a file of prompts instead of tasks: .jsonl by the field below, else one text")
    ] = ""
    sweep_field: Annotated[str, _in("sweep", "field of a .jsonl prompt file")] = "prompt"
    sweep_prompts: Annotated[int, _in("sweep", "prompts of each task", 1, 1000)] = 6
    sweep_length: Annotated[int, _in("sweep", "new tokens of every run; 0: each task's own", 0, 1_000_000)] = 0
    sweep_within: Annotated[str, _in("sweep", "repeat until the 95 % interval is this narrow: 3% means ±3 %")] = "3%"
    sweep_budget: Annotated[str, _in("sweep", "stop after this time: 90s, 5m or 1h")] = "5m"

    design_params: Annotated[
        str, _in("design", "parameters of every shape, such as 10M; empty: a tenth of the target's")
    ] = ""
    design_layers: Annotated[str, _in("design", "depths: 1-6 or 1,2,4")] = "1-6"
    design_widths: Annotated[str, _in("design", "narrowest and widest width; empty: 64 to the target's own")] = ""
    design_draft_vocab: Annotated[
        str, _in("design", "ids that heads score: 8k or 2k,8k,all; empty: all, and 8k beside it from 16k ids on")
    ] = ""
    design_gamma: Annotated[int, _in("design", "longest block that is timed", 1, 16)] = 5
    design_train: Annotated[str, _in("design", "tokens that every shape is trained by, such as 2M; empty: none")] = ""

    runtime: Annotated[Runtime, _in("machine", "what runs the models; auto: what was measured faster here")] = "auto"
    device: Annotated[
        str, _in("machine", "cpu, cuda, xpu or hpu (torch), cpu, gpu or npu (openvino); empty: the best one")
    ] = ""
    draft_device: Annotated[str, _in("machine", "device of the draft; empty: the target's")] = ""
    dtype: Annotated[
        Literal["auto", "bfloat16", "float16", "float32"],
        _in("machine", "number format of computing; auto: what the processor does well"),
    ] = "auto"
    weights: Annotated[
        str,
        _in(
            "machine",
            "OpenVINO weights of the target: original, bf16, f16, int8, int4 or int4:GROUP:RATIO; torch: int8 or int4",
        ),
    ] = ""
    draft_weights: Annotated[str, _in("machine", "Weights of the draft, as of the target")] = ""
    kv_precision: Annotated[
        Literal["auto", "f32", "bf16", "f16", "u8", "u4"], _in("machine", "OpenVINO keys and values")
    ] = "auto"
    threads: Annotated[int, _in("machine", "threads of the models; 0: every core free for them", 0, 4096)] = 0

    theme: Annotated[
        Literal["auto", "dark", "light", "16"],
        _in("screen", "auto: 16 colours where the terminal has no more, else dark"),
    ] = "auto"
    fps: Annotated[float, _in("screen", "repaints a second at most; fewer over slow lines", 1, 60)] = 30.0
    ascii: Annotated[bool, _in("screen", "draw with ASCII characters only (from the next start)")] = False
    mouse: Annotated[bool, _in("screen", "let the app take the mouse (from the next start)")] = True
    intro: Annotated[bool, _in("screen", "play recordings while the first models load")] = True

    recordings: Annotated[int, _in("files", "runs kept as recordings, the oldest go first; 0: none", 0, 10_000)] = 50
    exports: Annotated[str, _in("files", "folder for exports and pictures; empty: in fastdraft's data folder")] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _in("files", "least serious entry that the app's log keeps")
    ] = "info"

    def load(self) -> Load:
        """The command that loads this pair."""
        return Load(
            target=self.target,
            draft="" if self.draft in ("", OFF) else self.draft,
            runtime=self.runtime,
            device=self.device,
            draft_device=self.draft_device,
            dtype="" if self.dtype == AUTO else self.dtype,
            weights=self.weights,
            draft_weights=self.draft_weights,
            kv_precision="" if self.kv_precision == AUTO else self.kv_precision,
            threads=self.threads,
            trust_remote_code=self.trust_remote_code,
        )

    def run(self) -> Run:
        """The command that compares both ways of decoding."""
        return Run(
            prompt=self.prompt,
            gamma=self.gamma,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            seed=self.seed,
            max_new_tokens=self.length,
            chat=None if self.prompt_form == "template" else False,
            system=self.system,
            verification=self.verification,
        )

    def as_recorded(self, load: Load, run: Run) -> Settings:
        """These settings with the pair and the run of a recording; whether code of models may run is not a recording's to say."""
        return self.with_changes(
            {
                "target": load.target,
                "draft": load.draft or OFF,
                "runtime": load.runtime,
                "device": load.device,
                "draft_device": load.draft_device,
                "dtype": load.dtype or AUTO,
                "weights": load.weights,
                "draft_weights": load.draft_weights,
                "kv_precision": load.kv_precision or AUTO,
                "threads": load.threads,
                "prompt": run.prompt,
                "prompt_form": "plain" if run.chat is False else "template",
                "system": run.system,
                "gamma": run.gamma,
                "temperature": run.temperature,
                "top_k": run.top_k,
                "top_p": run.top_p,
                "verification": run.verification,
                "seed": run.seed,
                "length": run.max_new_tokens,
            }
        )

    def with_changes(self, changes: Changes) -> Settings:
        """These settings with some values replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def changes_to(self, other: Settings) -> Changes:
        """What has to change to make these settings the ``other``."""
        return {name: value for name, value in asdict(other).items() if value != getattr(self, name)}

    def with_target(self, name: str) -> Settings:
        """Another target; one of fastdraft's own comes with the draft that it is shown with, or without any."""
        draft = (usual_draft(name) or OFF) if own_target(name) else self.draft
        return replace(self, target=name, draft=draft)

    def with_gamma(self, change: int) -> Settings:
        """Gamma moved by ``change`` inside its range."""
        low, high = GAMMA_RANGE
        return replace(self, gamma=min(max(self.gamma + change, low), high))

    def with_temperature(self, change: int) -> Settings:
        """The next higher (1) or lower (-1) temperature of the round; it goes around at the ends."""
        if change > 0:
            following = next((value for value in TEMPERATURES if value > self.temperature), TEMPERATURES[0])
        else:
            following = next((value for value in reversed(TEMPERATURES) if value < self.temperature), TEMPERATURES[-1])
        return replace(self, temperature=following)

    def with_next_runtime(self) -> Settings:
        """The runtime after the present one."""
        return replace(self, runtime=RUNTIMES[(RUNTIMES.index(self.runtime) + 1) % len(RUNTIMES)])

    def with_next_draft(self, drafts: list[str], change: int) -> Settings:
        """The draft after (1) or before (-1) the present one; it goes around at the ends."""
        place = drafts.index(self.draft) if self.draft in drafts else -1
        return replace(self, draft=drafts[(place + change) % len(drafts)])
