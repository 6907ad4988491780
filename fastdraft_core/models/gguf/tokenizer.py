"""The tokenizer of a GGUF file, built from its metadata so that it gives llama.cpp's ids.

Not with transformers' own conversion: of 5.5.4 it made of SmolLM2's file a tokenizer in which every space is
``<|endoftext|>``, and of a sentencepiece file one without merges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastdraft_core.errors import FastdraftError
from fastdraft_core.models.gguf.model_file import GgufModel
from fastdraft_core.models.gguf.pretokenizers import PreTokenizer, pre_tokenizer
from fastdraft_core.models.gguf.vocabulary import BYTE_LEVEL, TokenType, Vocabulary, begins_with_space, read_vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_SPACE = "▁"
#: After the special tokens of Phi-3, white space is dropped; not after these. The rule goes by the model's name, as in llama.cpp.
_STRIPS, _STRIPS_NOT = ("phi-3", "phi3"), frozenset({"<unk>", "<s>", "<|endoftext|>"})


def build_tokenizer(model: GgufModel) -> PreTrainedTokenizerFast:
    """The tokenizer of ``model``, with its special tokens and its chat template.

    Raises:
        FastdraftError: its kind or pre-tokenizer is not known, its merges are missing, or its template does not parse.
    """
    from transformers import PreTrainedTokenizerFast

    vocabulary = read_vocabulary(model)
    template = _chat_template(model)
    try:
        tokenizer = (
            _byte_level(model, vocabulary) if vocabulary.kind == BYTE_LEVEL else _sentencepiece(model, vocabulary)
        )
        tokenizer.add_special_tokens(_added(model, vocabulary, special=True))
        tokenizer.add_tokens(_added(model, vocabulary, special=False))
    except FastdraftError:
        raise
    # The tokenizers library raises bare exceptions, of a merge for which there is no token, for instance.
    except Exception as error:
        raise FastdraftError(
            f"{model.file} has a tokenizer that contradicts itself ({error}). Download it again."
        ) from error
    roles = {
        "bos_token": vocabulary.beginning,
        "eos_token": vocabulary.end,
        "unk_token": vocabulary.unknown,
        "pad_token": vocabulary.padding,
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        chat_template=template,
        **{role: text for role, number in roles.items() if number is not None and (text := vocabulary.texts[number])},
    )


def _byte_level(model: GgufModel, vocabulary: Vocabulary) -> Any:
    """BPE over bytes that are written as visible characters."""
    from tokenizers import Tokenizer, decoders, models

    name = model.text("tokenizer.ggml.pre", "")
    cut = pre_tokenizer(name)
    if cut is None:
        raise FastdraftError(
            f"{model.file} cuts text into words by {name!r}, which is not known here, so its ids would be wrong. Use the "
            "model's Hugging Face folder instead."
        )
    merges = [_pair(merge) for merge in model.texts("tokenizer.ggml.merges")]
    if not merges:
        raise FastdraftError(
            f"{model.file} has a tokenizer without merges: every letter would be a token. Use another file."
        )
    ids = {text: number for number, text in vocabulary.tokens.items()}
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=cut.whole_words))
    tokenizer.pre_tokenizer = cutting(cut)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = _framing(model, vocabulary, begins=cut.begins)
    return tokenizer


def cutting(cut: PreTokenizer) -> Any:
    """What cuts text into words as ``cut`` says, and writes their bytes as visible characters."""
    from tokenizers import Regex, pre_tokenizers

    splits = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in cut.expressions]
    return pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _sentencepiece(model: GgufModel, vocabulary: Vocabulary) -> Any:
    """BPE whose merges follow from the scores of the tokens, over text with its spaces written as ``▁``."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    ids = {text: number for number, text in vocabulary.tokens.items()}
    merges = merges_by_score(ids, model.numbers("tokenizer.ggml.scores"))
    if not merges:
        raise FastdraftError(
            f"{model.file} has a tokenizer without scores: every letter would be a token. Use another file of the model."
        )
    unknown = vocabulary.texts[vocabulary.unknown] if vocabulary.unknown is not None else None
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = begins_with_space(model)
    spaces = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if prefix else spaces
    steps = [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    tokenizer.post_processor = _framing(model, vocabulary, begins=True)
    return tokenizer


def merges_by_score(ids: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """All ways to put a token together from two others: those first whose token has the highest score.

    llama.cpp joins the neighbours whose token has the highest score, the leftmost of equals. Of one token's own ways the
    one with the longer left half comes first, which is the leftmost one where a character repeats.
    """
    ways = []
    for text, number in ids.items():
        if number >= len(scores):
            return []
        for cut in range(len(text) - 1, 0, -1):
            left, right = text[:cut], text[cut:]
            if left in ids and right in ids:
                ways.append((-scores[number], number, -cut, left, right))
    ways.sort()
    return [(left, right) for *_, left, right in ways]


def _pair(merge: str) -> tuple[str, str]:
    """The halves of ``left right``; the left one may itself be a space."""
    cut = merge.find(" ", 1)
    if cut < 0:
        raise FastdraftError(f"The merge {merge!r} of the tokenizer has no two halves. Download the file again.")
    return merge[:cut], merge[cut + 1 :]


def _added(model: GgufModel, vocabulary: Vocabulary, *, special: bool) -> list[Any]:
    """Tokens that are found in the text before anything else: those of control, or those that a user defined."""
    from tokenizers import AddedToken

    types = (TokenType.CONTROL, TokenType.UNKNOWN) if special else (TokenType.USER_DEFINED,)
    name = model.text("general.name", "").lower()
    strips = any(part in name for part in _STRIPS)
    added = []
    for number in vocabulary.of_type(*types):
        text = str(vocabulary.texts[number])
        # Tokens of spaces alone are met as they are written after normalizing.
        spaces = text.strip(_SPACE) == ""
        added.append(
            AddedToken(
                text, special=special, normalized=spaces, rstrip=strips and text not in _STRIPS_NOT, lstrip=False
            )
        )
    return added


def _framing(model: GgufModel, vocabulary: Vocabulary, *, begins: bool) -> Any:
    """What comes before and after every text."""
    from tokenizers import processors

    before = _framed(model, vocabulary.beginning, "bos", begins)
    after = _framed(model, vocabulary.end, "eos", False)
    texts = {number: str(vocabulary.texts[number]) for number in (*before, *after)}

    def framed(text: str) -> list[str]:
        return [*(texts[number] for number in before), text, *(texts[number] for number in after)]

    return processors.TemplateProcessing(
        single=framed("$A"),
        pair=[*framed("$A"), *framed("$B")],
        special_tokens=[(text, number) for number, text in texts.items()],
    )


def _framed(model: GgufModel, number: int | None, role: str, usual: bool) -> list[int]:
    wanted = model.flag(f"tokenizer.ggml.add_{role}_token", usual)
    if wanted and number is None:
        raise FastdraftError(
            f"{model.file} wants a {role} token around every text and does not say which. Use another file of the model."
        )
    return [number] if wanted and number is not None else []


def _chat_template(model: GgufModel) -> str | None:
    """The template, if there is one and it can be read.

    Raises:
        FastdraftError: it does not parse.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    template = model.text("tokenizer.chat_template", "")
    if not template:
        return None
    try:
        ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]).parse(template)
    except TemplateSyntaxError as error:
        # transformers knows one tag more, which marks what an assistant wrote.
        if "generation" not in str(error):
            raise FastdraftError(
                f"{model.file} has a chat template that does not parse ({error}). Use another file of the model."
            ) from error
    return template
