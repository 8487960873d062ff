"""What models of each family write, and the events that become of it."""

from __future__ import annotations

from parsed_events import Seen

ZURICH = ("call", "weather", {"city": "Zürich"})
OSLO = ("call", "weather", {"city": "Oslo"})
NOW: tuple[object, ...] = ("call", "now", {})
LISTED = '[{"name": "weather", "arguments": {"city": "Zürich"}}, {"name": "now", "arguments": {}}]'
LLAMA = '{"name": "weather", "parameters": {"city": "Zürich"}}'
V3 = '<｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{"city": "Zürich"}\n```<｜tool▁call▁end｜>'
V31 = '<｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Zürich"}<｜tool▁call▁end｜>'
ALL, ALL_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
BIG = str(10**30)
IN_STRING = '{"name": "f", "arguments": {"a": "</tool_call><tool_call>\\" }"}}'
QUOTED: tuple[object, ...] = ("call", "f", {"a": '</tool_call><tool_call>" }'})
ANALYSIS = "<|channel|>analysis<|message|>hm<|end|>"
HEADER = "<|start|>assistant<|channel|>commentary to=functions.weather <|constrain|>json<|message|>"
FINAL = "<|start|>assistant<|channel|>final<|message|>"


def text(said: str) -> tuple[str, str]:
    return ("text", said)


def thought(said: str) -> tuple[str, str]:
    return ("thought", said)


ANSWERS: list[tuple[str, str, Seen]] = [
    # Llama: at the beginning, or behind its tag
    ("llama", LLAMA, [ZURICH]),
    ("llama", f"\n {LLAMA} ", [ZURICH]),
    ("llama", f"<|python_tag|>{LLAMA}", [ZURICH]),
    ("llama", f"Let me see.<|python_tag|>{LLAMA}", [text("Let me see."), ZURICH]),
    ("llama", f"{LLAMA}; {LLAMA};{LLAMA}", [ZURICH, ZURICH, ZURICH]),
    ("llama", f"{LLAMA}\n{LLAMA}", [ZURICH, ZURICH]),
    ("llama", f"{LLAMA}; so it is", [ZURICH, text("; so it is")]),
    ("llama", '{"type": "function", "name": "now", "parameters": {}}', [NOW]),
    ("llama", '{"city": "Bern", "a": [', [text('{"city": "Bern", "a": [')]),
    ("llama", '{"name": "Bob", "age": 3} ok', [text('{"name": "Bob", "age": 3} ok')]),
    ("llama", '{"name": "weather", "param', [text('{"name": "weather", "param')]),
    ("llama", f"It is {LLAMA}", [text(f"It is {LLAMA}")]),
    ("llama", '[weather(city="Zürich"), now()]', [ZURICH, NOW]),
    ("llama", "[weather(city='Zürich')] done", [ZURICH, text("done")]),
    ("llama", '[weather(city="a\\"]") ]', [("call", "weather", {"city": 'a"]'})]),
    (
        "llama",
        "[f(a=1, b=[1.5, -2e3], c={'k': None, \"t\": True}, d=(false,), e='\\u00e9\\n\\d')]",
        [
            (
                "call",
                "f",
                {"a": 1, "b": [1.5, -2000.0], "c": {"k": None, "t": True}, "d": [False], "e": "é\n\\d"},
            )
        ],
    ),
    ("llama", f"[{LLAMA}, {LLAMA}]", [ZURICH, ZURICH]),
    ("llama", '[{"name": "Bob", "age": 3}]', [text('[{"name": "Bob", "age": 3}]')]),
    ("llama", "[weather(city)] no", [text("[weather(city)] no")]),
    ("llama", "[see](http://a.b) it", [text("[see](http://a.b) it")]),
    ("llama", "[1, 2]", [text("[1, 2]")]),
    ("llama", '[weather(city="Zü', [text('[weather(city="Zü')]),
    ("llama", "<|python_tag|>print(1)", [text("print(1)")]),
    ("llama", "[f(a='\\ud83d\\ude00\\ud83d')]", [("call", "f", {"a": "😀\ufffd"})]),
    ("llama", f"[f(a={10**30})]", [text(f"[f(a={10**30})]")]),
    ("llama", LLAMA.replace('"Zürich"', BIG), [text(LLAMA.replace('"Zürich"', BIG))]),
    ("mistral", f'[TOOL_CALLS]f{{"a":{"[" * 300}{"]" * 300}}}', [text(f'f{{"a":{"[" * 300}{"]" * 300}}}')]),
    ("llama", "", []),
    ("llama", f"<|python_start|>{LLAMA}<|python_end|>", [ZURICH]),
    ("llama", '\n<|python_start|>[weather(city="Zürich"), now()]<|python_end|>', [ZURICH, NOW]),
    ("llama", "So: <|python_start|>print(1)<|python_end|>", [text("So: print(1)")]),
    ("llama", "<|python_start|>[see](it)<|python_end|>.", [text("[see](it).")]),
    ("llama", '<|python_start|>{"name": "f<|python_end|>', [text('{"name": "f')]),
    ("llama", "[now()]<|python_end|>\n\nok", [NOW, text("ok")]),
    # Mistral
    ("mistral", f"[TOOL_CALLS]{LISTED}", [ZURICH, NOW]),
    ("mistral", f"Sure. [TOOL_CALLS] {LISTED}", [text("Sure. "), ZURICH, NOW]),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"city": "Zürich"}', [ZURICH]),
    (
        "mistral",
        '[TOOL_CALLS]weather[CALL_ID]a1b2c3d4e[ARGS]{"city": "Zürich"}[TOOL_CALLS]now{}',
        [ZURICH, NOW],
    ),
    ("mistral", "[TOOL_CALLS]weather[ARGS]{city: 1} and", [text("weather{city: 1} and")]),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"ci', [text('weather{"ci')]),
    ("mistral", '[TOOL_CALLS][{"name": "weather", "arg', [text('[{"name": "weather", "arg')]),
    ("mistral", "[TOOL_CALLS][1, 2] x", [text("[1, 2] x")]),
    ("mistral", "[TOOL_CALLS] I would not {", [text(" I would not {")]),
    ("mistral", "a [TOOL box", [text("a [TOOL box")]),
    # DeepSeek
    ("deepseek", f"{ALL}{V3}{ALL_END}", [ZURICH]),
    ("deepseek", f"One moment.{ALL}{V3}\n{V3}{ALL_END}", [text("One moment."), ZURICH, ZURICH]),
    ("deepseek", f"{ALL}{V31}{V31}{ALL_END}", [ZURICH, ZURICH]),
    ("deepseek", V31.removesuffix("<｜tool▁call▁end｜>"), [ZURICH]),
    ("deepseek", f"{ALL}{V31.partition('Zürich')[0]}", [text('weather {"city": "')]),
    ("deepseek", V31.replace('"city"', "city"), [text('weather {city: "Zürich"}')]),
    # Phi and Granite
    ("phi", f"<|tool_call|>{LISTED}<|/tool_call|>", [ZURICH, NOW]),
    ("phi", f"Yes. functools{LISTED} bye", [text("Yes. "), ZURICH, NOW, text("bye")]),
    ("phi", "the functools[cache] of Python", [text("the functools[cache] of Python")]),
    ("phi", '<|tool_call|>[{"name": 1}]<|/tool_call|>!', [text('[{"name": 1}]!')]),
    ("granite", f"<|tool_call|>{LISTED}", [ZURICH, NOW]),
    ("granite", f"<tool_call>{LISTED}", [ZURICH, NOW]),
    ("granite", '<tool_call>{"name": "now"}</tool_call>\nok', [NOW, text("ok")]),
    ("granite", '<|tool_call|>[{"name": "now"}, {"name"', [NOW, text(', {"name"')]),
    ("granite", "<tool_call> is a tag", [text(" is a tag")]),
    ("granite", "no</tool_call>", [text("no")]),
    ("granite", '<tool_call>[{"name": "wea', [text('[{"name": "wea')]),
    ("phi", 'functools[{"name": "wea', [text('[{"name": "wea')]),
    ("phi", "functools[0] is a list", [text("functools[0] is a list")]),
    ("hermes", '<tool_call>\n{"name": "wea', [text('{"name": "wea')]),
    # Hermes: the tags are never shown, what stands between them is a call or text
    ("hermes", f"<tool_call>{IN_STRING}</tool_call>", [QUOTED]),
    ("hermes", f"<tool_call>\n{IN_STRING}", [QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}\n{IN_STRING}</tool_call>", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>\n{LISTED}\n</tool_call>\nok", [ZURICH, NOW, text("ok")]),
    ("hermes", f"<tool_call>{IN_STRING},\n{IN_STRING}\n</tool_call>", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}, so</tool_call>", [QUOTED, text(", so")]),
    ("hermes", f"<tool_call>{IN_STRING} so</tool_call>.", [QUOTED, text("so.")]),
    ("hermes", f"<tool_call>{IN_STRING}<tool_call>{IN_STRING}", [QUOTED, QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}</tool_call></tool_call>\n</tool_call>\n\nok", [QUOTED, text("ok")]),
    ("hermes", f"<tool_call>{IN_STRING}\n</tool_", [QUOTED]),
    ("hermes", f"<tool_call>{IN_STRING}</tool_call>\n<b>", [QUOTED, text("<b>")]),
    ("hermes", "<tool_call>get(x)</tool_call>", [text("get(x)")]),
    ("hermes", "a <tool_call>\n</tool_call>b </tool_call>c", [text("a b c")]),
    ("hermes", "</tool_call>", []),
    ("hermes", "<tool_call>\n{no JSON}\n</tool_call> ok", [text("{no JSON}\n ok")]),
    ("hermes", "<tool_call> is a tag", [text(" is a tag")]),
    ("hermes", "<tool_call>[]</tool_call>", [text("[]")]),
    ("hermes", '<tool_call>[1, {"name": "f"}]</tool_call>', [text('[1, {"name": "f"}]')]),
    ("hermes", '<tool_call>{"a": "</tool_call>"}</tool_call>.', [text('{"a": ""}.')]),
    ("hermes", "<tool_call>{'name': 'now'}</tool_call>", [text("{'name': 'now'}")]),
    # a string that nothing closed: the call behind it counts all the same
    ("hermes", f'<tool_call>{{"name": "f</tool_call><tool_call>{IN_STRING}', [text('{"name": "f'), QUOTED]),
    ("hermes", f'<tool_call>{{"a": "f</tool_call>\n<tool_call>{IN_STRING}', [text('{"a": "f\n'), QUOTED]),
    ("hermes", f'<tool_call>{{"name": <tool_call>{IN_STRING}', [text('{"name": '), QUOTED]),
    ("qwen3-coder", "<tool_call>\n<function=now>\n</function>\n</tool_call><function=now></function>", [NOW, NOW]),
    # channels
    ("channels", f"{ANALYSIS}{FINAL}yes<|return|>", [thought("hm"), text("yes")]),
    ("channels", f'{ANALYSIS}{HEADER}{{"city": "Zürich"}}<|call|>', [thought("hm"), ZURICH]),
    ("channels", f'{ANALYSIS}{HEADER}{{"city": "Zürich"}}', [thought("hm"), ZURICH]),
    (
        "channels",
        f'<|channel|>commentary<|message|>I look.<|end|>{HEADER}{{"city": "Zürich"}}<|call|>{HEADER}{{"city": "Oslo"}}',
        [text("I look."), ZURICH, OSLO],
    ),
    ("channels", ' to=functions.now<|channel|>commentary json<|message|>{}<|call|>', [NOW]),
    ("channels", f"{ANALYSIS}{HEADER}not JSON<|call|>{FINAL}x", [thought("hm"), text("not JSONx")]),
    ("channels", "plain <b>text</b>", [text("plain <b>text</b>")]),
    ("channels", "<|channel|>analysis<|message|>cut o", [thought("cut o")]),
    ("channels", f"{ANALYSIS}<|start|>assistant<|chan", [thought("hm")]),
]  # fmt: skip
