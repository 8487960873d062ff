"""The efficiency mode in admin: one form, what counts now, and what the machine says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from admin_pages import Browser, engine_in_this_process, said
from machines import laptop
from server_rows import eventually

from registry.models.efficiency import EfficiencyChoice

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "/efficiencychoice/"


@pytest.fixture
def browser() -> Browser:
    return Browser()


def field(page: str, name: str) -> str:
    """The words of a read-only field, without its tags."""
    found = re.search(rf'field-{name}">.*?<div class="readonly">(.*?)</div>', page, re.DOTALL)
    assert found, f"no field {name}"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[1])).strip()


def test_the_mode_is_chosen_in_a_form_and_counts_at_once(browser: Browser, tmp_path: Path) -> None:
    machine = laptop(tmp_path)
    with engine_in_this_process(sysfs_root=machine.root, quiet_hours="off") as server:
        eventually(lambda: server.telemetry.readings().battery.value)
        redirected = browser.client.get("/admin/registry" + LIST)
        assert redirected.headers["Location"] == "/admin/registry/efficiencychoice/add/"
        page = browser.get(LIST + "add/")
        assert '<option value="Auto" selected>' in page
        assert field(page, "effective") == "Performance"

        page = browser.post(LIST + "add/", mode="Quiet")
        assert "was added successfully" in " ".join(said(page))
        assert (server.efficiency.stored, server.efficiency.now.mode.name) == ("Quiet", "Quiet")
        page = browser.get(LIST + "1/change/")
        assert field(page, "effective") == "Quiet"
        assert field(page, "reason") == "chosen"
        assert field(page, "limits") == "15 W, 40 % of its fans, 70 °C"
        machine_now = field(page, "machine")
        for fact in ("88 %", "power_supply BAT0 and BAT1", "on battery no", "52 °C", "24 %"):
            assert fact in machine_now, fact

        browser.post(LIST + "1/change/", mode="Auto")
        assert server.efficiency.stored == "Auto"
        assert EfficiencyChoice.objects.get().mode == "Auto"


def test_there_is_one_row_and_it_stays(browser: Browser) -> None:
    browser.post(LIST + "add/", mode="Balanced")
    assert EfficiencyChoice.objects.get().pk == 1
    browser.get(LIST + "add/", status=403)
    browser.get(LIST + "1/delete/", status=403)
    assert browser.client.get("/admin/registry" + LIST).headers["Location"].endswith("/1/change/")
    page = browser.get(LIST + "1/change/")
    assert field(page, "effective") == "unknown", "this process is not the server"
    assert "within 60 W" in field(page, "modes")


def test_an_unknown_mode_is_refused(browser: Browser) -> None:
    page = browser.post(LIST + "add/", mode="Turbo")
    assert "Turbo is not one of the available choices" in page
    assert not EfficiencyChoice.objects.exists()


def test_who_may_only_look_changes_nothing() -> None:
    reader = Browser("view_efficiencychoice", name="reader")
    EfficiencyChoice.objects.create(mode="Quiet")
    page = reader.get(LIST + "1/change/")
    assert field(page, "mode") == "Quiet"
    answer = reader.client.post("/admin/registry" + LIST + "1/change/", {"mode": "Auto"})
    assert answer.status_code == 403
    assert EfficiencyChoice.objects.get().mode == "Quiet"
