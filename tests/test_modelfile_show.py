"""/api/show and Modelfiles: what is shown makes the same model again; aliases answer for their model."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
from conftest import RunningServer
from modelfiles import MINILM, QUESTION, chat, create, delete, digests, lora, manage, said_by, send, show
from wire_clients import native, v1

from registry import modelfile

SYSTEM = 'You are "Ahab".\nSpeak briefly.'
TURNS = [{"role": "user", "content": "Hello\nthere"}, {"role": "assistant", "content": 'He said "no".'}]


def test_everything_that_a_recipe_says_is_shown_and_the_modelfile_reads_back_as_it(
    server: RunningServer,
) -> None:
    parameters = {"temperature": 0.5, "stop": ["<a>", 'say "b"'], "num_ctx": 1024, "use_mmap": True}
    create(
        server,
        model="shown-all",
        **{"from": "demo"},
        system=SYSTEM,
        messages=TURNS,
        license="Some licence\nof two lines",
        parameters=parameters,
    )
    shown, demo = show(server, "shown-all"), show(server, "demo")
    assert (shown["system"], shown["messages"]) == (SYSTEM, TURNS)
    assert shown["license"] == "Some licence\nof two lines"
    assert shown["template"] == demo["template"]
    assert shown["details"] == {**demo["details"], "parent_model": "demo:latest"}
    assert shown["capabilities"] == demo["capabilities"]
    assert shown["modified_at"].endswith("Z")
    assert shown["model_info"] == {**demo["model_info"], "general.basename": "shown-all"}
    lines = shown["parameters"].splitlines()
    assert lines == [
        f"{'num_ctx':<30} 1024",
        f'{"stop":<30} "<a>"',
        f'{"stop":<30} "say \\"b\\""',
        f"{'temperature':<30} 0.5",
        f"{'use_mmap':<30} true",
    ]
    read = modelfile.parse(shown["modelfile"])
    assert (read.source, read.system, read.template) == ("shown-all:latest", SYSTEM, demo["template"])
    assert dict(read.parameters) == parameters
    assert [said._asdict() for said in read.messages] == TURNS
    assert read.licences == ("Some licence\nof two lines",)
    assert str(server.data_dir) not in json.dumps(shown)
    assert "/inference/builtin" not in json.dumps(shown)
    delete(server, "shown-all")


def test_the_command_makes_the_same_model_of_the_modelfile_that_is_shown(
    server: RunningServer, tmp_path: Path
) -> None:
    weights = send(server, lora())
    create(
        server,
        model="shown-one",
        **{"from": "demo"},
        system=SYSTEM,
        messages=TURNS,
        parameters={"stop": ["x"]},
        adapters={"a.safetensors": weights},
    )
    text = show(server, "shown-one")["modelfile"].replace("FROM shown-one:latest", "FROM demo")
    (tmp_path / "Modelfile").write_text(text, "utf-16")  # as PowerShell's > does
    made = manage(server, "models", "create", "shown-two", "-f", str(tmp_path / "Modelfile"), "--json")
    assert made.returncode == 0, made.stderr
    assert show(server, "shown-two")["system"] == SYSTEM, "a miss asks at once"
    listed = digests(server)
    assert json.loads(made.stdout)["digest"] == listed["shown-two:latest"] == listed["shown-one:latest"]
    assert said_by(server, "shown-two") == said_by(server, "shown-one")
    delete(server, "shown-one", "shown-two")


def test_the_command_makes_a_model_of_files_beside_the_modelfile(
    server: RunningServer, tmp_path: Path
) -> None:
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter.safetensors").write_bytes(lora())
    (tmp_path / "lora" / "adapter_config.json").write_text('{"r": 4, "lora_alpha": 2}')
    text = 'FROM demo\nADAPTER ./lora\nSYSTEM """Beside."""\nPARAMETER num_predict 5\n'
    (tmp_path / "Modelfile").write_text(text, "utf-8")
    made = manage(server, "models", "create", "shown-lora", "-f", str(tmp_path / "Modelfile"))
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-2:] == ["success", "shown-lora:latest"]
    assert chat(server, "shown-lora", options={})["eval_count"] == 5
    (tmp_path / "model").symlink_to(MINILM)
    (tmp_path / "Embedder").write_text("FROM ./model\n", "utf-8")
    made = manage(server, "models", "create", "shown-vec", "-f", str(tmp_path / "Embedder"))
    assert made.returncode == 0, made.stderr
    client = native(server.url)
    assert client.embed("shown-vec", "text").embeddings == client.embed("all-minilm", "text").embeddings
    (tmp_path / "Bad").write_text("FROM ./nothing-there\n", "utf-8")
    bad = manage(server, "models", "create", "shown-bad", "-f", str(tmp_path / "Bad"))
    assert (bad.returncode, "'nothing-there' is neither a file nor a folder" in bad.stderr) == (1, True)
    left = list((server.data_dir / "models" / ".blobs").glob("copy-*"))
    assert left == []
    delete(server, "shown-lora", "shown-vec")


def test_the_vocabulary_is_shown_to_who_asks_for_it(server: RunningServer) -> None:
    for name in ("demo", "all-minilm"):
        brief, whole = show(server, name)["model_info"], show(server, name, verbose=True)["model_info"]
        assert all(not isinstance(value, list) or len(value) <= 5 for value in brief.values())
        assert brief["tokenizer.ggml.tokens"] == []
        assert {key for key in brief if brief[key] != whole[key]} <= {
            "tokenizer.ggml.tokens",
            "tokenizer.ggml.merges",
        }
        assert len(whole["tokenizer.ggml.tokens"]) > 1000
    assert whole["tokenizer.ggml.tokens"][101:104] == ["[CLS]", "[SEP]", "[MASK]"], "BERT's ids"


def test_an_alias_answers_for_its_model_in_each_dialect_and_is_not_listed(server: RunningServer) -> None:
    code = "from registry.models import Alias; Alias(name='gpt-4o:latest', target='demo:latest').save()"
    done = manage(server, "shell", "-c", code)
    assert done.returncode == 0, done.stderr
    assert said_by(server, "gpt-4o") == said_by(server, "demo"), "a miss asks at once"
    assert chat(server, "GPT-4o")["model"] == "GPT-4o"
    assert show(server, "gpt-4o")["model_info"] == show(server, "demo")["model_info"]
    completion = v1(server.url).chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": QUESTION[0]["content"]}], max_tokens=5
    )
    assert completion.model == "gpt-4o"
    assert v1(server.url).models.retrieve("gpt-4o").id == "gpt-4o"
    assert "gpt-4o:latest" not in digests(server)
    create(server, model="shown-of-alias", **{"from": "gpt-4o"})
    assert show(server, "shown-of-alias")["details"]["parent_model"] == "demo:latest"
    create(server, model="gpt-4o", **{"from": "demo"}, system="The model wins.")
    assert show(server, "gpt-4o")["system"] == "The model wins."
    delete(server, "gpt-4o", "shown-of-alias")
    assert "system" not in show(server, "gpt-4o"), "the alias again"
    delete(server, "gpt-4o")
    ends = time.monotonic() + 30
    while httpx.post(f"{server.url}/api/show", json={"model": "gpt-4o"}).status_code != 404:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert show(server, "demo")
