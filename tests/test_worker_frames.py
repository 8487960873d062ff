"""Frames between server and worker, and what the runtime's log says, as tables."""

import pytest

from inference.worker.loading import executed_device
from inference.worker.messages import (
    MAX_FRAME_BYTES,
    Cancel,
    FrameSplitter,
    Progress,
    Step,
    decode_from_worker,
    decode_to_worker,
    frame,
    pack_ids,
    unpack_ids,
)


@pytest.mark.parametrize("piece", [1, 3, 7, 1000])
def test_frames_survive_any_cut_of_the_stream(piece: int) -> None:
    steps = [Step([Progress(n, pack_ids(list(range(n))), "stop")]) for n in range(20)]
    stream = b"".join(frame(step) for step in steps)
    splitter = FrameSplitter()
    bodies = [body for at in range(0, len(stream), piece) for body in splitter.feed(stream[at : at + piece])]
    assert [decode_from_worker(body) for body in bodies] == steps


def test_a_frame_over_the_bound_breaks_the_stream_instead_of_filling_the_memory() -> None:
    with pytest.raises(ValueError, match="frame of"):
        FrameSplitter().feed((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))


def test_ids_and_messages_come_back_as_they_went() -> None:
    assert list(unpack_ids(pack_ids([0, 1, 151_935]))) == [0, 1, 151_935]
    assert decode_to_worker(frame(Cancel(7))[4:]) == Cancel(7)


_TOKENIZER = (
    "Model: OV Tokenizer\n  NETWORK_NAME: tokenizer\n  EXECUTION_DEVICES: CPU\nEXECUTION_DEVICES:\n CPU: x\n"
)


@pytest.mark.parametrize(
    ("log", "device"),
    [
        (
            _TOKENIZER + "Model: LLM with Paged Attention\n  EXECUTION_DEVICES: GPU.0\nEXECUTION_DEVICES:\n",
            "GPU.0",
        ),
        (_TOKENIZER + "Model: Stateful LLM model\n  EXECUTION_DEVICES: NPU\n" + _TOKENIZER, "NPU"),
        (
            "Model: a\n  EXECUTION_DEVICES: GPU.1, CPU\nModel: b\n  EXECUTION_DEVICES: GPU.1, CPU\n",
            "GPU.1, CPU",
        ),
        (_TOKENIZER, ""),
        ("", ""),
    ],
)
def test_the_executed_device_is_the_models_and_not_the_tokenizers(log: str, device: str) -> None:
    assert executed_device(log) == device
