"""A prompt as ids: inside a model's chat template, or as text that is to be continued."""

from __future__ import annotations

from typing import Any

from fastdraft_core.errors import FastdraftError, short_error


def text_ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of ``text``, without the end-of-text that some tokenizers put behind every text: it is to be continued.

    Raises:
        FastdraftError: ``text`` holds what no encoding of Unicode has, such as half of a surrogate pair.
    """
    refuse_surrogates(text, "The prompt")
    ids = list(tokenizer(text).input_ids)
    end = getattr(tokenizer, "eos_token", None)
    if end and ids and ids[-1] == tokenizer.eos_token_id and not text.endswith(end):
        return ids[:-1]
    return ids


def chat_ids(tokenizer: Any, text: str, whose: str) -> list[int]:
    """The ids after which the answer to ``text`` begins, by the chat template of the model ``whose`` names.

    Raises:
        FastdraftError: the template cannot be applied, or nothing comes of it; or as ``text_ids``.
    """
    refuse_surrogates(text, "The prompt")
    # As apply_chat_template does: the template writes special tokens by itself.
    return list(tokenizer(chat_text(tokenizer, text, whose), add_special_tokens=False).input_ids)


def chat_text(tokenizer: Any, text: str, whose: str) -> str:
    """``text`` as a user's turn in the chat template, up to where the answer begins.

    Raises:
        FastdraftError: the template does not parse, or raises, or nothing comes of it.
    """
    return template_text(tokenizer, [{"role": "user", "content": text}], whose)


def template_text(tokenizer: Any, messages: list[dict[str, str]], whose: str, *, answering: bool = True) -> str:
    """``messages`` in the chat template, with ``answering`` up to where the next answer begins.

    Raises:
        FastdraftError: the template does not parse, or raises, or nothing comes of it.
    """
    try:
        rendered = str(tokenizer.apply_chat_template(messages, add_generation_prompt=answering, tokenize=False))
    except Exception as error:
        # A template is a program of the model's maker: it may raise anything.
        raise _refusal(whose, short_error(error)) from error
    if not rendered:
        raise _refusal(whose, "nothing comes of it")
    return rendered


def refuse_surrogates(text: str, what: str) -> None:
    """Refuse text that no tokenizer takes.

    Raises:
        FastdraftError: it holds half of a surrogate pair, or bytes that were no UTF-8; the sentence begins with ``what``.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FastdraftError(
            f"{what} is no valid Unicode: character {error.start + 1} is half of a surrogate pair, or was a byte that is no "
            "UTF-8. Give text in UTF-8."
        ) from error


def _refusal(whose: str, reason: str) -> FastdraftError:
    return FastdraftError(
        f"The chat template of {whose} cannot be applied to a prompt ({reason}). Mend its chat_template, or remove it: then text "
        "is continued as it is, as `fastdraft generate --no-chat` does."
    )
