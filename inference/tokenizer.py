"""Token ids of a prompt, exactly as the model expects them, and text of token ids, without cutting a character.

The server tokenises, so that counts are known before a device is chosen (openvino-facts, short list 4 and 16).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from tokenizers import Encoding, PreTokenizedString, Tokenizer

from inference import tokenizer_files
from inference.decoder import Decoder
from inference.errors import ModelDamaged
from inference.infill import Infill, with_plain_tokens
from inference.prompt import ControlStrings, Prompt
from inference.thinking import THINK
from inference.token_bytes import TokenBytes
from inference.tokenizer_files import AddedToken, added_tokens
from inference.tools import hermes
from inference.types import ModelSpec

INLINE_CHARS = 16_000
"""Longer texts are encoded in a thread: 14,000 tokens take 26 ms."""

PLAIN_WINDOW_CHARS = 8_000
"""The plain path holds the GIL; this many characters take some 10 ms."""

_LONG_TEXTS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="long-text")
"""Two at a time: a text of 20 MB takes some 500 MB while it is encoded."""

COUNTED_CHARS_A_TOKEN = 32
"""Of a text to embed, for each token that fits: several times what any language needs."""

SPLIT_WORD_TOKENS = 64
"""A beginning that ends within a word may give other tokens for it; they are at its end."""

PORTION_CHARS = 500_000
"""Texts to embed that are encoded at once: what the encoding holds is many times as large."""

TAGS = frozenset({THINK.open, THINK.close, hermes.OPEN, hermes.CLOSE})
"""Shown to the output parser even where a tokenizer calls them special."""


class TextCodec:
    """One tokenizer, shared by all requests of a model; every method may be called from any thread."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        added: Sequence[AddedToken],
        eos_ids: frozenset[int],
        bos_id: int | None = None,
        lead: tuple[int, ...] = (),
    ) -> None:
        """`bos_id`: of the token that begins a text; `lead`: what the tokenizer itself puts before one."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self._added = {token.content: token for token in added}
        self._control = ControlStrings(self._added)
        self._silent = frozenset(token.id for token in added if token.special and token.content not in TAGS)
        self._silent_but: dict[tuple[str, ...], frozenset[int]] = {}
        self.eos_ids, self.bos_id, self.lead = eos_ids, bos_id, lead
        self.infill = Infill.of(added)
        """None: this model has no tokens for it."""
        self.bytes = TokenBytes(tokenizer, added)
        self.vocab_size: int = tokenizer.get_vocab_size(with_added_tokens=True)
        self._longest_token_chars = max(map(len, tokenizer.get_vocab(with_added_tokens=True)), default=1)

    @classmethod
    def open(cls, spec: ModelSpec) -> TextCodec:
        """Reads tokenizer.json, up to half a second for a large vocabulary. Raises ModelDamaged."""
        added = added_tokens(spec)
        try:
            tokenizer = Tokenizer.from_file(str(spec.path / "tokenizer.json"))
        except Exception as error:  # the library raises nothing narrower
            raise ModelDamaged(spec.name, "tokenizer.json", "is not a tokenizer") from error
        added = with_plain_tokens(tokenizer, added)
        lead = tokenizer_files.lead_ids(spec, tokenizer)
        eos_ids, bos_id = tokenizer_files.eos_ids(spec, tokenizer), tokenizer_files.bos_id(spec, tokenizer)
        return cls(tokenizer, added, eos_ids, bos_id, lead)

    def encode(self, prompt: Prompt) -> list[int]:
        """Exact ids, nothing added; quoted spans are plain text. In one piece when there are none."""
        if not prompt.quoted:
            return self._ids(prompt.text)
        ids: list[int] = []
        for start, end, plain in self._sections(prompt):
            if plain:
                ids += self._plain_ids(self._stripped(prompt.text, start, end), first=start == 0)
            else:
                ids += self._ids(prompt.text[start:end])
        return ids

    async def encode_async(self, prompt: Prompt) -> list[int]:
        """`encode`, in a thread when the text is long."""
        if len(prompt.text) <= INLINE_CHARS:
            return self.encode(prompt)
        return await asyncio.get_running_loop().run_in_executor(_LONG_TEXTS, self.encode, prompt)

    def least_tokens(self, chars: int) -> int:
        """What a text of so many characters takes at least, without looking at it."""
        return chars // self._longest_token_chars

    def tokens_of(self, text: str, special: bool) -> list[int]:
        """Ids of any text, control tokens included; `special`: with those that the tokenizer itself adds."""
        return list(self._tokenizer.encode_batch_fast([text], add_special_tokens=special)[0].ids)

    def names_of(self, ids: Sequence[int]) -> list[str]:
        """The tokens as the vocabulary spells them."""
        return [self._tokenizer.id_to_token(id) or "" for id in ids]

    def text_of(self, ids: Sequence[int]) -> str:
        """Of whole tokens, control tokens included."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def fit(self, texts: Sequence[str], limit: int) -> list[tuple[list[int], int]]:
        """The ids of each text as far as it fits, and how many it had before the cut, with those that the tokenizer
        itself adds; the latter stay.

        Of a text that is far too long only the beginning is looked at, and its tokens are counted that far.
        """
        return [
            self._fitted(text, head, encoding, limit)
            for part in _portions(texts)
            for text, head, encoding in self._heads(part, limit * COUNTED_CHARS_A_TOKEN)
        ]

    def _heads(self, texts: Sequence[str], chars: int) -> Iterator[tuple[str, str, Encoding]]:
        heads = [text[:chars] for text in texts]
        yield from zip(texts, heads, self._tokenizer.encode_batch_fast(heads), strict=True)

    def _fitted(self, text: str, head: str, encoding: Encoding, limit: int) -> tuple[list[int], int]:
        if len(head) < len(text) and len(encoding) < limit + SPLIT_WORD_TOKENS:  # mostly white space
            encoding = self._tokenizer.encode_batch_fast([text])[0]
        ids: list[int] = encoding.ids
        return (ids if len(ids) <= limit else _cut(encoding, limit)), len(ids)

    def decoder(self, shown: tuple[str, ...] = ()) -> Decoder:
        """`shown`: tags that the answer's parser reads, even where they are tokens of control."""
        silent = self._silent_but.get(shown)
        if silent is None:
            ids = {self._added[tag].id for tag in shown if tag in self._added}
            silent = self._silent_but[shown] = self._silent - ids
        return Decoder(self._tokenizer, silent)

    def _ids(self, text: str) -> list[int]:
        # encode() holds the GIL for its whole run, the batch call does not.
        encoding = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]
        ids: list[int] = encoding.ids
        return ids

    def _sections(self, prompt: Prompt) -> Iterator[tuple[int, int, bool]]:
        """(start, end, plain): stretches between control tokens that hold a quoted span are plain, the rest is not."""
        cuts = [0, len(prompt.text)]
        spans = iter((*prompt.quoted, (len(prompt.text), len(prompt.text))))
        for match in self._unquoted(prompt):
            cuts += match.span()
        cuts.sort()
        span = next(spans)
        begin = 0
        for start, end in pairwise(cuts):
            if not start <= span[0] < end:
                continue
            if begin < start:
                yield begin, start, False
            yield start, end, True
            begin = end
            while span[0] < end:
                span = next(spans)
        if begin < len(prompt.text):
            yield begin, len(prompt.text), False

    def _unquoted(self, prompt: Prompt) -> Iterator[re.Match[str]]:
        assert self._control.pattern is not None
        bounds = [0, *(edge for span in prompt.quoted for edge in span), len(prompt.text)]
        for start, end in zip(bounds[::2], bounds[1::2], strict=True):
            yield from self._control.pattern.finditer(prompt.text, start, end)

    def _stripped(self, text: str, start: int, end: int) -> str:
        """The section without the white space that the control tokens beside it swallow."""
        section = text[start:end]
        for token in self._added.values():
            if token.rstrip and text.endswith(token.content, 0, start):
                section = section.lstrip()
            if token.lstrip and text.startswith(token.content, end):
                section = section.rstrip()
        return section

    def _plain_ids(self, text: str, first: bool) -> list[int]:
        """The tokenizer's own steps without its added tokens, so that no control string can match."""
        ids: list[int] = []
        for window in _windows(text):
            ids += self._window_ids(window, first and not ids)
        return ids

    def _window_ids(self, text: str, first: bool) -> list[int]:
        pieces = PreTokenizedString(text if first else "\0" + text)
        if not first:  # Metaspace puts its space before the first piece of a prompt, and before no other
            pieces.split(lambda _, whole: [whole[1:]])
        if (normalizer := self._tokenizer.normalizer) is not None:
            pieces.normalize(normalizer.normalize)
        if (pre_tokenizer := self._tokenizer.pre_tokenizer) is not None:
            pre_tokenizer.pre_tokenize(pieces)
        pieces.tokenize(self._tokenizer.model.tokenize)
        ids: list[int] = pieces.to_encoding().ids
        return ids


def _cut(encoding: Encoding, limit: int) -> list[int]:
    """The first `limit` ids, but all of those that the tokenizer itself put around the text."""
    own = encoding.special_tokens_mask
    room = limit - sum(own)
    ids: list[int] = []
    for id, is_own in zip(encoding.ids, own, strict=True):
        if is_own or room > 0:
            ids.append(id)
            room -= not is_own
    return ids


def _windows(text: str) -> Iterator[str]:
    """Parts of at most PLAIN_WINDOW_CHARS, cut before a space where there is one."""
    start = 0
    while len(text) - start > PLAIN_WINDOW_CHARS:
        cut = text.rfind(" ", start + 1, start + PLAIN_WINDOW_CHARS)
        cut = cut if cut > start else start + PLAIN_WINDOW_CHARS
        yield text[start:cut]
        start = cut
    yield text[start:]


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    chars = 0
    for text in texts:
        if portion and chars + len(text) > PORTION_CHARS:
            yield portion
            portion, chars = [], 0
        portion.append(text)
        chars += len(text)
    if portion:
        yield portion
