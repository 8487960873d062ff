"""Every environment variable: what it takes, what it refuses, and where its value arrives."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, environment

from npuproxy import env, flags
from npuproxy.env import ConfigurationError

NAME = "NPU_PROXY_TRIED"


@pytest.fixture(autouse=True)
def unchanged_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test reads is not entered into the documents' table."""
    monkeypatch.setattr(env, "TABLE", [])
    monkeypatch.setattr(env, "OVERRIDES", {})


Read = Callable[[], object]
READERS: dict[str, Read] = {
    "bool": lambda: env.env_bool(NAME, False, ""),
    "switch": lambda: env.env_switch(NAME, ""),
    "int": lambda: env.env_int(NAME, 7, "", least=1, most=99),
    "seconds": lambda: env.env_seconds(NAME, 7, ""),
    "keep": lambda: env.env_seconds(NAME, 7, "", forever=True),
    "bytes": lambda: env.env_bytes(NAME, 7, "", shown="7"),
    "share": lambda: env.env_bytes(NAME, 7, "", shown="7", total=lambda: 1000),
    "choice": lambda: env.env_choice(NAME, ("error", "Cut"), "error", ""),
    "device": lambda: env.env_device(NAME, "NPU", "", also="auto"),
    "list": lambda: env.env_list(NAME, "", each=str.upper),
    "networks": lambda: [str(found) for found in env.env_list(NAME, "", each=env.network)],
    "devices": lambda: env.env_list(NAME, "", each=env.device),
}


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("bool", "", False),
        ("bool", "  ", False),
        ("bool", "true", True),
        ("bool", '"Yes"', True),
        ("bool", "0", False),
        ("switch", "", None),
        ("switch", "off", False),
        ("int", "", 7),
        ("int", " 42 ", 42),
        ("seconds", "", 7),
        ("seconds", "90", 90),
        ("seconds", "0.5", 0.5),
        ("seconds", "1h30m", 5400),
        ("seconds", "250ms", 0.25),
        ("keep", "-1", math.inf),
        ("keep", "-5m", math.inf),
        ("keep", "5m0s", 300),
        ("bytes", "1024", 1024),
        ("bytes", "64MB", 64 * 1024**2),
        ("bytes", "1.5 GiB", 3 * 512 * 1024**2),
        ("share", "60%", 600),
        ("share", "2k", 2048),
        ("choice", "CUT", "Cut"),
        ("device", "gpu.1", "GPU.1"),
        ("device", "Auto", "auto"),
        ("list", "a, b,,c", ("A", "B", "C")),
        ("list", "", ()),
        ("networks", "172.17.0.1/16,fd00::/8", ["172.17.0.0/16", "fd00::/8"]),
        ("devices", "cpu,gpu.0", ("CPU", "GPU.0")),
    ],
)
def test_what_a_variable_takes(kind: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, text)
    assert READERS[kind]() == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("bool", "perhaps"),
        ("int", "eleven"),
        ("int", "1.5"),
        ("int", "0"),
        ("int", "100"),
        ("int", "9" * 30),
        ("seconds", "soon"),
        ("seconds", "-1"),
        ("seconds", "nan"),
        ("seconds", "inf"),
        ("seconds", "5 minutes"),
        ("keep", "for ever"),
        ("bytes", "much"),
        ("bytes", "0"),
        ("bytes", "60%"),
        ("share", "120%"),
        ("share", "0%"),
        ("choice", "other"),
        ("device", "TPU"),
        ("device", "GPU.x"),
        ("networks", "here"),
        ("devices", "CPU,auto"),
    ],
)
def test_nonsense_is_refused_and_named(kind: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, text)
    with pytest.raises(ConfigurationError) as refused:
        READERS[kind]()
    message = str(refused.value)
    assert NAME in message
    assert text in message
    assert "\n" not in message


def test_the_files_of_tls_arrive(tmp_path: Path) -> None:
    found = settings(
        tmp_path, "[str(s.TLS.cert), str(s.TLS.key), s.SESSION_COOKIE_SECURE]", NPU_PROXY_TLS_CERT="/c.pem"
    )
    assert found == ["/c.pem", "None", True]
    assert settings(tmp_path, "[s.TLS.cert, s.SESSION_COOKIE_SECURE]") == [None, False]


def test_an_alias_counts_when_the_name_itself_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> str:
        return env.env_device(NAME, "NPU", "", aliases=("OLD_NAME",))

    monkeypatch.setenv("OLD_NAME", "cpu")
    assert read() == "CPU"
    monkeypatch.setenv(NAME, "gpu")
    assert read() == "GPU"
    monkeypatch.delenv(NAME)
    monkeypatch.setenv("OLD_NAME", "nothing")
    with pytest.raises(ConfigurationError, match="OLD_NAME"):
        read()


def test_a_flag_goes_before_the_variable_and_is_the_one_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "5")
    monkeypatch.setattr(env, "OVERRIDES", {NAME: ("--tried", "6")})
    assert READERS["int"]() == 6
    monkeypatch.setattr(env, "OVERRIDES", {NAME: ("--tried", "six")})
    with pytest.raises(ConfigurationError, match=r"^--tried: 'six' is not a whole number$"):
        READERS["int"]()


def test_flags_in_both_spellings() -> None:
    assert flags.overrides(["--port", "1", "--log-level=debug", "--unknown"]) == {
        "NPU_PROXY_PORT": ("--port", "1"),
        "NPU_PROXY_LOG_LEVEL": ("--log-level", "debug"),
    }


def test_a_flag_without_its_value_ends_as_every_command_line_does() -> None:
    with pytest.raises(SystemExit) as ended:
        flags.overrides(["--port"])
    assert ended.value.code == 2


# --- The settings as a start sees them


def settings(tmp_path: Path, expression: str, **variables: str) -> object:
    """An expression of npuproxy.settings (as `s`) in a process with these variables."""
    code = f"import json; from npuproxy import settings as s; print(json.dumps({expression}, default=str))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_engine_variable_arrives_in_the_engine(tmp_path: Path) -> None:
    expression = "__import__('msgspec').structs.asdict(s.ENGINE)"
    default = settings(tmp_path, expression)
    changed = settings(
        tmp_path,
        expression,
        NPU_PROXY_PREFERRED_DEVICE="gpu.1",
        NPU_PROXY_FALLBACK_DEVICE="cpu",
        NPU_PROXY_NPU_EMULATION="1",
        NPU_PROXY_MAX_PROMPT_LEN="2048",
        NPU_PROXY_TOKEN_LIMIT="100",
        NPU_PROXY_INFERENCE_TIMEOUT="9",
        NPU_PROXY_DEVICE_QUEUE_TIMEOUT="8",
        OLLAMA_MAX_QUEUE="7",
        OLLAMA_KEEP_ALIVE="6m",
        OLLAMA_CONTEXT_LENGTH="512",
        NPU_PROXY_OVERFLOW="truncate",
        NPU_PROXY_MEMORY_BUDGET="50%",
        NPU_PROXY_EMBEDDING_DEVICE="npu",
        NPU_PROXY_EMBEDDING_CACHE_SIZE="5",
        NPU_PROXY_DATA_DIR=str(tmp_path / "here"),
        NPU_PROXY_EVENT_LOOP="selector",
        NPU_PROXY_NPU_MODELS="2",
        NPU_PROXY_BUSY_WAIT_MS="500",
        NPU_PROXY_ROUTING="measured",
        NPU_PROXY_QUIET_HOURS="21-6",
        NPU_PROXY_AUTO_MODE_AFTER="5",
        NPU_PROXY_SYSFS_ROOT=str(tmp_path / "host"),
    )
    assert isinstance(default, dict)
    assert isinstance(changed, dict)
    half = psutil.virtual_memory().total // 2
    assert changed == default | {
        "device": "GPU.1",
        "fallback_device": "CPU",
        "npu_emulation": True,
        "max_prompt_len": 2048,
        "token_limit": 100,
        "inference_timeout_s": 9,
        "queue_timeout_s": 8,
        "max_queue": 7,
        "keep_alive_s": 360,
        "context_length": 512,
        "overflow": "truncate",
        "memory_budget_bytes": half,
        "embedding_device": "NPU",
        "embedding_cache_size": 5,
        "cache_dir": str(tmp_path / "here" / "cache"),
        "log_dir": str(tmp_path / "here" / "logs"),
        "loopback_channel": True,
        "npu_models": 2,
        "busy_wait_s": 0.5,
        "measured_routing": True,
        "quiet_hours": "21-6",
        "auto_mode_s": 5,
        "sysfs_root": str(tmp_path / "host"),
    }
    assert not [name for name in default if default[name] == changed[name]], "a field that no variable sets"


def test_the_folders(tmp_path: Path) -> None:
    data = tmp_path / "data"
    folders = "[s.DATA_DIR, s.DATABASES['default']['NAME']]"
    assert settings(tmp_path, folders, NPU_PROXY_DATA_DIR=str(data)) == [
        str(data),
        str(data / "npuproxy.sqlite3"),
    ]
    here = settings(tmp_path, folders, NPU_PROXY_DATA_DIR="~/d", DATABASE_URL=f"sqlite:///{tmp_path}/x.db")
    assert here == [str(tmp_path / "d"), str(tmp_path / "x.db")]
    default = settings(tmp_path, folders)
    assert isinstance(default, list)
    assert default[0].startswith(str(tmp_path))


def test_reading_the_settings_writes_nothing(tmp_path: Path) -> None:
    settings(tmp_path, "len(s.SECRET_KEY)", NPU_PROXY_DATA_DIR=str(tmp_path / "data"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", "mysql://x/y"),
        ("OLLAMA_ORIGINS", "evil.test"),
        ("NPU_PROXY_PORT", "-1"),
        ("NPU_PROXY_MODE", "turbo"),
        ("NPU_PROXY_QUIET_HOURS", "night"),
    ],
)
def test_the_command_line_gives_one_line_and_a_code(tmp_path: Path, variable: str, value: str) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env=environment(tmp_path, **{variable: value}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"npuproxy: {variable}: '{value}' is not ")
    assert result.stderr.count("\n") == 1


def bare_python(folder: Path) -> list[str]:
    """A Python without any package, and a `manage.py` of its own beside which nothing is installed."""
    (folder / "manage.py").write_bytes((ROOT / "manage.py").read_bytes())
    return [sys.executable, "-S", str(folder / "manage.py"), "check"]


def test_a_python_without_packages_says_what_installs_them(tmp_path: Path) -> None:
    result = subprocess.run(bare_python(tmp_path), capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert result.stderr == (
        "npuproxy: Django is not installed for this Python; `make run` installs all that is needed\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a script stands for the installed Python")
def test_a_python_without_packages_hands_the_command_to_the_one_that_was_installed(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "bin" / "python"
    installed.parent.mkdir(parents=True)
    installed.write_text('#!/bin/sh\necho "$@"; exit 7\n')
    installed.chmod(0o755)
    result = subprocess.run(bare_python(tmp_path), capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (7, f"{tmp_path / 'manage.py'} check\n")
