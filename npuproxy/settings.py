"""Every setting, and every environment variable that the product reads: here and nowhere else.

Each `env_*` call below is one row of docs/configuration.md (`manage.py documents --write`).
"""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs
import psutil

from inference.config import EngineConfig
from npuproxy import broker, data_folder, database, device_settings, env, logs, model_settings, tls_files

BASE_DIR = Path(__file__).resolve().parent.parent
VERSION = re.findall(r"^## (\S+)", (BASE_DIR / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)[0]

# --- Address and access -------------------------------------------------------------------------------------

env.group("Address and access")
HOST = env.env_text(
    "NPU_PROXY_HOST",
    "auto",
    "`auto`: 127.0.0.1, ::1 and, on Windows, the address of the WSL switch. An address, `0.0.0.0` or `::` "
    "binds there; peers that are neither loopback nor trusted then need a key",
)
PORT = env.env_int("NPU_PROXY_PORT", 11435, "0 takes any free port", most=65535)
_GRPC_PORT = env.env_int(
    "NPU_PROXY_GRPC_PORT",
    -1,
    "the gRPC door, at the same addresses; 0 is none. The default one is left alone where another program has it",
    shown="50051",
    most=65535,
)
GRPC_PORT = 50051 if _GRPC_PORT < 0 else _GRPC_PORT
GRPC_PORT_CHOSEN = _GRPC_PORT >= 0
HOST_NAMES: tuple[str, ...] = env.env_list(
    "NPU_PROXY_ALLOWED_HOSTS",
    "further names that a Host header may carry; `*` accepts every name",
    shown="localhost, private and own addresses, own name, *.localhost, *.local, *.internal",
    each=str.lower,
)


def _origin(entry: str) -> str:
    if entry != "*" and "://" not in entry:
        raise ValueError("a list of origins such as https://chat.example.com or http://192.168.*")
    return entry.lower().rstrip("/")


ORIGINS: tuple[str, ...] = env.env_list(
    "OLLAMA_ORIGINS",
    "further origins of browser pages that may ask; `*` inside an entry stands for anything, alone for all",
    shown="this machine's pages, browser extensions, app://, file://, tauri://, vscode-webview://, "
    "vscode-file://",
    each=_origin,
)
TRUSTED_NETWORKS: tuple[env.Network, ...] = env.env_list(
    "NPU_PROXY_TRUSTED_NETWORKS",
    "networks whose peers need no key, a Docker bridge say",
    shown="the WSL switch on Windows, else none",
    each=env.network,
)
TRUSTED_PROXIES: tuple[env.Network, ...] = env.env_list(
    "NPU_PROXY_TRUSTED_PROXIES",
    "peers whose Forwarded and X-Forwarded-For are believed; from any other loopback peer such a header "
    "makes the request a remote one, which needs a key",
    shown="none",
    each=env.network,
)
TLS = tls_files.read_settings()
MAX_BODY_BYTES = env.env_bytes(
    "NPU_PROXY_MAX_BODY",
    64 * 1024**2,
    "largest request body; more is answered 413 as it arrives",
    shown="64MB",
)
MAX_UPLOAD_BYTES = env.env_bytes(
    "NPU_PROXY_MAX_UPLOAD",
    256 * 1024**3,
    "largest file that `POST /api/blobs` takes; it goes to disk as it arrives",
    shown="256GB",
)
READ_TIMEOUT_S = env.env_seconds(
    "NPU_PROXY_READ_TIMEOUT",
    60,
    "seconds a client may leave its answer unread before it is cut off; 0: for ever",
)

# --- Folders ------------------------------------------------------------------------------------------------

env.group("Folders")
DATA_DIR = env.env_path(
    "NPU_PROXY_DATA_DIR",
    None,
    "database, secret, logs, models, caches",
    shown="the user's data folder for npuproxy",
) or platformdirs.user_data_path("npuproxy", appauthor=False)


MODEL_PATH = env.env_path(
    "NPU_PROXY_MODEL_PATH",
    None,
    "models that were pulled or made here; Ollama's own folder has another format and is not read",
    shown="`<data>/models`; an existing `~/.cache/npu-proxy/models` is used in place",
    aliases=("NPU_PROXY_MODEL_DIR",),
) or data_folder.default_models(DATA_DIR)

_DATABASE = env.env_value(
    "DATABASE_URL",
    database.check,
    f"sqlite:///{DATA_DIR / 'npuproxy.sqlite3'}",
    "SQLite in the data folder",
    "`sqlite:///<absolute path>` or `postgres://user:password@host/name` (install the extra `postgres`)",
)

# --- Jobs ---------------------------------------------------------------------------------------------------

env.group("Jobs")
CELERY_BROKER_URL = env.env_value(
    "CELERY_BROKER_URL",
    broker.check,
    broker.EMBEDDED,
    "files in the data folder",
    "where messages about jobs wait: `redis://host/0` (install the extra `redis`) or `amqp://host`",
)
JOBS_IDLE_S = env.env_seconds(
    "NPU_PROXY_JOBS_IDLE",
    600,
    "seconds without a job after which the process that runs them ends",
    shown="10m",
)

# --- Pulls --------------------------------------------------------------------------------------------------

_MODELS = model_settings.read()
HF_ENDPOINT, HF_TOKEN = _MODELS.hf_endpoint, _MODELS.hf_token
PULL_TIMEOUT_S, PULL_LIMIT_BYTES = _MODELS.pull_timeout_s, _MODELS.pull_limit_bytes
PULL_LEASE_S = _MODELS.pull_lease_s
CONVERT = _MODELS.convert
CHAT_MODEL_PATH, EMBEDDING_MODEL_PATH = _MODELS.chat_model_path, _MODELS.embedding_model_path

# --- Devices ------------------------------------------------------------------------------------------------

_DEVICES = device_settings.read()
MODE = _DEVICES.mode

# --- Requests -----------------------------------------------------------------------------------------------

env.group("Requests")
_INFERENCE_TIMEOUT_S = env.env_seconds(
    "NPU_PROXY_INFERENCE_TIMEOUT",
    180,
    "seconds without progress (a prefill step or a token; loading excluded) before a request is given up; "
    "0: never. A long answer is no fault",
)
_QUEUE_TIMEOUT_S = env.env_seconds(
    "NPU_PROXY_QUEUE_TIMEOUT",
    0,
    "longest wait for a slot in seconds, then 503 with Retry-After; 0: bounded by the queue's length alone",
    aliases=("NPU_PROXY_DEVICE_QUEUE_TIMEOUT",),
)
_MAX_QUEUE = env.env_int("OLLAMA_MAX_QUEUE", 512, "requests that may wait for a device", most=100_000)
_CONTEXT_LENGTH = env.env_int(
    "OLLAMA_CONTEXT_LENGTH",
    0,
    "context where a request names none; `num_ctx` lowers it for one request and never reloads a model",
    shown="the model's, bounded by memory",
)
_OVERFLOW = env.env_choice(
    "NPU_PROXY_OVERFLOW",
    ("error", "truncate"),
    "error",
    "what happens to a chat that fits on no device. `truncate`: it loses its oldest messages, and header "
    "and log say so",
)

# --- Models in memory ---------------------------------------------------------------------------------------

env.group("Models in memory")
_KEEP_ALIVE_S = env.env_seconds(
    "OLLAMA_KEEP_ALIVE",
    300,
    "how long a model stays loaded after use; negative: for ever",
    shown="5m",
    forever=True,
)
_MEMORY_BUDGET = env.env_bytes(
    "NPU_PROXY_MEMORY_BUDGET",
    0,
    "what all workers may take together, KV caches included: a size or a share of RAM",
    shown="60%",
    total=lambda: int(psutil.virtual_memory().total),
)
WARMUP: tuple[str, ...] = env.env_list("NPU_PROXY_WARMUP", "models to load at the start", shown="none")
WARMUP_DEVICES: tuple[str, ...] = env.env_list(
    "NPU_PROXY_WARMUP_DEVICES", "devices to load them on", shown="as routed", each=env.device
)
EMBEDDING_MODEL = env.env_text(
    "NPU_PROXY_EMBEDDING_MODEL",
    "all-minilm",
    "the model that the word `embedding` in `NPU_PROXY_WARMUP` stands for",
)

# --- Process and log ----------------------------------------------------------------------------------------

env.group("Process and log")
LOG_LEVEL = env.env_choice(
    "NPU_PROXY_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "what is logged"
)
LOG_FILE = env.env_path("NPU_PROXY_LOG_FILE", None, "log to this file as well", shown="–")
LOG_DAYS = env.env_int(
    "NPU_PROXY_LOG_DAYS",
    30,
    "days for which rows of requests are kept, without texts (`manage.py requests export`, admin); 0: none are",
    most=36_500,
)
EVENT_LOOP = env.env_choice(
    "NPU_PROXY_EVENT_LOOP",
    ("auto", "selector"),
    "auto",
    "`auto`: uvloop where there is one; `selector`: the plain loop, and workers on loopback ports, as on "
    "Windows",
)
REAL_INFERENCE = env.env_switch(
    "NPU_PROXY_REAL_INFERENCE", "1 is accepted in silence, 0 gives a warning: nothing here is ever invented"
)

ENGINE = EngineConfig(
    device=_DEVICES.device,
    fallback_device=_DEVICES.fallback_device,
    npu_emulation=_DEVICES.npu_emulation,
    max_prompt_len=_DEVICES.max_prompt_len,
    token_limit=_DEVICES.token_limit,
    inference_timeout_s=_INFERENCE_TIMEOUT_S,
    queue_timeout_s=_QUEUE_TIMEOUT_S,
    max_queue=_MAX_QUEUE,
    keep_alive_s=_KEEP_ALIVE_S,
    context_length=_CONTEXT_LENGTH,
    overflow="truncate" if _OVERFLOW == "truncate" else "error",
    memory_budget_bytes=_MEMORY_BUDGET,
    embedding_device=_DEVICES.embedding_device,
    embedding_cache_size=_DEVICES.embedding_cache_size,
    cache_dir=DATA_DIR / data_folder.CACHE,
    log_dir=DATA_DIR / data_folder.LOGS,
    npu_models=_DEVICES.npu_models,
    busy_wait_s=_DEVICES.busy_wait_s,
    measured_routing=_DEVICES.measured_routing,
    quiet_hours=_DEVICES.quiet_hours,
    auto_mode_s=_DEVICES.auto_mode_s,
    loopback_channel=EVENT_LOOP == "selector",
    sysfs_root=_DEVICES.sysfs_root,
)

# --- Django -------------------------------------------------------------------------------------------------

SECRET_KEY = data_folder.secret_key(DATA_DIR)
NAMED_SECRET = env.secret  # keys of other servers may lie in variables that the operator names
DEBUG = False
ALLOWED_HOSTS = ["*"]  # the gate checks Host before Django sees a request
INSTALLED_APPS = [
    # No "daphne" here: it would install Twisted's reactor at import, before server.py has made its loop.
    "npuproxy.apps.NpuproxyAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "rest_framework",
    "inference",
    "registry",
    "compat_api",
    "npuproxy",
]
MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "npuproxy.django_metrics.After",
]
ROOT_URLCONF = "npuproxy.urls"
ASGI_APPLICATION = "npuproxy.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {"default": database.of(_DATABASE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
SESSION_COOKIE_NAME = "npuproxy_session"  # cookies are shared by all ports of a host
CSRF_COOKIE_NAME = "npuproxy_csrf"
SESSION_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TLS.cert is not None
SILENCED_SYSTEM_CHECKS = [
    # HTTPS only, of cookies and of everything: it is for the operator to say (NPU_PROXY_TLS_CERT).
    "security.W004",
    "security.W008",
    "security.W012",
    "security.W016",
]
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
DATA_UPLOAD_MAX_MEMORY_SIZE = None  # server.py bounds bodies while they arrive
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
REST_FRAMEWORK: dict[str, object] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],  # the gate has decided
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
LOGGING = logs.configuration(LOG_LEVEL, LOG_FILE)
