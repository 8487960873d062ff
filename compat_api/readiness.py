"""Whether a request that arrives now is answered, and if not, why, and what mends it. Nothing is loaded to know it.

not ready    the server stops, its devices are not known yet, its runtime cannot start, or models of NPU_PROXY_WARMUP
             are still loading: whoever wished for a warm-up wants no client to wait for it
degraded     requests are answered, but something does not work: no reason to send them elsewhere
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from inference.states import Snapshot


class Finding(Struct, frozen=True):
    """`code` for programs, the rest for people. No path of this machine."""

    code: str
    message: str
    remedy: str


class WarmUp:
    """The models of NPU_PROXY_WARMUP; one that failed keeps nobody waiting. Written on the loop, read by any thread."""

    def __init__(self) -> None:
        self.loading: frozenset[str] = frozenset()
        self.failed: frozenset[str] = frozenset()

    def begin(self, labels: Iterable[str]) -> None:
        self.loading = frozenset(labels)

    def end(self, label: str, *, failed: bool = False) -> None:
        self.loading -= {label}
        if failed:
            self.failed |= {label}


WARM_UP = WarmUp()
"""The server's."""


def reasons(snapshot: Snapshot, loading: Iterable[str]) -> tuple[Finding, ...]:
    """Why it is not ready; () where it is."""
    found: list[Finding] = []
    if snapshot.draining:
        found.append(
            Finding(
                "draining", "the server is stopping and takes no new work", "send requests to another server"
            )
        )
    if not _has_other_servers(snapshot):
        found += _of_runtime(snapshot)
    if names := sorted(loading):
        found.append(
            Finding(
                "warming_up",
                f"models of NPU_PROXY_WARMUP are loading: {', '.join(names)}",
                "wait, or take them out of NPU_PROXY_WARMUP: they load with their first request too",
            )
        )
    return tuple(found)


def _has_other_servers(snapshot: Snapshot) -> bool:
    """They answer for their models whatever becomes of the runtime here."""
    return any(state.available and not state.local for state in snapshot.devices)


def _of_runtime(snapshot: Snapshot) -> list[Finding]:
    if snapshot.runtime == "starting":
        return [
            Finding(
                "devices_unknown", "the runtime is starting, no device is known yet", "try again in a second"
            )
        ]
    if snapshot.runtime == "failed":
        return [
            Finding(
                "runtime_failed",
                "no worker process could be started, so no device is known; it is tried again every few seconds",
                "the server's log has the cause: a broken installation of openvino, or too little memory",
            )
        ]
    return []


def warnings(snapshot: Snapshot, failed: Iterable[str], database_is_away: bool) -> tuple[Finding, ...]:
    """What does not work while requests are answered."""
    found = _of_runtime(snapshot) if _has_other_servers(snapshot) else []
    if database_is_away:
        found.append(
            Finding(
                "database_away",
                "the database does not answer; models and keys that are known stay in use, pulls and changes wait",
                "check DATABASE_URL, the disk and its free space",
            )
        )
    if names := sorted(failed):
        found.append(
            Finding(
                "warm_up_failed",
                f"models of NPU_PROXY_WARMUP that did not load: {', '.join(names)}",
                "the server's log has the cause; the next request for such a model tries again",
            )
        )
    found += [
        Finding(
            "breaker_open",
            f"a model crashed again and again on {breaker.device}; it is left alone there for now",
            "the server's log has the worker's last words",
        )
        for breaker in snapshot.breakers
        if breaker.state == "open"
    ]
    return tuple(found)
