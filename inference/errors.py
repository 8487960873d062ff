"""What can go wrong between a parsed request and its last token.

    InferenceError
    ├── BadRequest                  the caller's fault; names the field and the way out
    │   ├── ContextLengthExceeded   the prompt fits on no device; carries both numbers
    │   ├── InvalidGrammar          format / response_format cannot be compiled in bounds
    │   └── CapabilityMissing       the model cannot do what was asked
    ├── NotAllowed                  the caller's key forbids the model or the device
    ├── RequestCancelled            the operator has ended it
    ├── ModelNotFound               no model of that name
    ├── ModelDamaged                a file of the model is missing or has the wrong digest; names the file
    ├── LoadFailed                  the device refused the model
    │   └── NoRoom                  only pinned models could make room for it; carries the figures
    ├── Unavailable                 nothing wrong with the request; carries retry_after_s
    │   ├── QueueFull               the waiting line of the device is at its bound
    │   ├── QueueTimeout            waited NPU_PROXY_QUEUE_TIMEOUT for a slot
    │   ├── BreakerOpen             the worker of that model and device crashed too often
    │   ├── DeviceUnavailable       X-Target-Strict and the device cannot be used
    │   └── ShuttingDown            the server is stopping
    ├── DeadlineExceeded            X-Deadline-Ms passed before the start
    ├── InferenceTimeout            no prefill step and no token for NPU_PROXY_INFERENCE_TIMEOUT
    ├── WorkerDied                  the worker process ended while the request ran
    ├── RequestLoop                 the request has been here before, through other servers
    └── RemoteFailed                another server did not answer as it should: away, broken, cut off, or full
        └── RemoteRefused           it judged the request itself: its status and its words
            └── RemoteTooLong       the prompt exceeds its context; carries both numbers

Which HTTP status each becomes is decided in `compat_api/errors.py`, nowhere else. Messages are shown to clients: they
name the field, the value and the way out, and never a local path.
"""

from __future__ import annotations

from collections.abc import Mapping


class InferenceError(Exception):
    """Base of everything the engine raises on purpose. `str(error)` is safe to show to a client."""


class BadRequest(InferenceError):
    """The request can never succeed as it stands. `field` is the name the client used, or ''."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class ContextLengthExceeded(BadRequest):
    """The prompt count exceeds what any candidate device accepts.

    The count is exact, but for texts so long that counting them would only cost memory: `at_least` then. `limits`: of
    each candidate, prompt and one new token together, as `limit`, the largest of them.
    """

    def __init__(
        self,
        prompt_tokens: int,
        limit: int,
        *,
        at_least: bool = False,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        has = "has at least" if at_least else "has"
        self.prompt_tokens = prompt_tokens
        self.limit = limit
        self.at_least = at_least
        each = (
            [f"{device}: {most - 1}" for device, most in limits.items()] if limits and len(limits) > 1 else []
        )
        self.takes = f"longest prompt by device: {', '.join(each)} tokens" if each else ""
        """For people, what each candidate takes; '' of one alone, which is the limit."""
        super().__init__(
            f"the input length exceeds the context length: the prompt {has} {prompt_tokens} tokens, "
            f"the context holds {limit}; shorten the messages or use a model with a longer context"
            + (f" ({self.takes})" if each else ""),
            "messages",
        )


class InvalidGrammar(BadRequest):
    """A JSON schema that does not compile, or not within its bounds of size and time."""


class CapabilityMissing(BadRequest):
    """`"m" does not support thinking` and its like."""


class NotAllowed(InferenceError):
    """The message names what the key does allow."""


class RequestCancelled(InferenceError):
    def __init__(self) -> None:
        super().__init__("this request was ended by the operator of this server")


class ModelNotFound(InferenceError):
    """`name` is spelled as the client asked for it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model '{name}' not found")
        self.name = name


class ModelDamaged(InferenceError):
    """`file` is relative to the model's folder."""

    def __init__(self, model: str, file: str, fault: str) -> None:
        super().__init__(f"model '{model}' is damaged: {file} {fault}; install the model again")
        self.model = model
        self.file = file
        self.fault = fault


class LoadFailed(InferenceError):
    """The last device of the chain refused the model; the message carries the runtime's first line."""


class NoRoom(LoadFailed):
    """Not the model's fault, so it is not remembered: an unpinned model makes room at once."""


class Unavailable(InferenceError):
    """Try again: `retry_after_s` is what the Retry-After header says."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class QueueFull(Unavailable):
    def __init__(self, retry_after_s: float = 1.0) -> None:
        super().__init__("server busy, please try again.  maximum pending requests exceeded", retry_after_s)


class QueueTimeout(Unavailable):
    pass


class BreakerOpen(Unavailable):
    pass


class DeviceUnavailable(Unavailable):
    pass


class ShuttingDown(Unavailable):
    def __init__(self) -> None:
        super().__init__("the server is shutting down", 5.0)


class DeadlineExceeded(InferenceError):
    pass


class InferenceTimeout(InferenceError):
    pass


class WorkerDied(InferenceError):
    """`untouched`: the worker was gone before it said a word about this request, so the request is not to blame."""

    untouched = False


class RequestLoop(InferenceError):
    """Two servers name each other as backends."""

    def __init__(self) -> None:
        super().__init__(
            "this request came back through other servers: a backend leads to this server; take it out there or here"
        )


class RemoteFailed(InferenceError):
    """`backend` is its id; `retry_after_s` what it asked for with 429 or 503, else None. Never names a key.

    `status` is the caller's: 502, 504 where it took too long, and 429 or 503 where it said so itself. `away`: no other
    request would fare better before someone has looked after that server.
    """

    away = False

    def __init__(
        self, backend: str, message: str, retry_after_s: float | None = None, status: int = 502
    ) -> None:
        super().__init__(f"{backend}: {message}" if backend else message)
        self.backend = backend
        self.retry_after_s = retry_after_s
        self.status = status

    @property
    def reason(self) -> str:
        """Why the next candidate is tried, in the words of a Route."""
        return "busy" if self.status in (429, 503) else "device_unavailable"


class RemoteRefused(RemoteFailed):
    """A status of 4xx that another backend would give too, 404 aside: `status` and the words are the caller's."""

    def __init__(self, backend: str, status: int, message: str) -> None:
        super().__init__(backend, message, status=status)


class RemoteTooLong(RemoteRefused):
    """The prompt is too long for it, in whatever words it says so; a roomier backend may take it."""

    def __init__(self, backend: str, status: int, message: str, prompt_tokens: int, limit: int) -> None:
        super().__init__(backend, status, message)
        self.prompt_tokens = prompt_tokens
        self.limit = limit


def runtime_words(text: str, *paths: str) -> str:
    """The first line of the runtime's message that says something, without source places and without these paths:
    the model's folder first, then its adapters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    words = (useful or lines or [""])[0]
    for path, shown in zip(paths, ("<model>", *["<adapter>"] * len(paths)), strict=False):
        words = words.replace(path, shown)
    return words[:300]
