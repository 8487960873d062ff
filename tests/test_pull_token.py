"""The token of a pull as it lies in a row: sealed, of use to one installation alone, gone with the pull."""

from __future__ import annotations

import threading
from pathlib import Path

import hub_repositories as repositories
import pytest
from hub_process import Hub
from pytest_django import Settings

from registry import pull_run, pulls, sealing
from registry.models import Download

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = "hf_a_token_of_a_request"


@pytest.fixture(autouse=True)
def here(settings: Settings, tmp_path: Path, hub: Hub) -> None:
    settings.MODEL_PATH, settings.HF_ENDPOINT = tmp_path / "models", hub.url
    repositories.chat(hub.root, gated="manual", tokens=[TOKEN])


def work(download: Download) -> Download:
    claimed = pulls.claim("test", download.pk)
    assert claimed is not None
    pull_run.work(claimed, threading.Event())
    claimed.refresh_from_db()
    return claimed


def test_a_row_holds_the_token_sealed_while_it_is_needed() -> None:
    waiting = pulls.request(repositories.CHAT, token=TOKEN)
    assert TOKEN not in waiting.secret
    assert sealing.unseal(waiting.secret) == TOKEN
    assert sealing.seal(TOKEN) != waiting.secret
    done = work(waiting)
    assert (done.state, done.secret) == (Download.States.DONE, "")


def test_a_server_with_another_key_says_why_it_cannot_pull(settings: Settings) -> None:
    waiting = pulls.request(repositories.CHAT, token=TOKEN)
    settings.SECRET_KEY = "of another data folder"
    failed = work(waiting)
    assert (failed.state, failed.error_code, failed.secret) == (Download.States.FAILED, "not_usable", "")
    assert "sealed by a server with another secret_key" in failed.error
