"""Chat templates of eight families as facts: written here from their documented formats, none of them a copy.

`CONTROL` names the control tokens of each (padding first, then beginning and end), `TEXTS` what a short conversation
looks like, by the family's own documentation.
"""

from __future__ import annotations

CHATML_TURNS = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
#: system text is `You are a helpful AI assistant …` unless the conversation brings one
SMOLLM2 = (
    "{%- if messages[0].role != 'system' -%}\n"
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "{% endif -%}\n" + CHATML_TURNS
)
QWEN_TOOLS = """\
{%- macro calls_of(message) -%}
{%- for call in message.tool_calls %}
{%- if message.content or not loop.first %}{{ '\\n' }}{% endif -%}
{{ '<tool_call>\\n' }}{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
{{- '\\n</tool_call>' -}}
{%- endfor -%}
{%- endmacro -%}
"""
QWEN_HEAD = """\
{%- set given = messages[0].content if messages[0].role == 'system' else DEFAULT -%}
{%- if tools -%}
{{- '<|im_start|>system\\n' + given + '\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -}}
{%- for tool in tools %}{{ '\\n' + (tool | tojson) }}{% endfor -%}
{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' -}}
{%- elif given -%}
{{- '<|im_start|>system\\n' + given + '<|im_end|>\\n' -}}
{%- endif -%}
"""
QWEN_TOOL_RESULT = """\
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif -%}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\\n' }}{% endif -%}
"""
QWEN25 = (
    QWEN_TOOLS
    + QWEN_HEAD.replace("DEFAULT", "'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.'")
    + """\
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
"""
    + QWEN_TOOL_RESULT
    + """\
{%- elif message.role != 'system' or not loop.first -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + calls_of(message) + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""
)
#: thoughts of turns before the last question are not written; those after it always are, empty ones too
QWEN3 = (
    QWEN_TOOLS
    + QWEN_HEAD.replace("DEFAULT", "''")
    + """\
{%- set last = namespace(question=-1) -%}
{%- for message in messages %}{% if message.role == 'user' %}{% set last.question = loop.index0 %}{% endif %}{% endfor -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
"""
    + QWEN_TOOL_RESULT
    + """\
{%- elif message.role == 'assistant' -%}
{%- set thought = message.reasoning_content or '' -%}
{{- '<|im_start|>assistant\\n' -}}
{%- if loop.index0 > last.question and (loop.last or thought) -%}
{{- '<think>\\n' + thought.strip() + '\\n</think>\\n\\n' -}}
{%- endif -%}
{{- message.content.lstrip('\\n') + calls_of(message) + '<|im_end|>\\n' -}}
{%- elif message.role == 'user' or not loop.first -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}
"""
)
LLAMA3 = """\
{%- macro head(role) %}{{ '<|start_header_id|>' + role + '<|end_header_id|>\\n\\n' }}{% endmacro -%}
{{- bos_token -}}
{%- set system = messages[0].content | trim if messages[0].role == 'system' else '' -%}
{{- head('system') -}}
{{- 'Cutting Knowledge Date: December 2023\\nToday Date: ' + strftime_now('%d %b %Y') + '\\n\\n' -}}
{%- if tools %}{% for tool in tools %}{{ (tool | tojson(indent=4)) + '\\n\\n' }}{% endfor %}{% endif -%}
{{- system + '<|eot_id|>' -}}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- head('ipython') + (message.content | tojson) + '<|eot_id|>' -}}
{%- elif message.tool_calls -%}
{%- if message.tool_calls | length > 1 %}{{ raise_exception('one call in a turn') }}{% endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- head('assistant') + '{"name": "' + call.name + '", "parameters": ' + (call.arguments | tojson) + '}<|eot_id|>' -}}
{%- elif not (loop.first and message.role == 'system') -%}
{{- head(message.role) + (message.content | trim) + '<|eot_id|>' -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif -%}
"""
MISTRAL_V1 = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
{%- endif -%}
{%- if message.role == 'user' %}{{ ' [INST] ' + message.content + ' [/INST]' }}{% else %}{{ ' ' + message.content + eos_token }}{% endif -%}
{%- endfor -%}
"""
MISTRAL_V3 = """\
{%- set turns = namespace(n=0, question=-1) -%}
{%- for message in messages %}{% if message.role == 'user' %}{% set turns.question = loop.index0 %}{% endif %}{% endfor -%}
{{- bos_token -}}
{%- for message in messages -%}
{%- if message.role == 'user' or (message.role == 'assistant' and not message.tool_calls) -%}
{%- if (message.role == 'user') != (turns.n % 2 == 0) -%}
{{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') -}}
{%- endif -%}
{%- set turns.n = turns.n + 1 -%}
{%- endif -%}
{%- if message.role == 'user' -%}
{%- if tools and loop.index0 == turns.question %}{{ '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{% endif -%}
{{- '[INST] ' + message.content + '[/INST]' -}}
{%- elif message.role == 'tool' -%}
{{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' -}}
{%- elif message.tool_calls -%}
{{- '[TOOL_CALLS] [' -}}
{%- for call in message.tool_calls -%}
{{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) + ', "id": "' + call.id + '"}' -}}
{%- if not loop.last %}{{ ', ' }}{% endif -%}
{%- endfor -%}
{{- ']' + eos_token -}}
{%- elif message.role == 'assistant' -%}
{{- ' ' + message.content | trim + eos_token -}}
{%- else -%}
{{- raise_exception('Only user, assistant and tool roles are supported') -}}
{%- endif -%}
{%- endfor -%}
"""
PHI3 = """\
{%- for message in messages -%}
{{- '<|' + message.role + '|>\\n' + message.content + '<|end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif -%}
"""
GEMMA = """\
{{- bos_token -}}
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif -%}
{%- for message in messages -%}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) -%}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') -}}
{%- endif -%}
{{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' + message.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif -%}
"""
TEMPLATES = {
    "smollm2": SMOLLM2,
    "qwen2.5": QWEN25,
    "qwen3": QWEN3,
    "llama3": LLAMA3,
    "mistral-v1": MISTRAL_V1,
    "mistral-v3": MISTRAL_V3,
    "phi3": PHI3,
    "gemma": GEMMA,
}
IM = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTROL = {
    "smollm2": IM,
    "qwen2.5": IM,
    "qwen3": IM,
    "llama3": [
        "<|finetune_right_pad_id|>",
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|eot_id|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ],
    "mistral-v1": ["<unk>", "<s>", "</s>"],
    "mistral-v3": [
        "<unk>",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "[TOOL_CALLS]",
        "[AVAILABLE_TOOLS]",
        "[/AVAILABLE_TOOLS]",
        "[TOOL_RESULTS]",
        "[/TOOL_RESULTS]",
    ],
    "phi3": ["<|placeholder1|>", "<s>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"],
    "gemma": ["<pad>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"],
}
#: two questions and their answers, as the family's documentation shows them
_SMOL = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
_QWEN = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
_ML = (
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n"
)
_H = "<|start_header_id|>{}<|end_header_id|>\n\n".format
TEXTS = {
    "smollm2": _SMOL + _ML + "4<|im_end|>\n",
    "qwen2.5": _QWEN + _ML + "4<|im_end|>\n",
    "qwen3": _ML + "<think>\n\n</think>\n\n4<|im_end|>\n",
    "llama3": "<|begin_of_text|>"
    + _H("system")
    + "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    + "".join(
        _H(role) + text + "<|eot_id|>"
        for role, text in (("user", "Hi"), ("assistant", "Hello."), ("user", "2+2?"), ("assistant", "4"))
    ),
    "mistral-v1": "<s> [INST] Hi [/INST] Hello.</s> [INST] 2+2? [/INST] 4</s>",
    "mistral-v3": "<s>[INST] Hi[/INST] Hello.</s>[INST] 2+2?[/INST] 4</s>",
    "phi3": "<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\n2+2?<|end|>\n<|assistant|>\n4<|end|>\n<|endoftext|>",
    "gemma": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
    "<start_of_turn>user\n2+2?<end_of_turn>\n<start_of_turn>model\n4<end_of_turn>\n",
}
