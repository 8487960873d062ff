"""A model is replaced while it is asked: every request is answered, by the old one or by the new."""

from __future__ import annotations

import threading

import httpx
import hub_repositories as repositories
from conftest import RunningServer
from hub_process import Hub
from pull_streams import pull


def test_no_request_fails_while_a_newer_commit_takes_the_place(hub_server: RunningServer, hub: Hub) -> None:
    repositories.chat(hub.root, "replaced/chat")
    assert pull(hub_server, "replaced/chat")[-1] == {"status": "success"}
    before = folders(hub_server)
    answers: list[tuple[int, str]] = []
    ended = threading.Event()

    def ask() -> None:
        turn = {"role": "user", "content": "hi"}
        body = {
            "model": "replaced/chat",
            "messages": [turn],
            "stream": False,
            "keep_alive": 0,
            "options": {"num_predict": 2},
        }
        while not ended.is_set():
            answer = httpx.post(f"{hub_server.url}/api/chat", json=body, timeout=60)
            answers.append((answer.status_code, answer.text))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for commit in range(3):
            changed = {"README.md": f"# Commit {commit}\n".encode()}
            repositories.publish(hub.root, "replaced/chat", repositories.chat_files() | changed)
            assert pull(hub_server, "replaced/chat")[-1] == {"status": "success"}
    finally:
        ended.set()
        for thread in asking:
            thread.join(60)
    assert len(answers) > 2
    assert {status for status, _ in answers} == {200}, answers
    left = folders(hub_server) & before
    assert left, "who has the old row in memory may still be loading from it"


def folders(server: RunningServer) -> set[str]:
    return {path.name for path in (server.data_dir / "models").glob("replaced*")}
