"""BERT's tokenizer (WordPiece) from tokenizer.json as IR, without transformers, which the converter alone has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openvino
from openvino_tokenizers import tokenizer_pipeline as steps
from openvino_tokenizers.utils import change_outputs_type

OUTPUTS = ("input_ids", "token_type_ids", "attention_mask")


def tokenizer_ir(file: Path) -> Any:
    """An openvino.Model with the outputs that encoders take. Raises ValueError, which names what is not known here."""
    content = json.loads(file.read_text(encoding="utf-8"))
    kind = content["model"].get("type")
    if kind != "WordPiece":
        raise ValueError(f"its tokenizer is of kind {kind}; WordPiece, BERT's, is converted here")
    model = steps.WordPieceTokenizationStep.from_hf_json(content)
    line = steps.TokenizerPipeline(vocab=model.vocab)
    combine, added = _combine(content)
    line.add_steps(
        [
            steps.SpecialTokensSplit(
                [
                    steps.SpecialToken(token["content"], token["lstrip"], token["rstrip"])
                    for token in content["added_tokens"]
                ]
            ),
            *_normalization(content.get("normalizer")),
            *_splits(content.get("pre_tokenizer")),
            model,
            steps.TruncationStep(max_length=512 - added, truncation=False),
            combine,
            steps.PaddingStep(token="[PAD]", _token_id=_pad(content), pad_right=True),
        ]
    )
    made = line.get_tokenizer_ov_subgraph()
    for port, name in zip(made.outputs, OUTPUTS, strict=True):
        port.set_names({name})
    return change_outputs_type(made, openvino.Type.i64)


def _normalization(value: Any) -> list[Any]:
    if value is None:
        return []
    if value["type"] == "Sequence":
        return [step for entry in value["normalizers"] for step in _normalization(entry)]
    plain = {
        "NFC": lambda: [steps.NormalizeUnicode("NFC")],
        "NFD": lambda: [steps.NormalizeUnicode("NFD")],
        "NFKC": lambda: [steps.NormalizeUnicode("NFKC")],
        "Lowercase": lambda: [steps.CaseFoldStep()],
        "StripAccents": lambda: [steps.RegexNormalizationStep.strip_accents_regex()],
        "BertNormalizer": lambda: _bert(value),
    }
    if value["type"] not in plain:
        raise ValueError(f"its tokenizer normalizes in a way that is not converted here: {value['type']}")
    return plain[value["type"]]()


def _bert(value: Any) -> list[Any]:
    found: list[Any] = []
    if value.get("clean_text"):
        found += [
            steps.RegexNormalizationStep.del_control_chars_regex(),
            steps.RegexNormalizationStep.replace_whitespace_regex(),
        ]
    if value.get("handle_chinese_chars"):
        found.append(steps.RegexNormalizationStep.handle_chinese_chars_regex())
    accents = value.get("strip_accents")
    if accents or (accents is None and value.get("lowercase")):
        found += [steps.NormalizeUnicode("NFD"), steps.RegexNormalizationStep.strip_accents_regex()]
    if value.get("lowercase"):
        found.append(steps.CaseFoldStep())
    return found


def _splits(value: Any) -> list[Any]:
    if value is None:
        return []
    if value["type"] == "Sequence":
        return [step for entry in value["pretokenizers"] for step in _splits(entry)]
    known = {
        "BertPreTokenizer": steps.RegexSplitStep.bert_splitter,
        "Whitespace": steps.RegexSplitStep.whitespace_splitter,
        "WhitespaceSplit": steps.WhitespaceSplitStep,
    }
    if value["type"] not in known:
        raise ValueError(f"its tokenizer splits text in a way that is not converted here: {value['type']}")
    found = known[value["type"]]()
    return found if isinstance(found, list) else [found]


def _combine(content: Any) -> tuple[Any, int]:
    """[CLS] text [SEP], and how many tokens that adds."""
    value = content.get("post_processor")
    kind = value["type"] if value else ""
    if kind == "TemplateProcessing":
        step = steps.CombineSegmentsStep.from_hf_json_template_postprocessor(value, 1, True)
    elif kind == "BertProcessing":
        step = steps.CombineSegmentsStep.from_hf_json_bert_postprocessor(value, 1, True)
    else:
        raise ValueError(f"its tokenizer ends in a step that is not converted here: {kind or 'none'}")
    return step, step.number_of_added_tokens


def _pad(content: Any) -> int:
    return int(content["model"]["vocab"].get("[PAD]", 0))
