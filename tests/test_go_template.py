"""Ollama's templates are told from Jinja, known by their markers, and refused where they say more than the own one."""

from __future__ import annotations

import pytest
from modelfiles import DEMO

from inference import infill
from inference.chat_template import PLAIN_TEMPLATE
from inference.errors import BadRequest
from registry import go_template

QWEN = """{{- if .Messages }}
{{- if or .System .Tools }}<|im_start|>system
{{- if .System }}
{{ .System }}
{{- end }}
{{- if .Tools }}

# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{{- range .Tools }}
{"type": "function", "function": {{ .Function }}}
{{- end }}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>
{{- end }}<|im_end|>
{{ end }}
{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ else if eq .Role "assistant" }}<|im_start|>assistant
{{ if .Content }}{{ .Content }}{{- else if .ToolCalls }}<tool_call>
{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}</tool_call>
{{- end }}{{ if not $last }}<|im_end|>
{{ end }}
{{- else if eq .Role "tool" }}<|im_start|>user
<tool_response>
{{ .Content }}
</tool_response><|im_end|>
{{ end }}
{{- if and (ne .Role "assistant") $last }}<|im_start|>assistant
{{ end }}
{{- end }}
{{- else }}
{{- if .System }}<|im_start|>system
{{ .System }}<|im_end|>
{{ end }}{{ if .Prompt }}<|im_start|>user
{{ .Prompt }}<|im_end|>
{{ end }}<|im_start|>assistant
{{ end }}{{ .Response }}{{ if .Response }}<|im_end|>{{ end }}"""
LLAMA3 = """<|start_header_id|>system<|end_header_id|>

Cutting Knowledge Date: December 2023

{{ if .System }}{{ .System }}
{{- end }}
{{- if .Tools }}When you receive a tool call response, use the output to format an answer to the orginal user question.

You are a helpful assistant with tool calling capabilities.
{{- end }}<|eot_id|>
{{- range $i, $_ := .Messages }}
{{- if eq .Role "user" }}<|start_header_id|>user<|end_header_id|>

{{ .Content }}<|eot_id|>{{ end }}{{ end }}<|start_header_id|>assistant<|end_header_id|>

"""
GEMMA = """{{- range $i, $_ := .Messages }}
{{- if eq .Role "user" }}<start_of_turn>user
{{ .Content }}<end_of_turn>
<start_of_turn>model
{{ else if eq .Role "assistant" }}{{ .Content }}<end_of_turn>
{{ end }}
{{- end }}"""
MISTRAL = "[INST] {{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} [/INST]"
PHI3 = """{{ if .System }}<|system|>
{{ .System }}<|end|>
{{ end }}{{ if .Prompt }}<|user|>
{{ .Prompt }}<|end|>
{{ end }}<|assistant|>
{{ .Response }}<|end|>"""
TINYLLAMA = "<|system|>\n{{ .System }}</s>\n<|user|>\n{{ .Prompt }}</s>\n<|assistant|>\n"
DEEPSEEK = (
    "{{ if .System }}{{ .System }}{{ end }}{{ if .Prompt }}<｜User｜>{{ .Prompt }}{{ end }}<｜Assistant｜>"
)

OWN_CHATML = (DEMO / "chat_template.jinja").read_text("utf-8")


def own(*markers: str) -> str:
    """A template in Jinja that has these markers."""
    turns = "".join(f"{{{{ '{marker}' }}}}" for marker in markers)
    return "{% for message in messages %}" + turns + "{{ message.content }}{% endfor %}"


LLAMA3_OWN = own("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


@pytest.mark.parametrize(
    ("template", "own_template", "family"),
    [
        (QWEN, OWN_CHATML, "Qwen, SmolLM and others (ChatML)"),
        (LLAMA3, LLAMA3_OWN, "Llama 3"),
        (GEMMA, own("<start_of_turn>", "<end_of_turn>"), "Gemma"),
        (MISTRAL, own("[INST]", "[/INST]"), "Mistral and Llama 2"),
        (PHI3, own("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "Phi-3 and Phi-4 mini"),
        (DEEPSEEK, own("<｜User｜>", "<｜Assistant｜>"), "DeepSeek"),
    ],
)
def test_a_template_of_the_library_stands_for_the_models_own(
    template: str, own_template: str, family: str
) -> None:
    assert go_template.is_go(template)
    assert go_template.stands_for_own(template, own_template) == family


QWEN_CODER = (
    "{{- if .Suffix }}<|fim_prefix|>{{ .Prompt }}<|fim_suffix|>{{ .Suffix }}<|fim_middle|>\n{{- else }}"
    + QWEN
)
CODELLAMA = (
    "{{- if .Suffix }}<PRE> {{ .Prompt }} <SUF>{{ .Suffix }} <MID>\n{{- else }}{{ .Prompt }}\n{{- end }}"
)
CODESTRAL = "{{- if .Suffix }}[SUFFIX]{{ .Suffix }}[PREFIX] {{ .Prompt }}{{ else }}" + MISTRAL + "{{ end }}"
OF = {family.prefix: family for family in infill.FAMILIES}


@pytest.mark.parametrize(
    ("template", "own_template", "prefix"),
    [
        (QWEN_CODER, OWN_CHATML, "<|fim_prefix|>"),
        (CODELLAMA, PLAIN_TEMPLATE, "▁<PRE>"),
        (CODESTRAL, own("[INST]", "[/INST]"), "[PREFIX]"),
    ],
)
def test_a_suffix_is_told_by_the_tokens_that_the_model_has(
    template: str, own_template: str, prefix: str
) -> None:
    assert go_template.is_go(template)
    assert go_template.stands_for_own(template, own_template, OF[prefix])
    with pytest.raises(BadRequest, match="this model's tokenizer has no tokens for fill-in-middle"):
        go_template.stands_for_own(template, own_template)
    with pytest.raises(BadRequest, match="has no <fim_prefix> in it"):
        go_template.stands_for_own(template, own_template, OF["<fim_prefix>"])
    with pytest.raises(BadRequest, match=r"'Be rude\.'|none of those that are known here"):
        go_template.stands_for_own(template + "Be rude.", own_template, OF[prefix])


def test_of_families_with_the_same_markers_any_is_right() -> None:
    family = go_template.stands_for_own(TINYLLAMA, own("<|system|>", "<|user|>", "<|assistant|>"))
    assert family in ("TinyLlama and Zephyr", "Granite 3.0 and before")


@pytest.mark.parametrize(
    ("template", "own_template", "words"),
    [
        (QWEN, LLAMA3_OWN, "is Ollama's for Qwen, SmolLM and others (ChatML), and this model's own does not"),
        (LLAMA3, OWN_CHATML, "does not know <|start_header_id|>"),
        (QWEN.replace("# Tools", "Talk like a pirate."), OWN_CHATML, "'Talk like a pirate.'"),
        (
            GEMMA + "Be rude.",
            own("<start_of_turn>", "<end_of_turn>"),
            "'Be rude.', which belongs into SYSTEM",
        ),
        ("{{ .System }} USER: {{ .Prompt }} ASSISTANT:", OWN_CHATML, "none of those that are known here"),
    ],
)
def test_any_other_is_refused_with_the_way_out(template: str, own_template: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        go_template.stands_for_own(template, own_template)
    assert words in str(caught.value)
    assert "Leave TEMPLATE out and the model's own is used" in str(caught.value)


@pytest.mark.parametrize(
    "template",
    [
        OWN_CHATML,
        LLAMA3_OWN,
        "{{ messages[0].content }}",
        "{%- if tools %}{{ tools | tojson }}{% else %}no{% endif %}",
        "{{ bos_token }}{% for m in messages if m.role == 'user' %}{{ m['content'] }}{% endfor %}",
        "no template at all",
    ],
)
def test_jinja_is_not_taken_for_go(template: str) -> None:
    assert not go_template.is_go(template)
