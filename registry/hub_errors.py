"""What can go wrong between a name and the files of a model: the hub, the way to it, the bytes, the disk.

    InferenceError
    └── HubError                 code: a word for programs
        ├── RepositoryNotFound   404; also 401 to a request without a token, which is how the hub hides private ones
        │   └── RevisionNotFound
        ├── Unauthorized         401 to a request with a token
        ├── Gated                403: the licence was not accepted, or the token may not read it
        ├── RateLimited          429; retry_after_s
        ├── HubUnavailable       5xx, no connection, an answer that is no hub's
        ├── RefusedRedirect      sent to a place where no file of a public hub lies
        ├── NoModelFiles         nothing in the repository that could run here
        ├── TooLarge             over the limit of a file or of all
        ├── UnsafeName           a file name that could leave its folder or name a device
        ├── DigestMismatch       the bytes are not the announced ones
        ├── Changed              the file is not of the announced size any more
        ├── Truncated            the connection kept ending before the file did
        ├── Stalled              no byte for NPU_PROXY_PULL_TIMEOUT
        ├── DiskError            files cannot be written, for another reason than room
        │   └── DiskFull         no room left while files were written, or a limit of the system
        │       └── NoRoom       not room enough to begin with
        └── Cancelled            the caller asked for it

Messages are what users read: they name the repository and the file, never a local path and never a token.
`is_final`: the same request will fail again until somebody changes something; else a later try may do.
"""

from __future__ import annotations

from typing import ClassVar

from inference.errors import InferenceError


class HubError(InferenceError):
    """Base of them all."""

    code: ClassVar[str] = "hub_error"
    is_final: ClassVar[bool] = True


class RepositoryNotFound(HubError):
    code = "repository_not_found"


class RevisionNotFound(RepositoryNotFound):
    code = "revision_not_found"


class Unauthorized(HubError):
    code = "unauthorized"


class Gated(HubError):
    code = "gated"


class RateLimited(HubError):
    """`retry_after_s` is what the hub asked for, or a guess."""

    code = "rate_limited"
    is_final = False

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class HubUnavailable(HubError):
    code = "hub_unavailable"
    is_final = False


class RefusedRedirect(HubError):
    code = "refused_redirect"


class NoModelFiles(HubError):
    code = "no_model_files"


class TooLarge(HubError):
    code = "too_large"


class UnsafeName(HubError):
    code = "unsafe_name"


class DigestMismatch(HubError):
    """`file` is the name in the repository."""

    code = "digest_mismatch"

    def __init__(self, file: str, expected: str, found: str) -> None:
        super().__init__(
            f"{file} has the digest {found[:12]} instead of {expected[:12]}, which the hub announced: the "
            "bytes were thrown away; try again, and if it stays so, use another mirror"
        )
        self.file = file


class Truncated(HubError):
    code = "truncated"
    is_final = False


class Stalled(HubError):
    code = "stalled"
    is_final = False


class Changed(HubError):
    code = "changed"
    is_final = False


class DiskError(HubError):
    code = "disk_error"


class DiskFull(DiskError):
    code = "disk_full"


class NoRoom(DiskFull):
    """Noticed before a byte was written."""


class Cancelled(HubError):
    code = "cancelled"

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
