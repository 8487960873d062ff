"""What can be done to a model in admin, and who may: pins, verification, removal with files, a pull by its name."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import hub_repositories as repositories
import pytest
from admin_pages import Browser, cells, engine_in_this_process, said
from hub_process import Hub
from pytest_django import Settings

from inference import engine
from registry import builtin, removal, verification_runs
from registry.models import Alias, Download, Model, Usage, Verification

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def models(settings: Settings, tmp_path: Path) -> Path:
    """The folder of models; the built-in ones are there."""
    settings.MODEL_PATH = tmp_path / "models"
    builtin.sync_builtin_models()
    return tmp_path / "models"


@pytest.fixture
def browser(models: Path) -> Browser:
    return Browser()


@pytest.fixture
def mine(models: Path) -> Model:
    """A model of the user's, with files of its own."""
    folder = Path(shutil.copytree(builtin.ROOT / "demo", models / "mine=latest-0123456789ab"))
    row = removal.copy("demo", "mine")
    Model.objects.filter(pk=row.pk).update(path=str(folder))
    row.refresh_from_db()
    return row


def until_ended(model: Model) -> Verification:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = Verification.objects.filter(model=model, state__in=Verification.ENDED).first()
        if found is not None:
            return found
        time.sleep(0.05)
    pytest.fail("the verification did not end")


# --- pins -------------------------------------------------------------------------------------------------------


def test_pin_and_unpin_change_the_row_and_the_list_shows_it(browser: Browser, mine: Model) -> None:
    page = browser.act("model", "pin", mine)
    assert said(page) == ["Pinned 1 of 1 selected"]
    assert "mine:latest pinned" in cells(page, "shown_name")
    assert Model.objects.get(pk=mine.pk).pinned
    browser.act("model", "unpin", mine)
    assert not Model.objects.get(pk=mine.pk).pinned


# --- verification -----------------------------------------------------------------------------------------------


def test_a_large_model_is_verified_by_a_thread_whose_state_the_list_shows(
    browser: Browser, mine: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification_runs, "AT_ONCE_BYTES", 0)
    (Path(mine.path) / "tokenizer.json").write_text("{}")
    page = browser.act("model", "verify", mine)
    assert said(page) == ["Verifying mine:latest: the column `files` tells how far it is"]
    ended = until_ended(mine)
    assert ended.faults[0].startswith("tokenizer.json has 2 bytes instead of")
    assert any(cell.startswith("1 damaged") for cell in cells(browser.get("/model/"), "verified"))
    page = browser.get(f"/model/{mine.pk}/change/")
    assert "tokenizer.json has 2 bytes instead of" in page
    found = browser.get("/model/", files="damaged")
    assert cells(found, "shown_name") == ["mine:latest"]


def test_a_verification_is_shared_by_those_who_ask_and_begun_anew_when_its_reader_is_gone(
    browser: Browser, mine: Model
) -> None:
    row = verification_runs.begin(mine)
    assert row is not None
    assert said(browser.act("model", "verify", mine)) == ["Already being verified: mine:latest"]
    Verification.objects.filter(pk=row.pk).update(beat_at="2026-01-01T00:00:00Z")
    assert "interrupted" in cells(browser.get("/model/"), "verified")
    assert said(browser.act("model", "verify", mine)) == ["All 12 files of mine:latest are good"]
    with pytest.raises(verification_runs.Removed):
        verification_runs.run(mine, row)


def test_what_was_verified_of_other_files_does_not_count(browser: Browser, mine: Model) -> None:
    browser.act("model", "verify", mine)
    Model.objects.filter(pk=mine.pk).update(digest="a" * 64)
    page = browser.get("/model/", q="mine")
    assert cells(page, "verified") == ["not verified"]


# --- removal ----------------------------------------------------------------------------------------------------


def test_deleting_asks_first_and_then_removes_the_files_too(browser: Browser, mine: Model) -> None:
    Alias.objects.create(name="gpt-4o:latest", target="mine:latest")
    page = browser.act("model", "remove", mine, Model.objects.get(name="demo:latest"))
    assert "3.3 MB of files" in page
    assert "Aliases that lose their model: gpt-4o:latest" in page
    assert "demo:latest</strong>: it ships with the program" in page
    assert Path(mine.path).is_dir()
    page = browser.act("model", "remove", mine, post="yes")
    assert said(page) == ["Deleted: mine:latest"]
    assert not Model.objects.filter(pk=mine.pk).exists()
    assert not Path(mine.path).exists()


def test_files_that_another_model_uses_stay(browser: Browser, mine: Model) -> None:
    removal.copy("mine", "twin")
    page = browser.get(f"/model/{mine.pk}/delete/")
    assert "the files stay, 1 other model use them" in page.replace("uses", "use")
    browser.post(f"/model/{mine.pk}/delete/", post="yes")
    assert Path(mine.path).is_dir()
    assert Model.objects.filter(name="twin:latest").exists()


def test_a_model_is_unloaded_before_it_goes(browser: Browser, mine: Model) -> None:
    Model.objects.filter(pk=mine.pk).update(digest="d" * 64)  # no other name shares its worker
    with engine_in_this_process() as server:
        assert said(browser.act("model", "load", mine)) == ["Loaded mine:latest on CPU"]
        assert [held.name for held in server.snapshot().models] == ["mine:latest"]
        assert said(browser.act("model", "remove", mine, post="yes")) == ["Deleted: mine:latest"]
        assert server.snapshot().models == ()


# --- loading ----------------------------------------------------------------------------------------------------


def test_a_load_that_takes_long_goes_on_without_the_page(
    browser: Browser, mine: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.admin.running.WAIT_S", 0.0)
    with engine_in_this_process():
        assert said(browser.act("model", "load", mine)) == [
            "Going on with the load of mine:latest; the list tells how it ends"
        ]
        deadline = time.monotonic() + 30
        while cells(browser.get("/model/", q="mine"), "runs_on") != ["CPU"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert cells(browser.get("/model/", loaded="yes"), "shown_name") == ["mine:latest"]


def test_the_list_says_that_a_load_failed_and_why(browser: Browser, mine: Model) -> None:
    (Path(mine.path) / "openvino_model.bin").unlink()
    Model.objects.filter(pk=mine.pk).update(digest="c" * 64)
    with engine_in_this_process():
        browser.act("model", "load", mine)
        page = browser.get("/model/", q="mine")
    assert engine_is_gone()
    assert cells(page, "runs_on") == ["failed to load"]
    assert "openvino_model.bin is missing" in page


def engine_is_gone() -> bool:
    try:
        engine.current()
    except RuntimeError:
        return True
    return False


# --- the page ---------------------------------------------------------------------------------------------------


def test_a_page_shows_use_and_names_and_its_buttons_come_back_to_it(browser: Browser, mine: Model) -> None:
    Usage.objects.create(
        digest=mine.content_digest,
        device="NPU",
        requests=1234,
        completion_tokens=5,
        tokens_per_s=42.0,
        ttft_s=0.25,
    )
    Alias.objects.create(name="gpt-4o:latest", target="mine:latest")
    child = removal.copy("mine", "child")
    Model.objects.filter(pk=child.pk).update(parent="mine:latest")
    page = browser.get(f"/model/{mine.pk}/change/")
    for fact in ("1,234", "0.25 s", ">42<", "gpt-4o:latest</a>", "child:latest</a>", mine.path):
        assert fact in page, fact
    assert 'name="_save"' not in page
    listed = browser.get("/model/", q="mine")
    assert cells(listed, "last_used") == ["just now on NPU"]
    assert cells(listed, "speed") == ["42"]
    page = browser.post(
        "/model/",
        form=f"/model/{mine.pk}/change/",
        action="pin",
        _selected_action=mine.pk,
        page=mine.pk,
        index=0,
    )
    assert said(page) == ["Pinned 1 of 1 selected"]
    assert "Unpin</button>" in page


# --- who may ----------------------------------------------------------------------------------------------------


def test_staff_who_may_only_look_see_everything_and_can_do_nothing(mine: Model) -> None:
    staff = Browser("view_model")
    assert "mine:latest" in staff.get("/model/")
    page = staff.get(f"/model/{mine.pk}/change/")
    assert '<button type="submit" name="action"' not in page
    assert "Pull a model" not in staff.get("/model/")
    for action in ("pin", "load", "verify", "pull", "remove", "to_int4"):
        staff.act("model", action, mine, form=f"/model/{mine.pk}/change/", post="yes")
    staff.get(f"/model/{mine.pk}/delete/", status=403)
    staff.get("/model/pull/", status=403)
    mine.refresh_from_db()
    assert not mine.pinned
    assert not Verification.objects.exists()
    assert not Download.objects.exists()


def test_what_changes_live_is_told_to_those_who_may_look_alone(mine: Model) -> None:
    assert "not verified" in Browser("view_model").get("/model/live/", id=mine.pk)
    other = Browser("view_alias", name="other")
    assert other.get("/model/live/", id=mine.pk) == '{"models": []}'


# --- a pull by its name -----------------------------------------------------------------------------------------


@pytest.fixture
def tiny(hub: Hub, settings: Settings) -> str:
    settings.HF_ENDPOINT, settings.HF_TOKEN = hub.url, ""
    repositories.chat(hub.root)
    return repositories.CHAT


def test_the_form_shows_what_would_be_fetched_and_whom_it_suits(browser: Browser, tiny: str) -> None:
    page = browser.post("/model/pull/", name=tiny, look="Look first")
    for fact in ("openvino_model.bin", "apache-2.0", ">fits<", "NPU", "CPU", "3.3 MB in"):
        assert fact in page, fact
    assert not Download.objects.exists()


def test_the_form_asks_for_a_pull_and_shows_its_page(browser: Browser, tiny: str) -> None:
    page = browser.post("/model/pull/", name=tiny, device="CPU", token="hf_secret", pull="Pull")
    row = Download.objects.get()
    assert (row.repo, row.device, row.state) == (tiny, "CPU", "queued")
    assert f'data-download="{row.pk}"' in page
    assert "hf_secret" not in page + row.secret


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-model", "not in the catalogue"),
        ("a b", "invalid model name"),
        ("", "This field is required"),
    ],
)
def test_the_form_says_what_is_wrong_with_a_name(browser: Browser, name: str, words: str) -> None:
    assert words in browser.post("/model/pull/", name=name, pull="Pull")
    assert not Download.objects.exists()


def test_a_model_that_came_from_a_hub_is_pulled_again_or_converted(
    browser: Browser, mine: Model, tiny: str, settings: Settings
) -> None:
    assert said(browser.act("model", "pull", mine)) == [
        "Nothing to pull: mine:latest is not as it came from a hub"
    ]
    Model.objects.filter(pk=mine.pk).update(source=tiny, revision="f" * 40, parent="")
    browser.act("model", "pull", mine)
    assert Download.objects.get().name == "mine:latest"
    settings.CONVERT = "no"
    refused = said(browser.act("model", "to_int8", mine))[0]
    assert refused.startswith("Not converted: mine:latest")
    settings.CONVERT = "yes"
    assert said(browser.act("model", "to_int8", mine)) == ["Asked for mine:int8; see Downloads"]
    assert Download.objects.get(name="mine:int8").variant == "int8"
