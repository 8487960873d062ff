"""Repositories for the tests' hub: OpenVINO IR of the built-in models, small, and what no repository should be.

Each function writes FOLDER/<org>/<repo>/<commit>/ and repository.json, and returns the commit; the hub process reads
both anew for each request, so a repository may change between two of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from engines import BUILTIN

CHAT = "tiny/chat"
EMBEDDING = "tiny/embedding"
BIG = "tiny/big"


def publish(
    root: Path, repo: str, files: Mapping[str, Path | bytes], revision: str = "main", **meta: Any
) -> str:
    """A new commit of the repository; `meta` is kept of earlier ones where it is not given."""
    texts = {
        name: content if isinstance(content, bytes) else content.read_bytes()
        for name, content in files.items()
    }
    commit = hashlib.sha1(b"".join(name.encode() + texts[name] for name in sorted(texts))).hexdigest()
    folder = root / repo / commit
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            _link(content, target)
    page = root / repo / "repository.json"
    kept: dict[str, Any] = json.loads(page.read_text("utf-8")) if page.exists() else {"licence": "apache-2.0"}
    revisions = {**kept.pop("revisions", {}), revision: commit}
    page.write_text(json.dumps({**kept, **meta, "revisions": revisions}), "utf-8")
    return commit


def chat_files() -> dict[str, Path | bytes]:
    """The built-in `demo`, 3.3 MB; with the names that exporters give the same files."""
    return _files(BUILTIN / "demo") | {"README.md": b"---\nlicense: apache-2.0\n---\n# A tiny model\n"}


def chat(root: Path, repo: str = CHAT, **meta: Any) -> str:
    """A chat model, with files beside it that nobody should fetch."""
    others = {
        "pytorch_model.bin": b"a pickle",
        "modeling_tiny.py": b"raise SystemExit",
        ".gitattributes": b"*",
    }
    return publish(root, repo, {**chat_files(), **others}, **meta)


def embedding(root: Path, repo: str = EMBEDDING, **meta: Any) -> str:
    """The built-in all-minilm, 27 MB, with its folder 1_Pooling."""
    meta = {"pipeline_tag": "feature-extraction"} | meta
    return publish(root, repo, _files(BUILTIN / "all-minilm"), **meta)


def big(root: Path, repo: str = BIG, size_bytes: int = 16 * 1024**2, **meta: Any) -> str:
    """A chat model whose weights are long enough to be interrupted; they do not run."""
    return publish(
        root, repo, chat_files() | {"openvino_model.bin": Random(size_bytes).randbytes(size_bytes)}, **meta
    )


def without_openvino(root: Path, repo: str = "tiny/pickle", **meta: Any) -> str:
    files = {"config.json": b"{}", "pytorch_model.bin": b"a pickle", "README.md": b"# nothing that runs here"}
    return publish(root, repo, files, **meta)


def with_entries(root: Path, repo: str, *names: str, kind: str = "file", size: int = 4, **meta: Any) -> str:
    """A good repository whose tree also lists these names, whatever they are."""
    entries = [{"type": kind, "path": name, "size": size, "oid": "1" * 40} for name in names]
    return chat(root, repo, entries=entries, **meta)


def move(root: Path, old: str, new: str) -> None:
    """The hub answers requests for `old` with a redirect to `new`."""
    (root / old).mkdir(parents=True)
    (root / old / "moved").write_text(new, "utf-8")


def _files(folder: Path) -> dict[str, Path | bytes]:
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    return {name: folder / name for name in names if name != "SHA256SUMS"}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copyfile(source, target)
