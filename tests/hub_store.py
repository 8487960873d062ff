"""What the tests' hub holds: repositories on disk, and what its API says of them. No code of the product's."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

IN_LARGE_STORAGE = (".bin", ".safetensors", ".gguf")


class Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code


class Store:
    """The repositories on disk, read anew for each request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._digests: dict[tuple[str, int, int], tuple[str, str]] = {}

    def meta(self, repo: str) -> dict[str, Any]:
        path = self.folder / repo / "repository.json"
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo) or not path.is_file():
            raise Refusal(404, "RepoNotFound", "Repository not found")
        return {"id": repo, **json.loads(path.read_text("utf-8"))}

    def commit(self, meta: dict[str, Any], revision: str) -> str:
        commits = meta["revisions"]
        found = str(commits.get(revision) or (revision if revision in commits.values() else ""))
        if not found:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return found

    def check(self, meta: dict[str, Any], token: str) -> None:
        """As the real one: who has no token may not know what exists."""
        if token and token not in meta.get("tokens", ()) and not token.startswith("hf_"):
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        if meta.get("private") and token not in meta.get("tokens", ()):
            raise Refusal(404 if token else 401, "RepoNotFound", "Repository not found")

    def check_gate(self, meta: dict[str, Any], token: str) -> None:
        if meta.get("gated") and token not in meta.get("tokens", ()):
            raise Refusal(403 if token else 401, "GatedRepo", f"Access to model {meta['id']} is restricted")

    def info(self, meta: dict[str, Any], commit: str) -> dict[str, Any]:
        licence = meta.get("licence", "")
        return {
            "id": meta["id"], "modelId": meta["id"], "sha": commit, "private": meta.get("private", False),
            "gated": meta.get("gated", False), "downloads": meta.get("downloads", 0), "likes": meta.get("likes", 0),
            "tags": [*meta.get("tags", ["openvino"]), *([f"license:{licence}"] if licence else [])],
            "pipeline_tag": meta.get("pipeline_tag", "text-generation"), "library_name": "transformers",
            "lastModified": "2026-11-01T10:00:00.000Z", "createdAt": "2026-10-01T10:00:00.000Z",
            "cardData": {"license": licence} if licence else {},
            "siblings": [
                {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"],
                 **({"lfs": {"sha256": entry["lfs"]["oid"], "size": entry["size"], "pointerSize": 134}}
                    if "lfs" in entry else {})}
                for entry in self.tree(meta, commit) if entry["type"] == "file"
            ],
        }  # fmt: skip

    def tree(self, meta: dict[str, Any], commit: str) -> list[dict[str, Any]]:
        root = self.folder / meta["id"] / commit
        found: list[dict[str, Any]] = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_dir():
                found.append({"type": "directory", "path": name, "size": 0, "oid": "0" * 40})
                continue
            sha256, oid = self.digests(path)
            entry = {"type": "file", "path": name, "size": path.stat().st_size, "oid": oid}
            if name.endswith(IN_LARGE_STORAGE):
                sha256 = meta.get("announced", {}).get(name, sha256)
                entry["lfs"] = {"oid": sha256, "size": entry["size"], "pointerSize": 134}
            if meta.get("bare"):  # as simple mirrors do: no digest of anything
                entry.pop("lfs", None)
                entry["oid"] = ""
            found.append(entry)
        return [*found, *meta.get("entries", ())]

    def digests(self, path: Path) -> tuple[str, str]:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            data = path.read_bytes()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self._digests[key] = hashlib.sha256(data).hexdigest(), blob
        return self._digests[key]

    def search(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        words = " ".join(query.get("search", [])).lower().split()
        tags, task = query.get("filter", []), query.get("pipeline_tag", [""])[0]
        found = []
        for path in sorted(self.folder.glob("*/*/repository.json")):
            meta = self.meta(path.parent.relative_to(self.folder).as_posix())
            info = self.info(meta, meta["revisions"]["main"])
            fits = all(word in meta["id"].lower() for word in words) and set(tags) <= set(info["tags"])
            if fits and task in ("", info["pipeline_tag"]) and not meta.get("private"):
                found.append(info)
        key = query.get("sort", ["downloads"])[0]
        found.sort(key=lambda info: info.get(key, 0), reverse=True)
        return found[: int(query.get("limit", ["1000"])[0])]
