"""Tables in the documents that are made from the code, so that they cannot lie.

A table stands between `<!-- name -->` and `<!-- /name -->`; what stands there is replaced.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from inference import metrics_list
from npuproxy import env
from npuproxy.flags import FLAGS
from registry import catalog

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("npuproxy", "compat_api", "registry", "inference")
_UNLISTED = {"migrations", "training"}


class Table(NamedTuple):
    """Where a table stands and what belongs there."""

    file: str
    name: str
    render: Callable[[], str]


def variables() -> str:
    """Every environment variable, by group, as settings.py reads them."""
    parts = []
    for title, group in groupby(env.TABLE, key=lambda variable: variable.group):
        rows = [(f"`{row.name}`", _code(row.default), row.meaning) for row in group]
        parts.append(f"## {title}\n\n" + _table(("variable", "default", "meaning"), rows))
    return "\n\n".join(parts)


def flags() -> str:
    return _table(
        ("flag", "stands for"), ((f"`{flag}`", f"`{variable}`") for flag, (variable, _) in FLAGS.items())
    )


def aliases() -> str:
    rows = [(f"`{alias}`", f"`{row.name}`") for row in env.TABLE for alias in row.aliases]
    return _table(("also read", "as"), rows)


def modules() -> str:
    """Every module with the first paragraph of its docstring."""
    parts = []
    for package in PACKAGES:
        files = sorted(path for path in (ROOT / package).rglob("*.py") if not _UNLISTED & set(path.parts))
        rows = ((f"`{path.relative_to(ROOT / package)}`", _first_paragraph(path)) for path in files)
        parts.append(f"### {package}\n\n" + _table(("file", "what it is"), (row for row in rows if row[1])))
    return "\n\n".join(parts)


def metrics() -> str:
    """Every metric of ours, as a query names it."""
    rows = (
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels) or "–", one.words)
        for one in metrics_list.declared()
    )
    return _table(("metric", "kind", "labels", "what"), rows)


def catalogue() -> str:
    """Every short name with its repositories; what they need of a machine is for `models known` to say."""
    rows = (
        (
            ", ".join(f"`{name}`" for name in entry.names),
            entry.kind,
            entry.parameters,
            str(entry.context),
            catalog.LICENCES[entry.licence],
            "<br>".join(_build(build) for build in entry.builds) or "–",
            entry.note,
        )
        for entry in catalog.entries()
    )
    return _table(("names", "kind", "parameters", "context", "licence", "repositories", "note"), rows)


def _build(build: catalog.Build) -> str:
    gated = ", gated" if build.gated else ""
    return f"[{build.precision}](https://huggingface.co/{build.repo}) {build.gb:g} GB{gated}"


def _first_paragraph(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(docstring.partition("\n\n")[0].split()).replace("<", "&lt;")


TABLES = (
    Table("docs/configuration.md", "variables", variables),
    Table("docs/configuration.md", "flags", flags),
    Table("docs/configuration.md", "aliases", aliases),
    Table("docs/architecture.md", "modules", modules),
    Table("docs/metrics.md", "metrics", metrics),
    Table("docs/models.md", "catalogue", catalogue),
)


def changed(root: Path, *, write: bool) -> list[str]:
    """The files whose tables are not what the code says; with `write`, they are brought up to date."""
    stale = []
    for file, tables in groupby(TABLES, key=lambda table: table.file):
        path = root / file
        before = after = path.read_text("utf-8")
        for table in tables:
            after = _replace(after, table)
        if after != before:
            stale.append(file)
            if write:
                path.write_text(after, "utf-8")
    return stale


def _replace(text: str, table: Table) -> str:
    pattern = re.compile(rf"(<!-- {table.name} -->\n).*?(<!-- /{table.name} -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{table.file} has no place for the table '{table.name}'")
    return pattern.sub(lambda match: match[1] + table.render() + "\n" + match[2], text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = tuple(head)
    lines = [head, tuple("---" for _ in head), *(tuple(row) for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _code(default: str) -> str:
    """A value that can be typed stands as code; words stay words."""
    return f"`{default}`" if re.fullmatch(r"[\w.%-]+", default) and default not in ("none", "–") else default
