"""Aliases, compile caches, devices, use and downloads in admin: what may be changed there, and what happens then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from admin_pages import Browser, cells, engine_in_this_process, said
from django.utils import timezone
from pytest_django import Settings

from inference.errors import ModelNotFound
from registry import builtin, devices, pulls, store
from registry.models import Alias, CompileCache, Device, Download, Model, Usage

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def browser(settings: Settings, tmp_path: Path) -> Browser:
    settings.MODEL_PATH = tmp_path / "models"
    builtin.sync_builtin_models()
    return Browser()


# --- aliases ----------------------------------------------------------------------------------------------------


def test_an_alias_that_is_added_answers_and_one_that_is_deleted_does_not(browser: Browser) -> None:
    browser.post("/alias/add/", name="GPT-4o", target="demo")
    row = Alias.objects.get()
    assert (row.name, row.target) == ("GPT-4o:latest", "demo:latest")
    assert store.info("gpt-4o").name == "demo:latest"
    assert cells(browser.get("/alias/"), "answers") == ["yes"]
    browser.post(f"/alias/{row.pk}/change/", name="gpt-4o", target="all-minilm")
    assert store.info("gpt-4o").name == "all-minilm:latest"
    browser.post(f"/alias/{row.pk}/delete/", post="yes")
    with pytest.raises(ModelNotFound):
        store.info("gpt-4o")


@pytest.mark.parametrize(
    ("name", "target", "fault"),
    [
        ("a b", "demo", "invalid model name"),
        ("x", "de mo", "invalid model name"),
        ("", "demo", "This field is required"),
        ("DEMO", "all-minilm", "a model 'demo:latest' is installed"),
        ("x", "X", "an alias stands for another name"),
        ("TAKEN", "demo", "there is an alias 'TAKEN:latest' already"),
        ("x", "taken", "'taken:latest' is an alias itself: name its model, 'later:latest'"),
        ("later", "demo", "'taken:latest' is an alias of this name"),
        ("x:cloud", "demo", "ollama cloud is disabled"),
    ],
)
def test_an_alias_that_would_shadow_or_lead_in_a_circle_is_refused(
    browser: Browser, name: str, target: str, fault: str
) -> None:
    Alias.objects.create(name="taken:latest", target="later:latest")
    page = browser.post("/alias/add/", name=name, target=target)
    assert fault in page
    assert Alias.objects.count() == 1


def test_the_list_says_which_aliases_answer_nobody(browser: Browser) -> None:
    Alias.objects.create(name="a:latest", target="gone:latest")
    Alias.objects.create(name="demo:latest", target="all-minilm:latest")
    assert cells(browser.get("/alias/"), "answers") == ["target not installed", "shadowed"]


# --- compile caches ---------------------------------------------------------------------------------------------


@pytest.fixture
def cache(browser: Browser, settings: Settings, tmp_path: Path) -> CompileCache:
    """Of demo on the CPU, in the folder where caches are."""
    from msgspec import structs

    settings.ENGINE = structs.replace(settings.ENGINE, cache_dir=tmp_path / "cache")
    demo = Model.objects.get(name="demo:latest")
    folder = tmp_path / "cache" / demo.digest / "CPU_1_2026"
    folder.mkdir(parents=True)
    (folder / "a.blob").write_bytes(bytes(2048))
    return CompileCache.objects.create(
        digest=demo.digest,
        device="CPU",
        driver="1",
        openvino="2026",
        path=str(folder),
        size_bytes=2048,
        compile_s=6.5,
    )


def test_deleting_a_cache_removes_its_folder(browser: Browser, cache: CompileCache) -> None:
    assert cells(browser.get("/compilecache/"), "of_model") == ["demo:latest"]
    page = browser.act("compilecache", "remove", cache)
    assert "2.0 KB of files, compiled in 6.50 s last time" in page
    assert Path(cache.path).is_dir()
    browser.act("compilecache", "remove", cache, post="yes")
    assert not CompileCache.objects.exists()
    assert not Path(cache.path).parent.exists()


def test_a_cache_that_a_loaded_model_uses_stays(browser: Browser, cache: CompileCache) -> None:
    with engine_in_this_process():
        browser.act("model", "load", Model.objects.get(name="demo:latest"))
        assert cells(browser.get("/compilecache/"), "state") == ["in use"]
        page = browser.act("compilecache", "remove", cache, post="yes")
    assert "a loaded model uses it" in said(page)[0]
    assert Path(cache.path).is_dir()
    assert CompileCache.objects.exists()


def test_a_folder_outside_the_caches_is_never_removed(
    browser: Browser, cache: CompileCache, tmp_path: Path
) -> None:
    other = tmp_path / "documents"
    other.mkdir()
    for folder in (other, tmp_path / "cache", tmp_path / "cache" / ".." / "documents"):
        CompileCache.objects.update(path=str(folder))
        refused = said(browser.act("compilecache", "remove", cache, post="yes"))[0]
        assert "not in the folder of caches" in refused
        assert folder.is_dir()


# --- devices and use --------------------------------------------------------------------------------------------


def test_a_device_s_budget_is_edited_and_nothing_else(browser: Browser) -> None:
    row = Device.objects.create(name="NPU", full_name="Intel(R) AI Boost")
    browser.post(f"/device/{row.pk}/change/", memory_budget_mb="4000", name="CPU")
    row.refresh_from_db()
    assert (row.name, row.memory_budget_mb) == ("NPU", 4000)
    assert devices.budgets() == {"NPU": 4_000_000_000}
    assert "greater than or equal to 1" in browser.post(f"/device/{row.pk}/change/", memory_budget_mb="0")
    browser.post(f"/device/{row.pk}/change/", memory_budget_mb="")
    assert devices.budgets() == {}
    browser.get("/device/add/", status=403)
    browser.get(f"/device/{row.pk}/delete/", status=403)


def test_a_device_shows_what_runs_on_it_now(browser: Browser) -> None:
    Device.objects.create(name="CPU", memory_budget_mb=4000)
    Device.objects.create(name="NPU.7")
    assert cells(browser.get("/device/"), "state") == ["unknown", "unknown"]
    with engine_in_this_process():
        browser.act("model", "load", Model.objects.get(name="demo:latest"))
        page = browser.get("/device/")
    assert cells(page, "state") == ["available", "not there now"]
    assert cells(page, "models") == ["demo:latest", "–"]
    assert "of 3.7 GB" in cells(page, "memory")[0]


def test_use_is_shown_by_the_models_name_and_cannot_be_written(browser: Browser) -> None:
    demo = Model.objects.get(name="demo:latest")
    row = Usage.objects.create(digest=demo.content_digest, device="NPU", requests=12345, tokens_per_s=42.4)
    Usage.objects.create(digest="e" * 64, device="CPU", used_at="2026-01-01T00:00:00Z")
    page = browser.get("/usage/")
    assert cells(page, "of_model") == ["demo:latest", "removed eeeeeeeeeeee"]
    assert cells(page, "request_count") == ["12,345", "0"]
    assert cells(page, "speed") == ["42", "–"]
    assert 'name="_save"' not in browser.get(f"/usage/{row.pk}/change/")
    browser.get("/usage/add/", status=403)
    browser.get(f"/usage/{row.pk}/delete/", status=403)


# --- downloads --------------------------------------------------------------------------------------------------


def test_a_download_is_cancelled_and_asked_for_again(browser: Browser) -> None:
    row = pulls.request("tiny/chat")
    assert cells(browser.get("/download/"), "shown_state") == ["queued"]
    assert "Cancelled is:" in browser.act("download", "cancel", row)
    assert cells(browser.get("/download/"), "shown_state") == ["queued"], "it was only asked"
    assert said(browser.act("download", "cancel", row, post="yes")) == ["Cancelled: tiny/chat:latest"]
    assert "it has ended" in browser.act("download", "cancel", row)
    assert said(browser.act("download", "cancel", row, post="yes")) == [
        "Nothing to cancel: tiny/chat:latest has ended"
    ]
    assert said(browser.act("download", "retry", row)) == ["Asked for tiny/chat:latest"]
    assert sorted(Download.objects.values_list("state", flat=True)) == ["cancelled", "queued"]
    assert said(browser.act("download", "retry", row)) == ["Joined the running pull of tiny/chat:latest"]


def test_what_has_ended_can_be_forgotten_and_what_goes_on_cannot(browser: Browser) -> None:
    ended = Download.objects.create(name="a:latest", repo="o/a", state="failed", finished_at=timezone.now())
    active = pulls.request("tiny/chat")
    assert "it goes on" in browser.act("download", "forget", ended, active)
    assert Download.objects.count() == 2, "it was only asked"
    assert said(browser.act("download", "forget", ended, active, post="yes")) == ["Removed 1 of 2 selected"]
    assert Download.objects.get() == active


def test_progress_is_told_as_json_for_the_page_s_script(browser: Browser) -> None:
    row = pulls.claim("me", pulls.request("tiny/chat").pk)
    assert row is not None
    files = [{"name": "a.bin", "size": 200, "sha256": "", "completed": 50}]
    pulls.beat(row, files=files, total_bytes=200, completed_bytes=50, phase="files", rate=10.0)
    told = json.loads(browser.get("/download/progress/", id=row.pk))["downloads"]
    assert (told[0]["state"], told[0]["share"], told[0]["active"]) == ("running", 0.25, True)
    assert told[0]["files"] == {"a.bin": "50\xa0bytes"}


def test_staff_who_may_only_look_cancel_nothing(browser: Browser) -> None:
    row = pulls.request("tiny/chat")
    staff = Browser("view_download")
    staff.act("download", "cancel", row, form=f"/download/{row.pk}/change/", post="yes")
    assert "Cancel</button>" not in staff.get(f"/download/{row.pk}/change/")
    row.refresh_from_db()
    assert row.state == "queued"
    staff.get("/alias/", status=403)
