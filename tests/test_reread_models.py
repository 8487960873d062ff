"""Models that an older version installed can, after an update, what this one finds in their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from engines import BUILTIN
from infill_models import QWEN, tokenizer_json

from registry import folder, importer, names, reread
from registry.models import Model


@pytest.mark.django_db(transaction=True)
def test_a_row_of_an_older_reader_gains_what_its_files_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, tokens in (("coder", QWEN), ("plain", ()), ("broken", QWEN)):
        path = tmp_path / name
        shutil.copytree(BUILTIN / "demo", path)
        (path / folder.SUMS).unlink()
        (path / "tokenizer.json").write_text(json.dumps(tokenizer_json(tokens)))
        importer.adopt_in_place(path, names.parse(name))
    before = Model.objects.get(name="coder:latest")
    assert before.capabilities == ["completion", "tools", "insert", "thinking"]
    assert reread.sync_readers() == []
    Model.objects.update(reader_version=1, capabilities=["completion", "thinking"])
    (tmp_path / "broken" / "tokenizer.json").write_text("{")
    assert sorted(reread.sync_readers()) == ["coder:latest", "plain:latest"]
    assert "model 'broken' is damaged: tokenizer.json" in caplog.text
    rows = {row.name: row for row in Model.objects.all()}
    assert rows["coder:latest"].capabilities == ["completion", "insert", "thinking"]
    assert rows["coder:latest"].modified_at == before.modified_at
    assert rows["plain:latest"].capabilities == ["completion", "thinking"]
    assert rows["broken:latest"].reader_version == 1, "it is looked at again with the next start"
    assert reread.sync_readers() == []
