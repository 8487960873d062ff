"""What `make` and `make.ps1` do: run, test, test-clients, check, bench, lock. Needs a Python >= 3.11 and nothing else.

usage: python .ci/tasks.py run|test|test-clients|check|bench|lock [arguments of the task]
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
INTERPRETER = "Scripts/python.exe" if os.name == "nt" else "bin/python"
PYTHON = VENV / INTERPRETER
RUNTIME = "requirements.txt"
DEV = "requirements-dev.txt"
CLIENTS = ROOT / "tests" / "clients"
CLIENT_VENVS = CLIENTS / ".venvs"
"""Libraries whose versions exclude each other's and ours: an environment for each folder with requirements."""


def main() -> int:
    if sys.version_info < (3, 11):
        print(
            "npuproxy needs Python 3.11 or newer; this is {}.{}".format(*sys.version_info[:2]),
            file=sys.stderr,
        )
        return 1
    tasks = {
        "run": run,
        "test": test,
        "test-clients": test_clients,
        "check": check,
        "bench": bench,
        "lock": lock,
    }
    if len(sys.argv) < 2 or sys.argv[1] not in tasks:
        print(__doc__, file=sys.stderr)
        return 2
    os.chdir(ROOT)
    try:
        return tasks[sys.argv[1]](sys.argv[2:])
    except subprocess.CalledProcessError as error:
        return error.returncode or 1
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str]) -> int:
    install(RUNTIME)
    command = [str(PYTHON), "manage.py", "serve", *arguments]
    if os.name != "nt":
        os.execv(PYTHON, command)  # the server itself gets Ctrl-C and SIGTERM
    process = subprocess.Popen(command)
    while True:  # the console sends Ctrl-C to both; the server ends by itself
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def check(arguments: list[str]) -> int:
    install(DEV)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NPU_PROXY_DATA_DIR": folder}
        for title, command in CHECKS.items():
            print(f"-- {title}", flush=True)
            if subprocess.run([str(PYTHON), *command], env=environment).returncode:
                print(f"-- {title}: failed", flush=True)
                return 1
    return 0


CHECKS = {
    "format": ["-m", "ruff", "format", "--check", "--quiet", "."],
    "lint": ["-m", "ruff", "check", "--quiet", "."],
    "types": ["-m", "mypy"],
    "migrations": ["manage.py", "makemigrations", "--check", "--dry-run"],
    "django": ["manage.py", "check", "--fail-level", "WARNING"],
    "documents": ["manage.py", "documents", "--check"],
    "benchmark": ["manage.py", "bench", "--check"],
    "layers": ["-m", "pytest", "-q", "tests/test_layers.py"],
}


def test(arguments: list[str]) -> int:
    install(DEV)
    if check([]):
        return 1
    subprocess.run([str(PYTHON), "tests/services.py"], check=True)  # Redis, PostgreSQL, Chromium
    if os.environ.get("CI") and not arguments:
        install_clients()  # takes minutes; elsewhere their tests run once `make test-clients` has installed them
    # A test waits for processes and clocks a third of its time: one more at a time than there are cores.
    whole = (
        []
        if arguments
        else ["-n", str(min(4, os.cpu_count() or 2) + 1), "--dist", "worksteal", "--tb", "short"]
    )
    # A thousand processes are started: without its bytecode each would compile the program anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if arguments or not os.environ.get(
        "CI"
    ):  # what is covered costs a quarter more time, and is looked at in CI
        return subprocess.run([str(PYTHON), "-m", "pytest", *whole, *arguments]).returncode
    for old in ROOT.glob(".coverage*"):
        old.unlink()
    closing, code = tee([str(PYTHON), "-m", "coverage", "run", "-m", "pytest", *whole])
    subprocess.run([str(PYTHON), "-m", "coverage", "combine", "--quiet"], check=False)
    covered = subprocess.run([str(PYTHON), "-m", "coverage", "report", "--fail-under=90"]).returncode
    print(closing)
    return code or covered


def test_clients(arguments: list[str]) -> int:
    """The tests with other people's clients alone, after installing what is missing of them."""
    install(DEV)
    install_clients()
    files = sorted(str(path) for path in ROOT.glob("tests/test_clients_*.py"))
    return subprocess.run([str(PYTHON), "-m", "pytest", *files, *arguments]).returncode


def tee(command: list[str]) -> tuple[str, int]:
    """Run it, show what it prints, and return each test that failed, by pytest's words, and the last line."""
    failed, closing = [], ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        for data in process.stdout:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            line = data.decode(errors="replace").strip()
            if line.startswith(("FAILED tests/", "ERROR tests/")):
                failed.append(line[:300])
            closing = line or closing
    return "\n".join([*failed, closing]), process.returncode


def bench(arguments: list[str]) -> int:
    install(RUNTIME)
    return subprocess.run([str(PYTHON), "manage.py", "bench", *arguments]).returncode


def lock(arguments: list[str]) -> int:
    """Write both requirements files from pyproject.toml, for every system and Python; needs `uv`."""
    common = ["uv", "pip", "compile", "pyproject.toml", "--universal", "--python-version", "3.11"]
    common += [
        "--generate-hashes",
        "--no-emit-index-url",
        "--no-header",
        "--no-annotate",
        "--quiet",
        *arguments,
    ]
    subprocess.run([*common, "--output-file", RUNTIME], check=True)
    subprocess.run([*common, "--group", "dev", "--constraint", RUNTIME, "--output-file", DEV], check=True)
    common.remove("pyproject.toml")
    for wanted in sorted(CLIENTS.glob("*/requirements.in")):
        locked = wanted.with_suffix(".txt")
        subprocess.run([*common, str(wanted), "--output-file", str(locked)], check=True)
    return 0


def install_clients() -> None:
    for locked in sorted(CLIENTS.glob("*/requirements.txt")):
        # What is imported is compiled then; to compile all of it takes three times as long as to unpack it.
        install(locked.relative_to(ROOT).as_posix(), CLIENT_VENVS / locked.parent.name, "--no-compile")


def install(requirements: str, venv: Path = VENV, *options: str) -> None:
    """The virtual environment with exactly these versions; does nothing when they are there already."""
    python = venv / INTERPRETER
    stamp = venv / f"{Path(requirements).name}.sha256"
    wanted = digest(requirements)
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if (
        not python.exists()
        or subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True).returncode
    ):
        make_venv(venv)
    print(f"installing {requirements} into {venv.relative_to(ROOT).as_posix()}", flush=True)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--require-hashes"]
    if subprocess.run([*pip, *options, "-r", requirements]).returncode:
        sys.exit(f"npuproxy: {requirements} could not be installed; the lines above say why")
    stamp.write_text(wanted)
    if requirements == DEV:  # it contains the other, at the same versions
        (VENV / f"{RUNTIME}.sha256").write_text(digest(RUNTIME))


def digest(requirements: str) -> str:
    return hashlib.sha256((ROOT / requirements).read_bytes()).hexdigest()


def make_venv(venv: Path) -> None:
    shutil.rmtree(venv, ignore_errors=True)
    python = getattr(sys, "_base_executable", sys.executable)  # never the environment that is being replaced
    made = subprocess.run([python, "-m", "venv", str(venv)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(venv, ignore_errors=True)
        package = "python{}.{}-venv".format(*sys.version_info[:2])
        sys.exit(
            "npuproxy: this Python cannot make a virtual environment; "
            f"on Debian and Ubuntu: apt install {package}"
        )


if __name__ == "__main__":
    sys.exit(main())
