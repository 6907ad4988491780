"""Which models OpenVINO can be given, and the version of transformers that could convert the others. No model library is loaded.

The table is that of optimum-intel 2.1 with transformers 5.5, as pyproject.toml pins them; a test holds it against what is installed.
"""

from __future__ import annotations

#: Kinds of models that are converted here, by transformers' name.
CONVERTED = frozenset(
    [
        "afmoe",
        "arcee",
        "bart",
        "bigbird_pegasus",
        "biogpt",
        "blenderbot",
        "blenderbot-small",
        "bloom",
        "codegen",
        "cohere",
        "cohere2",
        "falcon",
        "glm4",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gpt_neox_japanese",
        "gpt_oss",
        "gptj",
        "granite",
        "granitemoe",
        "hunyuan_v1_dense",
        "llama",
        "maira2",
        "mbart",
        "mistral",
        "mixtral",
        "mpt",
        "olmo",
        "olmo2",
        "opt",
        "pegasus",
        "persimmon",
        "phi",
        "phi3",
        "phimoe",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
        "qwen3_omni_moe_talker_text",
        "qwen3_omni_moe_text",
        "qwen3_vl_text",
        "smollm3",
        "stablelm",
        "starcoder2",
        "xglm",
    ]
)
_LAST_4 = "aquila baichuan bitnet dbrx deci exaone exaone4 internlm internlm2 jais llama4 llama4_text marian orion qwen3_next xverse zamba2"
_LAST_4_53 = "arctic deepseek deepseek_v2 deepseek_v3 llava-qwen2 minicpm minicpm3"
#: The last version of transformers with which the others are converted.
CONVERTED_UP_TO = (
    dict.fromkeys(_LAST_4.split(), "4.57.6")
    | dict.fromkeys(_LAST_4_53.split(), "4.53.3")
    | dict.fromkeys(["chatglm", "qwen"], "4.55.4")
    | dict.fromkeys(["gemma", "gemma2", "gemma3_text", "gemma3n_text", "glm"], "5.0")
    | dict.fromkeys(["qwen3_5_moe_text", "qwen3_5_text"], "5.2")
    | dict.fromkeys(["falcon_mamba", "granitemoehybrid", "mamba"], "5.3.0")
    | dict.fromkeys(["lfm2", "lfm2_moe"], "5.4.0")
)


def conversion_problem(model_type: str) -> str:
    """Why a model of this kind cannot be converted to OpenVINO here, as the end of a sentence; empty where it can.

    Whatever name a configuration has that transformers does not know, it is said to have no conversion.
    """
    if model_type in CONVERTED:
        return ""
    if version := CONVERTED_UP_TO.get(model_type):
        return f"optimum-intel 2.1 converts {model_type} with transformers up to {version}, and fastdraft runs on 5.5"
    return f"optimum-intel 2.1 has no conversion of {model_type}"
