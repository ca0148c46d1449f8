"""Each check says no on one side of its border, and nothing on the other."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)


def student(**more):
    def change(data):
        data["student"]["architecture"].update(more)
        del data["student"]["parameters"]

    return change


def parameters(text):
    return lambda data: data["student"].update(parameters=text)


def shapes(prefill, context, **architecture):
    def change(data):
        data["shapes"].update(prefill=prefill, decode={"context": context})
        data["student"]["architecture"].update(architecture)

    return change


def stage(**more):
    return lambda data: data["training"]["stages"][0].update(more)


def losses(*terms):
    return stage(losses=list(terms))


def loss(term, weight, **more):
    return {"term": term, "weight": weight, **more}


def tokenizer(**more):
    return lambda data: (data["tokenizer"].update(more), data["student"].pop("parameters"))


def teacher(**architecture):
    return lambda data: data["teacher"]["architecture"].update(architecture)


def source(**more):
    return lambda data: data["data"]["sources"][0].update(more)


def several(*changes):
    return lambda data: [change(data) for change in changes]


def calls(*targets):
    """Rows that mark their calls, judged by a suite that reads calls."""

    def change(data):
        data["data"]["sources"][0].update(generator="toy_tools")
        data["data"].update(targets=list(targets), tools=TOOLS)
        data["evaluation"]["suites"] = [{"use": "tool_use"}]

    return change


def staged(**more):
    """One more stage, which starts from the last unless `from` says otherwise."""

    def change(data):
        stages = data["training"]["stages"]
        made = {**stages[-1], "name": "second", "from": stages[-1]["name"], **more}
        stages.append({key: value for key, value in made.items() if value is not None})

    return change


def suite(name):
    return lambda data: data["evaluation"].update(suites=[{"use": name}])


def teacher_run(**more):
    return lambda data: data["teacher"].update(more)


#: a sum of weights other than 1 is a note, and beside the point of most rows
NOTED = {"KC4604"}
TOOLS = "tools.json"
TOOL = (Path(__file__).resolve().parents[4] / "specs" / "tools" / "registry.json").read_text(encoding="utf-8")
BOTH = loss("kl", 0.5), loss("ce_truth", 0.5)

BORDERS = [
    ("KC4001", student(num_key_value_heads=3), student(num_key_value_heads=4)),
    ("KC4001", student(num_key_value_heads=8), student(num_key_value_heads=1)),
    ("KC4001", teacher(num_key_value_heads=3), teacher(num_key_value_heads=1)),
    ("KC4002", student(num_attention_heads=6), student(num_attention_heads=8)),
    ("KC4003", student(head_dim=9), student(head_dim=10)),
    ("KC4003", student(hidden_size=36), student(hidden_size=40)),
    ("KC4003", student(family="phi", hidden_size=24), student(family="phi", hidden_size=32)),
    ("KC4005", student(family="phi", head_dim=16), student(family="phi", head_dim=8)),
    ("KC4004", parameters("34_975"), parameters("34_976")),
    ("KC4004", parameters("34_977"), parameters(34976)),
    ("KC4004", parameters("40_000±12.5%"), parameters("40_000±12.6%")),
    ("KC4101", shapes([32, 32], 64), shapes([32, 33], 64)),
    ("KC4101", shapes([8, 16, 12], 64), shapes([8], 64)),
    ("KC4102", shapes([65], 64, max_position_embeddings=64), shapes([64], 64, max_position_embeddings=64)),
    ("KC4103", shapes([32, 65], 64), shapes([32, 64], 64)),
    ("KC4104", shapes([32], 129), shapes([32], 128)),
    ("KC4105", stage(max_length=129), stage(max_length=128)),
    ("KC4106", teacher(max_position_embeddings=63), teacher(max_position_embeddings=64)),
    (
        "KC4106",
        several(teacher(max_position_embeddings=99), stage(max_length=100)),
        several(teacher(max_position_embeddings=100), stage(max_length=100)),
    ),
    (
        "KC4201",
        lambda data: data["teacher"].update(signals=["text"]),
        lambda data: data["teacher"].update(signals=["logits"]),
    ),
    (
        "KC4204",
        losses(loss("ce_truth", 0.5), loss("tool_name", 0.5)),
        several(
            losses(loss("ce_truth", 0.5), loss("tool_name", 0.5)),
            calls("response", "tool_name"),
        ),
    ),
    ("KC4301", tokenizer(template="{response}{prompt}"), tokenizer(template="{prompt}{response}")),
    ("KC4301", tokenizer(template="{prompt}{prompt}{response}"), tokenizer(template="{{prompt}}{response}")),
    ("KC4301", tokenizer(template="{prompt}{response}."), tokenizer(template=". {prompt} {x} {response}")),
    ("KC4301", tokenizer(template="{prompt}{response}{response}"), tokenizer(template="{prompt}{response}")),
    ("KC4304", tokenizer(source="teacher"), tokenizer(source="train")),
    ("KC4305", tokenizer(special={"pad": "<a>", "bos": "<a>"}), tokenizer(special={"pad": "<a>", "bos": "<b>"})),
    ("KC4305", tokenizer(single_token_tags=["<|eos|>"]), tokenizer(single_token_tags=["<|tool|>"])),
    (
        "KC4307",
        tokenizer(vocab_size=260, single_token_tags=["a", "b"]),
        tokenizer(vocab_size=261, single_token_tags=["a", "b"]),
    ),
    ("KC4503", source(split="train"), source(split="auto")),
    ("KC4503", source(split="test"), source(split="auto")),
    ("KC4506", lambda d: d["evaluation"]["suites"][0].update(split="train"), several()),
    ("KC4503", lambda data: data["data"].update(held_out=0), lambda data: data["data"].update(held_out=0.01)),
    (
        "KC4601",
        losses(loss("kl", 0), loss("ce_truth", 0)),
        losses(loss("kl", 0, schedule={"to": 1, "until_step": 40}), loss("ce_truth", 1)),
    ),
    (
        "KC4602",
        several(losses(loss("tool_name", 1)), calls("tool_name")),
        losses(loss("kl", 1)),
    ),
    (
        "KC4602",
        several(
            losses(loss("tool_name", 1), loss("kl", 0)),
            calls("tool_name", "response"),
        ),
        losses(*BOTH),
    ),
    ("KC4603", losses(loss("kl", 0.5), loss("kl", 0.5, temperature=1.0)), losses(*BOTH)),
    ("KC4604", losses(loss("kl", 0.5), loss("ce_truth", 0.50001)), losses(*BOTH)),
    (
        "KC4605",
        losses(loss("ce_truth", 1, schedule={"to": 0, "until_step": 41})),
        losses(loss("ce_truth", 1, schedule={"to": 0, "until_step": 40})),
    ),
    (
        "KC4605",
        losses(loss("ce_truth", 1, schedule={"to": 0.1, "from_step": 9, "until_step": 9})),
        losses(loss("ce_truth", 1, schedule={"to": 0.1, "from_step": 8, "until_step": 9})),
    ),
    ("KC4606", stage(steps=20), stage(steps=21)),
    ("KC4606", stage(optimizer={"warmup_steps": 40}), stage(optimizer={"warmup_steps": 39})),
    ("KC4632", stage(optimizer={"decay": "constant", "final_fraction": 0.1}), stage(optimizer={"decay": "constant"})),
    (
        "KC4632",
        stage(optimizer={"decay": "constant", "final_fraction": 0.5}),
        stage(optimizer={"decay": "cosine", "final_fraction": 0.5}),
    ),
    (
        "KC4410",
        stage(**{"from": "kd"}),
        lambda d: d["training"]["stages"].append({**d["training"]["stages"][0], "name": "b", "from": "kd"}),
    ),
    (
        "KC4411",
        lambda d: d["data"]["sources"].append(d["data"]["sources"][0]),
        lambda d: d["data"]["sources"].append({**d["data"]["sources"][0], "name": "other"}),
    ),
]

# the second family of codes: proportions, lengths never trained, what rows carry, what nothing uses
BORDERS += [
    ("KC4006", student(num_hidden_layers=9), student(num_hidden_layers=8)),
    ("KC4006", student(hidden_size=2056, intermediate_size=4096), student(hidden_size=2048, intermediate_size=4096)),
    ("KC4006", student(intermediate_size=31), student(intermediate_size=32)),
    ("KC4006", student(intermediate_size=513), student(intermediate_size=512)),
    ("KC4006", tokenizer(vocab_size=5230), tokenizer(vocab_size=5229)),
    ("KC4107", stage(max_length=63), stage(max_length=64)),
    (
        "KC4107",
        several(stage(max_length=31), staged(max_length=63)),
        several(stage(max_length=8), staged(max_length=None)),
    ),
    (
        "KC4108",
        several(shapes([32, 64], 65), stage(max_length=64)),
        several(shapes([32, 64], 65), stage(max_length=65)),
    ),
    ("KC4205", calls("response", "integration"), calls("response")),
    (
        "KC4206",
        calls("response", "tool_name"),
        several(calls("response", "tool_name"), losses(*BOTH, loss("tool_name", 0.2))),
    ),
    ("KC4309", tokenizer(template="<|pad|>{prompt}{response}"), tokenizer(template="{prompt}<|eos|>{response}")),
    ("KC4309", tokenizer(template="a<|bos|>{prompt}{response}"), tokenizer(template="a<bos>{prompt}{response}")),
    ("KC4416", suite("tool_use"), calls("response")),
    ("KC4416", source(generator="toy_tools"), calls("response")),
    ("KC4415", several(calls("response"), source(generator="eight_ball"), suite("answers")), calls("response")),
    ("KC4417", staged(**{"from": None}), staged()),
    ("KC4417", several(staged(), staged(name="third", **{"from": "kd"})), several(staged(), staged(name="third"))),
    ("KC4606", teacher_run(steps=20), teacher_run(steps=21)),
    (
        "KC4607",
        losses(loss("kl", 1), loss("ce_truth", 0)),
        losses(loss("kl", 1), loss("ce_truth", 0, schedule={"to": 0.2, "until_step": 9})),
    ),
    ("KC4607", losses(loss("kl", 1), loss("ce_truth", 0, schedule={"to": 0, "until_step": 9})), losses(loss("kl", 1))),
    ("KC4608", losses(loss("kl", 10), loss("ce_truth", 0.999)), losses(loss("kl", 10), loss("ce_truth", 1))),
    (
        "KC4608",
        losses(loss("kl", 0.99), loss("ce_truth", 0.01, schedule={"to": 0.09, "until_step": 9})),
        losses(loss("kl", 0.99), loss("ce_truth", 0.01, schedule={"to": 0.1, "until_step": 9})),
    ),
    (
        "KC4609",
        losses(loss("kl", 1, schedule={"to": 0, "until_step": 39})),
        losses(loss("kl", 1, schedule={"to": 0, "until_step": 40})),
    ),
    (
        "KC4609",
        losses(loss("kl", 0, schedule={"to": 1, "from_step": 1, "until_step": 9})),
        losses(loss("kl", 0, schedule={"to": 1, "from_step": 0, "until_step": 9})),
    ),
    (
        "KC4609",
        losses(
            loss("kl", 1, schedule={"to": 0, "until_step": 10}),
            loss("ce_truth", 0, schedule={"to": 1, "from_step": 20, "until_step": 30}),
        ),
        losses(
            loss("kl", 1, schedule={"to": 0, "until_step": 20}),
            loss("ce_truth", 0, schedule={"to": 1, "from_step": 20, "until_step": 30}),
        ),
    ),
]


@pytest.mark.parametrize(
    ("code", "wrong", "right"), BORDERS, ids=[f"{number}-{row[0]}" for number, row in enumerate(BORDERS)]
)
def test_the_border_is_where_it_should_be(tmp_path, code, wrong, right):
    (tmp_path / TOOLS).write_text(TOOL, encoding="utf-8")
    assert code in laboratory.codes(tmp_path, wrong)
    assert set(laboratory.codes(tmp_path, right)) <= NOTED


@pytest.mark.parametrize(
    "licence",
    [
        "MIT",
        "CC-BY-4.0",
        "Apache-2.0 OR MIT",
        "LicenseRef-ours",
        "(MIT AND BSD-3-Clause)",
        "GPL-2.0-only WITH Classpath-exception-2.0",
    ],
)
def test_a_licence_is_an_spdx_expression(tmp_path, licence):
    assert laboratory.codes(tmp_path, source(license=licence)) == []


@pytest.mark.parametrize("licence", ["unknown", "TODO", "n/a", "None", "?", "see website", "MIT,Apache", " "])
def test_a_placeholder_is_no_licence(tmp_path, licence):
    assert laboratory.codes(tmp_path, source(license=licence)) == ["KC4502"]


def test_the_good_spec_is_good(tmp_path):
    front = laboratory.compiled(tmp_path)
    assert front.diagnostics == []
    assert front.spec is not None


def test_the_arithmetic_of_a_size_is_shown(tmp_path):
    (found,) = laboratory.compiled(tmp_path, parameters("4.0e9±10%")).diagnostics
    assert found.notes[-1] == "total 34,976"
    assert sum(int(note.rpartition("= ")[2].replace(",", "")) for note in found.notes[:-1]) == 34_976
