"""Profiles, substitutions and the question why, in admin."""

from __future__ import annotations

import pytest
from admin_pages import ADMIN, Browser, cells, engine_in_this_process
from django.utils import timezone

from inference.profiles import Samples
from registry import profiles, substitutions, tables
from registry.models import Backend, Model, RequestLog, Substitution

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


def test_the_question_is_a_link_on_the_pages_of_what_it_is_about() -> None:
    tables.prepare()
    model = Model.objects.get(name="demo:latest")
    box = Backend.objects.create(name="box", protocol="ollama", url="http://box:1")
    row = RequestLog.objects.create(
        request_id="req_1", time=timezone.now(), model="demo", status=200, total_s=1.0
    )
    browser = Browser()
    pages = {
        f"/model/{model.pk}/change/": "?model=demo%3Alatest",
        f"/backend/{box.pk}/change/": "?device=box",
        f"/requestlog/{row.pk}/change/": "?model=demo",
    }
    for path, query in pages.items():
        assert f'href="{ADMIN}/profile/why/{query}">Why here?' in browser.get(path)
    filled = browser.get("/profile/why/", model="demo:latest", device="box")
    assert 'value="demo:latest"' in filled
    assert 'value="box"' in filled
    vectors = Model.objects.get(name="all-minilm:latest")
    assert "Why here?" not in browser.get(f"/model/{vectors.pk}/change/")
    others = Browser("view_model", name="other")
    assert "Why here?" not in others.get(f"/model/{model.pk}/change/")


def test_why_here_is_for_those_who_may_see_profiles() -> None:
    Browser("view_model", name="other").get("/profile/why/", status=403)
