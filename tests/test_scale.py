"""A thousand models and ten thousand downloads: lists of admin ask as little as with few, requests ask nothing."""

from __future__ import annotations

import asyncio
import json

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compat_api.ollama import catalogue
from npuproxy.bench_seed import seed
from registry import store
from registry.models import Alias, CompileCache, Download, Model, Usage

MOST_QUERIES = 20
TAGS = catalogue.Tags()
LISTS = ("model", "download", "alias", "compilecache", "device", "usage")
pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(get_user_model().objects.create_superuser("admin"))
    return client


def queries_of_lists(admin: Client) -> dict[str, int]:
    counts = {}
    for table in LISTS:
        with CaptureQueriesContext(connection) as seen:
            assert admin.get(f"/admin/registry/{table}/").status_code == 200
        counts[table] = len(seen)
    return counts


def test_the_lists_of_admin_ask_as_little_with_a_thousand_models_as_with_few(admin: Client) -> None:
    seed(60, 60)
    queries_of_lists(admin)  # what is asked once a process
    few = queries_of_lists(admin)
    for table in (Alias, CompileCache, Download, Usage):
        table.objects.all().delete()
    Model.objects.filter(builtin=False).delete()
    seed(1000, 10_000)
    assert (Model.objects.count(), Download.objects.count()) == (1002, 10_000)
    many = queries_of_lists(admin)
    assert max(many.values()) <= MOST_QUERIES, many
    assert {name: (few[name], many[name]) for name in LISTS if many[name] > few[name] + 1} == {}


@pytest.mark.django_db(transaction=True)
def test_a_model_and_all_of_them_are_found_without_a_query() -> None:
    seed(1000, 0)
    store.all_models()
    name = "openvino-community/llama-0001-instruct:int8"
    with CaptureQueriesContext(connection) as seen:
        found = asyncio.run(store.find(name))
        answer = TAGS.encoded(store.all_models())
        again = TAGS.encoded(store.all_models())
    assert found.name == name
    assert len(json.loads(answer)["models"]) == 1002
    assert again is answer, "encoded once"
    assert len(seen) == 0
    Model.objects.filter(name=name).update(quantization="INT2")
    changed = {entry["name"]: entry for entry in json.loads(TAGS.encoded(store.all_models()))["models"]}
    assert changed[name]["details"]["quantization_level"] == "INT2"
    Model.objects.filter(name=name).delete()
    assert name not in TAGS.encoded(store.all_models()).decode()
