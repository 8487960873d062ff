"""Which way imports go, and how large things may grow: what keeps the house standing (docs/architecture.md)."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("inference", "registry", "compat_api", "npuproxy")
"""From below: a layer may import itself and what stands before it."""

MOST_LINES = 350
MOST_FUNCTION_LINES = 60
MOST_ROOT_ENTRIES = 22
RUNTIME = ("openvino", "openvino_genai", "openvino_tokenizers")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: what is tracked is unknown")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def python_files() -> list[str]:
    """All that people write."""
    return [
        name
        for name in tracked()
        if name.endswith(".py") and "/migrations/" not in name and not name.endswith("_pb2.py")
    ]


def imports(name: str) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, wherever it stands."""
    for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute here"
            yield node.lineno, node.module or ""


def test_imports_go_one_way() -> None:
    wrong = []
    for name in python_files():
        layer = name.partition("/")[0]
        if layer not in LAYERS:
            continue
        above = LAYERS[LAYERS.index(layer) + 1 :]
        wrong += [
            f"{name}:{line}: {layer} imports {module}"
            for line, module in imports(name)
            if module.partition(".")[0] in (*above, "tests")
        ]
    assert not wrong, "\n".join(wrong)


def test_inference_knows_no_django() -> None:
    wrong = [
        f"{name}:{line}: imports {module}"
        for name in python_files()
        if name.startswith("inference/") and name != "inference/apps.py"
        for line, module in imports(name)
        if module.partition(".")[0] in ("django", "rest_framework", "channels", "daphne", "twisted")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_runtime_is_imported_by_workers_scripts_and_the_bench_alone() -> None:
    allowed = ("inference/worker/", "inference/builtin/", "inference/bench", "tests/")
    wrong = [
        f"{name}:{line}: imports {module}"
        for name in python_files()
        if not name.startswith(allowed)
        for line, module in imports(name)
        if module.partition(".")[0] in RUNTIME
    ]
    assert not wrong, "\n".join(wrong)


def reads_environment(node: ast.AST) -> bool:
    """os.getenv(…), os.environ.get(…), os.environ[…]; to hand the whole environment to a child is no reading."""
    if isinstance(node, ast.Attribute) and node.attr in ("getenv", "get"):
        return node.attr == "getenv" or (
            isinstance(node.value, ast.Attribute) and node.value.attr == "environ"
        )
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return isinstance(node.value, ast.Attribute) and node.value.attr == "environ"
    return False


def test_only_the_settings_read_the_environment() -> None:
    wrong = [
        f"{name}:{node.lineno}: reads the environment"
        for name in python_files()
        if not name.startswith(("npuproxy/env.py", "tests/", ".ci/", "inference/builtin/"))
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
        if isinstance(node, ast.expr) and reads_environment(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_and_no_function_is_too_long() -> None:
    wrong = []
    for name in python_files():
        text = (ROOT / name).read_text("utf-8")
        if text.count("\n") > MOST_LINES:
            wrong.append(f"{name}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    wrong.append(f"{name}:{node.lineno}: {node.name} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_nine_functions_of_ten_are_short() -> None:
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for name in python_files()
        if not name.startswith("tests/")
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[int(len(lengths) * 0.9)] <= 30


def test_the_root_stays_readable() -> None:
    entries = sorted({name.partition("/")[0] for name in tracked()})
    assert len(entries) <= MOST_ROOT_ENTRIES, entries


def test_the_requirements_name_no_place_to_load_from() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text("utf-8").splitlines()
        assert not [
            line for line in lines if "://" in line or line.startswith(("-i", "--index", "--extra", "--find"))
        ]
        pins = [line for line in lines if line and not line.startswith((" ", "#"))]
        assert all("==" in pin and pin.endswith("\\") for pin in pins)
        assert sum("--hash=sha256:" in line for line in lines) >= len(pins)


def test_the_tests_run_on_what_is_served() -> None:
    """`make test` installs one file; it must hold the other whole."""

    def pins(name: str) -> set[str]:
        return {line.rstrip(" \\") for line in (ROOT / name).read_text("utf-8").splitlines() if "==" in line}

    assert pins("requirements.txt") <= pins("requirements-dev.txt")
