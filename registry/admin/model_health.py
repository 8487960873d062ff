"""Two cells of a model that move: where it runs now, and whether its files are what was installed."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from registry import verification_runs
from registry.admin import cells, running
from registry.models import Model, Verification

_States = Verification.States


def where(row: Model) -> SafeString:
    """Every worker that holds the model now, by the device that executes it; else why it does not load."""
    now = running.snapshot()
    if now is None:
        return cells.tag("unknown", title="this process is not the server")
    held = running.places(row.name, now)
    if held:
        return format_html_join(
            " ",
            "{}",
            ((cells.tag(running.place(one), "good" if one.state == "ready" else "busy"),) for one in held),
        )
    if failure := running.failure(row.name):
        return cells.tag("failed to load", "bad", failure)
    return cells.tag("not loaded")


def verified(row: Model) -> SafeString:
    """How the last verification of these very files ended, or how far the one that runs is."""
    last = latest(row)
    if last is None:
        return cells.tag("not verified")
    if last.state == _States.RUNNING:
        silent = timezone.now() - last.beat_at > timedelta(seconds=verification_runs.SILENT_S)
        if silent:
            return cells.tag("interrupted", "warn", "the process that read them has ended; verify again")
        share = last.read_bytes / last.total_bytes if last.total_bytes else 0.0
        return format_html('<span data-moves="yes">{}</span>', cells.bar(min(share, 1.0), f"{share:.0%}"))
    if last.state == _States.DAMAGED:
        count = len(last.faults)
        said = cells.tag(f"{count} damaged", "bad", "; ".join(last.faults))
    else:
        said = cells.tag("good", "good")
    return format_html("{} <small>{}</small>", said, cells.ago(last.ended_at))


def faults(row: Model) -> SafeString:
    last = latest(row)
    if last is None or not last.faults:
        return cells.UNKNOWN
    items = format_html_join("", "<li>{}</li>", ((fault,) for fault in last.faults))
    return format_html('<ul class="faults">{}</ul><p>Pull the model again to mend it.</p>', items)


def latest(row: Model) -> Verification | None:
    """None also for one that was about other files than the model has now."""
    found: Verification | None = getattr(row, "verification", None)
    return found if found is not None and found.digest == row.digest else None
