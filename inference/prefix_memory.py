"""Which prompts a worker has in its prefix cache, as far as the server can know: the runtime does not tell.

The cache works in blocks of tokens; a block is found again when it and all before it are the same. So the server keeps
a hash of each chain of blocks that it sent, as many as the pool has, the least recently used first to go. Where the
pool forgot a block earlier, because answers took its place, a prompt that was read counts as known: its sample is lost,
and no figure is spoilt.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence


class PrefixMemory:
    """Of one worker."""

    def __init__(self, block_tokens: int, blocks: int) -> None:
        """`blocks` 0: nothing is cached, so nothing is ever known."""
        self._block_tokens = block_tokens
        self._blocks = blocks
        self._chains: OrderedDict[int, None] = OrderedDict()

    def unread(self, ids: Sequence[int]) -> int:
        """Tokens of this prompt that are not in the cache, which has them from now on; the last one is always read."""
        if not self._blocks:
            return len(ids)
        packed = array("i", ids).tobytes()
        size = 4 * self._block_tokens
        chain, known, still = 0, 0, True
        for end in range(size, len(packed) + 1, size):
            chain = hash((chain, packed[end - size : end]))
            if chain in self._chains:
                self._chains.move_to_end(chain)
                known += still
            else:
                still = False
                self._chains[chain] = None
        while len(self._chains) > self._blocks:
            self._chains.popitem(last=False)
        return max(1, len(ids) - known * self._block_tokens)
