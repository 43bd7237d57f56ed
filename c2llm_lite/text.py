"""Texts to token ids: the model's instructions, its tokenizer, and truncation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from .errors import ArgumentError, BundleError, TextError
from .tokenizer_check import read_tokenizer

log = logging.getLogger(__name__)

DOCUMENT_PROMPT = "Retrieved Answer:"
# The official MTEB loader's query prefixes, by task; documents have one prefix in every task.
_CODE_TRANSLATION = "Given a Python code snippet, retrieve its semantically equivalent version written in C++."
QUERY_PROMPTS = {
    "CodeSearchNetRetrieval": "Retrieve the code that solves the following query:",
    "CodeEditSearchRetrieval": "Retrieve the diff code that relevant the following query:",
    "AppsRetrieval": "Given a problem description from a programming contest, retrieve code examples that can assist "
    "in solving it.",
    "CodeFeedbackMT": "Given a multi-turn conversation history that includes both text and code, retrieve relevant "
    "multi-modal answers composed of text and code that address the ongoing discussion.",
    "CodeFeedbackST": "Given a single-turn question composed of text and code, retrieve suitable answers that also mix "
    "text and code to provide helpful feedback.",
    "CodeSearchNetCCRetrieval": "Given an initial code segment, retrieve the subsequent segment that continues the "
    "code.",
    "CodeTransOceanContest": _CODE_TRANSLATION,
    "CodeTransOceanDL": _CODE_TRANSLATION,
    "COIRCodeSearchNetRetrieval": "Given a code snippet, retrieve its corresponding document string that summarizes "
    "its functionality.",
    "CosQA": "Given a query from a web search, retrieve code that is helpful in addressing the query.",
    "StackOverflowQA": "Given a question combining text and code, retrieve relevant answers that also contain both "
    "text and code snippets and can address the question.",
    "SyntheticText2SQL": "Given a natural language question, retrieve SQL queries that serve as appropriate responses.",
}
DEFAULT_TASK = "CodeSearchNetRetrieval"


def prompts() -> dict[str, str]:
    """A bundle's prompts by name: "query", "document", and each task's "TASK-query" and "TASK-document"."""
    named = {"query": f"{QUERY_PROMPTS[DEFAULT_TASK]}\n", "document": DOCUMENT_PROMPT}
    for task, instruction in QUERY_PROMPTS.items():
        named |= {f"{task}-query": f"{instruction}\n", f"{task}-document": DOCUMENT_PROMPT}
    return named


def choose_prompt(named: Mapping[str, str], prompt_name: str | None, prompt: str | None) -> str:
    """The prefix that embed()'s arguments select, or "". Raises ArgumentError for both or an unknown name."""
    if prompt_name is not None and prompt is not None:
        raise ArgumentError("prompt_name (a name) and prompt (a literal prefix) exclude each other; pass one of them")
    if prompt_name is None:
        return _checked(prompt, "the prompt") if prompt is not None else ""
    if not isinstance(prompt_name, str) or prompt_name not in named:
        raise ArgumentError(f"no prompt is named {prompt_name!r}; this bundle has {', '.join(sorted(named))}")
    return named[prompt_name]


class TextTokenizer:
    """Tokenizes prefix and text as one string: byte-pair merges cross the boundary, as in the model's training."""

    def __init__(self, path: Path, max_tokens: int, *, remember: bool = False) -> None:
        """Raises BundleError if the tokenizer's file cannot be read. remember: as read_tokenizer has it."""
        try:
            self._tokenizer = Tokenizer.from_buffer(read_tokenizer(path, remember=remember))
        except Exception as error:  # tokenizers raises bare Exception
            raise BundleError(f"{path} is not a byte-level BPE tokenizer that this version reads: {error}") from error
        except BaseException as error:
            if not _panicked(error):
                raise
            raise BundleError(f"{path}: the tokenizers library cannot read this tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()  # Truncate here so that we can log it.
        self.max_tokens = max_tokens
        self._cut_logged = False

    def encode(
        self, texts: Sequence[str], prompt: str = "", *, first_index: int = 0, cut: bool = True
    ) -> list[list[int]]:
        """Token ids of prompt + text for each text, truncated from the right to max_tokens.

        Raises TextError, naming the text's index counted from `first_index`, if a text is not a string, is empty, or
        is not valid Unicode; and, unless `cut`, if it is longer than max_tokens.
        """
        prefix = _checked(prompt, "the prompt")
        whole = [prefix + _checked(text, f"text {first_index + i}") for i, text in enumerate(texts)]
        try:
            encoded = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        except BaseException as error:
            if not _panicked(error):
                raise
            raise BundleError(f"the bundle's tokenizer failed: {error}; convert the checkpoint again") from error
        ids = [encoding.ids for encoding in encoded]
        for i, tokens in enumerate(ids):
            if not tokens:
                raise TextError(f"text {first_index + i} is empty; remove it or pass a prompt")
            if len(tokens) > self.max_tokens:
                if not cut:
                    raise TextError(
                        f"text {first_index + i} has {len(tokens):,} tokens with its prompt; this model takes at most "
                        f"{self.max_tokens:,}; split the text"
                    )
                self._log_truncation(first_index + i, len(tokens))
                del tokens[self.max_tokens :]
        return ids

    def _log_truncation(self, index: int, tokens: int) -> None:
        if not self._cut_logged:
            log.warning(
                "text %d has %d tokens and was truncated to %d; further truncations are not logged",
                *(index, tokens, self.max_tokens),
            )
            self._cut_logged = True


def as_list(texts: str | Iterable[str]) -> list[str]:
    """embed()'s texts as a list. Raises TextError if they are neither a string nor an iterable of texts."""
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | Mapping) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise TextError(f"texts is a {type(texts).__name__}; pass a string or a sequence of strings")
    return list(texts)


def shared_tokens(prompt: Sequence[int], texts: Iterable[Sequence[int]]) -> int:
    """How many of the prompt's leading tokens all texts share, leaving each text at least one token of its own.

    Merges cross the boundary of prompt and text, so a text may share fewer tokens than the prompt alone has.
    """
    count = len(prompt)
    for text in texts:
        count = min(count, len(text) - 1)
        count = next((i for i in range(count) if text[i] != prompt[i]), count)
    return count


def _panicked(error: BaseException) -> bool:
    """Whether this is a panic of the tokenizers library, whose class cannot be imported."""
    return type(error).__name__ == "PanicException"


def checked_ids(ids: Sequence[int], index: int, most: int, vocab: int) -> tuple[int, ...]:
    """Check a caller's token ids. Raises TextError, naming the index, unless there are 1 to `most`, below `vocab`."""
    try:
        found = np.asarray(ids)
    except ValueError as error:  # lists of different lengths
        raise TextError(f"text {index} is not a list of token ids: {error}") from error
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise TextError(f"text {index} is not a non-empty list of integers: {ids!r:.80}")
    if len(found) > most:
        raise TextError(f"text {index} has {len(found):,} token ids; this model takes at most {most:,}")
    if found.min() < 0 or found.max() >= vocab:
        raise TextError(f"text {index} has token ids outside 0 to {vocab - 1:,}; they come from another tokenizer")
    return tuple(found.tolist())


def _checked(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise TextError(f"{what} is a {type(text).__name__}, not a string")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{what} is not valid Unicode: lone surrogate at character {error.start}; "
            "read the file with errors='replace'"
        ) from None
    return text
