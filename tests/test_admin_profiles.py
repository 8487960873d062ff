"""Profiles, substitutions and the question why, in admin."""

from __future__ import annotations

import pytest
from admin_pages import Browser, cells, engine_in_this_process

from inference.profiles import Samples
from registry import profiles, substitutions, tables
from registry.models import Substitution

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_table_shows_medians_with_their_counts_and_bars() -> None:
    samples = Samples(
        key="0" * 64, backend="NPU", name="demo:latest", prefill=((100, 400.0), (90, 500.0), (80, 900.0)),
        tpot_s=(0.02,), load_s=(12.5,),
    )  # fmt: skip
    profiles._write((samples,), {})
    page = Browser().get("/profile/")
    assert cells(page, "prefill") == ["500 tokens/s (3)"]
    assert cells(page, "token_rate") == ["50 tokens/s (1)"]
    assert cells(page, "load") == ["12.5 s (1)"]
    assert cells(page, "energy") == ["unknown"]
    assert "<meter" in page
    assert "Why here?" in page


def test_a_substitution_is_made_in_admin_and_not_one_of_a_model_for_itself() -> None:
    browser = Browser()
    page = browser.post("/substitution/add/", model="big", substitute="big:latest", when="any")
    assert "a model cannot stand in for itself" in page
    browser.post("/substitution/add/", model="big", substitute="small", when="too_hot")
    row = Substitution.objects.get()
    assert (row.model, row.substitute, row.when) == ("big:latest", "small:latest", "too_hot")
    assert list(substitutions.rules()) == ["big:latest"]


def test_why_here_names_the_winner_and_every_term() -> None:
    tables.prepare()
    browser = Browser()
    with engine_in_this_process():
        page = browser.post("/profile/why/", model="demo", prompt="How do I pull a model?", hint="power")
        nobody = browser.post("/profile/why/", model="nobody", prompt="hi")
    assert "CPU is the only one that can" in page
    assert "CPU (wins)" in page
    assert "assumed" in page
    assert 'class="errorlist' in nobody
    assert "nobody" in nobody.partition('class="errorlist')[2][:300]


def test_why_here_is_for_those_who_may_see_profiles() -> None:
    Browser("view_model", name="other").get("/profile/why/", status=403)
