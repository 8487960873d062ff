"""Generated tables say what the code does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from compat_api.urls import OPERATIONS
from npuproxy import documents, env

ROOT = Path(__file__).resolve().parent.parent


def test_the_committed_tables_are_current() -> None:
    call_command("documents", "--check")


def test_a_stale_table_is_noticed_and_written(tmp_path: Path) -> None:
    for file in {table.file for table in documents.TABLES}:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    page = tmp_path / "docs" / "configuration.md"
    whole = page.read_text("utf-8")
    page.write_text(whole.replace("`NPU_PROXY_PORT`", "`NPU_PROXY_HAVEN`", 1), "utf-8")
    assert documents.changed(tmp_path, write=False) == ["docs/configuration.md"]
    assert documents.changed(tmp_path, write=True) == ["docs/configuration.md"]
    assert page.read_text("utf-8") == whole
    assert documents.changed(tmp_path, write=False) == []


def test_the_command_fails_on_a_stale_table(tmp_path: Path, settings: object) -> None:
    for file in {table.file for table in documents.TABLES}:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        marked = "".join(
            f"<!-- {t.name} -->\n<!-- /{t.name} -->\n" for t in documents.TABLES if t.file == file
        )
        (tmp_path / file).write_text(marked, "utf-8")
    settings.BASE_DIR = tmp_path  # type: ignore[attr-defined]
    with pytest.raises(CommandError, match=r"stale: docs/configuration.md, docs/architecture.md"):
        call_command("documents")
    call_command("documents", "--write")
    call_command("documents", "--check")


def test_a_document_without_a_place_for_its_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "configuration.md").write_text("nothing here", "utf-8")
    with pytest.raises(ValueError, match="no place for the table 'variables'"):
        documents.changed(tmp_path, write=False)


def test_every_endpoint_is_on_the_page_of_the_api() -> None:
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    for operation in OPERATIONS:
        assert f"`{operation.path}`" in page, operation.path


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_variable_has_a_meaning_and_stands_once() -> None:
    names = [name for row in env.TABLE for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(row.meaning and row.default and row.group for row in env.TABLE)
