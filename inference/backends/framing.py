"""Bytes, cut anywhere, into the lines and events they carry, each of bounded size."""

from __future__ import annotations

from typing import Final

from inference.backends.wire import WireError

MAX_BYTES: Final = 4 * 1024**2
"""Of one line, or of the data of one event."""
_BOM: Final = b"\xef\xbb\xbf"


class Lines:
    """Lines that end with LF, CRLF or CR, without their ends."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._begun = False
        self._after_cr = False

    def feed(self, data: bytes) -> list[bytes]:
        if not data:
            return []
        if self._after_cr and data[0] == 0x0A:
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > MAX_BYTES or any(len(line) > MAX_BYTES for line in lines):
            raise WireError(f"a line of its answer has more than {MAX_BYTES >> 20} MiB")
        return self._without_mark(lines)

    def end(self) -> list[bytes]:
        """The last line, where nothing ended it."""
        rest = bytes(self._rest)
        self._rest.clear()
        return self._without_mark([rest]) if rest else []

    def _without_mark(self, lines: list[bytes]) -> list[bytes]:
        """The byte order mark belongs to no line."""
        if lines and not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        return lines


class SseEvents:
    """The data of server-sent events. Their names are not needed: each API says in the data what it is.

    A body that is one JSON text instead, as some servers answer with when something is wrong, comes at the end.
    """

    def __init__(self) -> None:
        self._lines = Lines()
        self._data: list[bytes] = []
        self._size = 0
        self._plain = False
        self._begun = False

    def feed(self, data: bytes) -> list[bytes]:
        return self._read(self._lines.feed(data))

    def end(self) -> list[bytes]:
        """What stands before the end: some servers leave out the empty line behind the last event."""
        return [*self._read(self._lines.end()), *self._event()]

    def _read(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if not self._begun and line.strip():
                self._begun, self._plain = True, line.lstrip()[:1] == b"{"
            if self._plain:
                self._add(line)
            elif not line:
                events += self._event()
            else:
                name, _, value = line.partition(b":")
                if name in (b"data", b"error"):  # llama-server long had a field of that name
                    self._add(value.removeprefix(b" "))
        return events

    def _add(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise WireError(f"an event of its answer has more than {MAX_BYTES >> 20} MiB")
        self._data.append(data)

    def _event(self) -> list[bytes]:
        if not self._data:
            return []
        data, self._data, self._size = self._data, [], 0
        return data if len(data) == 1 else [b"\n".join(data)]
