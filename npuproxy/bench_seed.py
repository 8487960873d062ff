"""Rows as a house full of models has them: for `bench --registry`, and for the tests of scale.

The models are further names of `demo`, so that each could be loaded; everything else is made up, always the same.
"""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any, Final

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone

from registry import builtin
from registry.models import Alias, CompileCache, Device, Download, Model, Usage, Verification

FAMILIES: Final = ("qwen3", "llama", "mistral", "gemma3", "phi3", "granite")
QUANTIZATIONS: Final = ("INT4", "INT8", "FP16")
DEVICES: Final = ("NPU", "GPU.0", "GPU.1", "CPU")
TEXT: Final = "A licence is a page of text, and a template of a chat model another one. " * 60
"""Some 4 KB, as real ones have."""


def seed(models: int, downloads: int) -> None:
    """That many rows in the tables, beside those that are there. Downloads have all ended."""
    builtin.sync_builtin_models()
    random = Random(models)
    rows = _models(models, random)
    Model.objects.bulk_create(rows)
    Download.objects.bulk_create(_downloads(downloads, rows, random), batch_size=500)
    Alias.objects.bulk_create(
        Alias(name=f"gpt-{index}:latest", target=row.name) for index, row in enumerate(rows)
    )
    Device.objects.bulk_create((Device(name=name) for name in DEVICES), ignore_conflicts=True)
    Usage.objects.bulk_create(_usage(row, device, random) for row in rows for device in DEVICES[:2])
    CompileCache.objects.bulk_create(_cache(row, device, random) for row in rows for device in DEVICES[:2])
    Verification.objects.bulk_create(_verification(row, random) for row in rows[::2])


def admin_session() -> str:
    """The key of a session in which an admin has signed in; nobody knows the password."""
    user = get_user_model().objects.create_superuser("admin")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def _models(count: int, random: Random) -> list[Model]:
    demo = Model.objects.get(name="demo:latest")
    kept = {
        field.attname: getattr(demo, field.attname)
        for field in Model._meta.concrete_fields
        if field.attname not in ("id", "name", "builtin", "digest", "modified_at")
    }
    return [Model(**kept | _facts(index, random)) for index in range(count)]


def _facts(index: int, random: Random) -> dict[str, Any]:
    family = FAMILIES[index % len(FAMILIES)]
    return {
        "name": f"openvino-community/{family}-{index:04}-instruct:{QUANTIZATIONS[index % 3].lower()}",
        "digest": random.randbytes(32).hex(),
        "source": f"openvino-community/{family}-{index:04}-instruct-ov",
        "revision": random.randbytes(20).hex(),
        "family": family,
        "quantization": QUANTIZATIONS[index % 3],
        "size_bytes": random.randrange(10**8, 10**10),
        "parameter_count": random.randrange(10**8, 10**10),
        "context_length": 2 ** random.randrange(11, 18),
        "pinned": not index % 97,
        "licence": TEXT,
        "modified_at": timezone.now() - timedelta(minutes=index),
    }


def _downloads(count: int, models: list[Model], random: Random) -> list[Download]:
    return [_download(index, models[index % len(models)], random) for index in range(count)]


def _download(index: int, model: Model, random: Random) -> Download:
    began = timezone.now() - timedelta(minutes=index)
    failed = not index % 7
    files = [
        {"name": name, "size": size, "sha256": sha256, "completed": 0 if failed else size}
        for name, (size, sha256) in model.files.items()
    ]
    return Download(
        name=model.name,
        repo=model.source,
        commit=model.revision,
        state="failed" if failed else "done",
        files=files,
        total_bytes=model.size_bytes,
        completed_bytes=random.randrange(model.size_bytes) if failed else model.size_bytes,
        error="the hub closed the connection; what was fetched is kept" if failed else "",
        error_code="unavailable" if failed else "",
        created_at=began,
        started_at=began,
        finished_at=began + timedelta(seconds=90),
    )


def _usage(model: Model, device: str, random: Random) -> Usage:
    return Usage(
        digest=model.content_digest,
        device=device,
        requests=random.randrange(1, 10**6),
        prompt_tokens=random.randrange(10**8),
        completion_tokens=random.randrange(10**8),
        ttft_s=random.random(),
        tokens_per_s=random.uniform(1, 200),
        load_s=random.uniform(0.2, 60),
        used_at=timezone.now() - timedelta(minutes=random.randrange(10**5)),
    )


def _cache(model: Model, device: str, random: Random) -> CompileCache:
    return CompileCache(
        digest=model.digest,
        device=device,
        driver="32.0.100.4239",
        openvino="2026.2.0",
        path=f"/nowhere/{model.digest}/{device}",
        size_bytes=random.randrange(10**6, 10**9),
        compile_s=random.uniform(1, 90),
    )


def _verification(model: Model, random: Random) -> Verification:
    faults = ["openvino_model.bin does not match its sha256"] if random.random() < 0.05 else []
    return Verification(
        model=model,
        digest=model.digest,
        state="damaged" if faults else "good",
        total_bytes=model.size_bytes,
        read_bytes=model.size_bytes,
        faults=faults,
        ended_at=timezone.now() - timedelta(minutes=random.randrange(10**4)),
    )
