"""`deliver` on the real command line: what passes is packed whole and the same everywhere, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from kcompiler.deliver.card import number
from runtime.contract import delivery, program
from runtime.contract.targets import TARGETS
from tests.flow.conftest import core_alone
from tests.flow.world import LIGHT, NAME, ROOT, Home, Result, environment, flip
from tests.longer import longer

SPEC = f"specs/{NAME}.yaml"
FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))
from kcompiler.cli import main
main()
"""


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_file_is_in_the_checksums_and_as_they_say(delivered: Path) -> None:
    lines = (delivered / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    stated = {path: digest for digest, path in (line.split("  ") for line in lines)}
    found = content(delivered)
    del found["SHA256SUMS"]
    assert stated == found
    assert list(stated) == sorted(stated)
    assert {path.partition("/")[0] for path in found} == {
        "README.md",
        "contract.json",
        "evidence",
        "hosts",
        "huggingface",
        "packages",
        "sbom.cdx.json",
    }
    # an app is told to read contract.json: there is one
    assert [path for path in found if path.endswith("contract.json")] == ["contract.json"]


def test_the_contract_says_what_the_packages_say(delivered: Path) -> None:
    from runtime.mil import package

    jsonschema.validate(read(delivered / "contract.json"), read(ROOT / "schemas" / "delivery.schema.json"))
    contract = delivery.load(delivered)
    assert [one.precision for one in contract.packages] == ["quantized", "fp16"]
    for one in contract.packages:
        opened = package.open(delivered / one.path)
        assert set(opened.functions) == set(contract.functions)
        for name, function in opened.functions.items():
            said = contract.functions[name]
            assert [(v.name, tuple(v.shape), v.dtype) for v in said.inputs] == [tuple(v) for v in function.inputs]
            assert [(v.name, tuple(v.shape), v.dtype) for v in said.outputs] == [tuple(v) for v in function.outputs]
            assert said.states == []
        assert opened.specification_version == one.specification_version
    stored = {one.precision: one.stored for one in contract.packages}
    assert "int8" in stored["quantized"]
    assert "int8" not in stored["fp16"]
    assert contract.prefills() == [("prefill_32", 32), ("prefill_48", 48)]
    assert contract.compute_units == "all"
    for part in (contract.tokenizer, contract.chat_template):
        assert hashlib.sha256((delivered / part.path).read_bytes()).hexdigest() == part.sha256


def test_the_schema_is_that_of_the_model() -> None:
    assert read(ROOT / "schemas" / "delivery.schema.json") == delivery.schema()


def test_the_evidence_judges_to_pass_again_without_the_project(delivered: Path, tmp_path: Path) -> None:
    card = (delivered / "README.md").read_text(encoding="utf-8")
    line = next(line for line in card.splitlines() if line.startswith("kcompiler gate ")).partition("    #")[0]
    words = [sys.executable, "-m", "kcompiler", *line.split()[1:]]
    away = shutil.copytree(delivered, tmp_path / "away")
    done = subprocess.run(
        " ".join(words), shell=True, cwd=away, env=environment({}), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "verdict  PASS" in done.stdout


def numbers(value: Any) -> set[str]:
    """Every number in a JSON value, and those inside of its texts, as they are written."""
    if isinstance(value, dict):
        return set().union(*(numbers(key) | numbers(item) for key, item in value.items()), set())
    if isinstance(value, list):
        return set().union(*map(numbers, value), set())
    return set(re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", value if isinstance(value, str) else json.dumps(value)))


def test_the_card_has_no_number_that_no_report_has(delivered: Path) -> None:
    card = (delivered / "README.md").read_text(encoding="utf-8")
    measured = card.partition("\n## Packages\n")[2]
    # releases of systems are names
    for target in TARGETS.values():
        measured = measured.replace(target.systems, "")
    given = [read(path) for path in sorted((delivered / "evidence" / "reports").glob("*.json"))]
    exact = numbers(given) | numbers(read(delivered / "evidence" / "verdict.json"))
    known = exact | {number(float(one)) for one in exact if "." in one}
    told = numbers(measured.replace("\\", "").replace("sbom.cdx", ""))
    assert len(told) > 40
    assert told <= known
    assert not re.search(r"\.\d{10}", measured)
    head = card.partition("\n## Use\n")[0]
    assert numbers(head) == set()


def test_the_card_speaks_of_every_gate_and_keeps_what_is_not_known(delivered: Path) -> None:
    card = (delivered / "README.md").read_text(encoding="utf-8")
    verdict = read(delivered / "evidence" / "verdict.json")
    rules = {one["rule"] for one in verdict["outcomes"] if one["step"] != "apply"}
    assert len(rules) > 20
    assert [rule for rule in sorted(rules) if f"| {rule} |" not in card] == []
    assert "| verify | latency | interpreted here: kcompiler verify --on-device measures it on a Mac |" in card
    assert "CC0-1.0" in card


def test_the_sbom_names_models_data_and_toolchain_with_their_licences(delivered: Path) -> None:
    document = read(delivered / "sbom.cdx.json")
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    parts = {part["bom-ref"]: part for part in document["components"]}
    assert parts["data/eight-ball"]["licenses"] == [{"expression": "CC0-1.0"}]
    assert parts["teacher"]["type"] == "machine-learning-model"
    lock = read(delivered / "evidence" / "plan.lock")
    libraries = {part["name"]: part["version"] for part in parts.values() if part["type"] == "library"}
    assert libraries == lock["toolchain"]
    refs = {"student", *parts}
    assert {one["ref"] for one in document["dependencies"]} == refs
    assert all(set(one.get("dependsOn", [])) <= refs for one in document["dependencies"])


def test_the_sbom_satisfies_the_schema_of_cyclonedx(delivered: Path) -> None:
    validation = pytest.importorskip(
        "cyclonedx.validation.json", reason="the schema is in cyclonedx-python-lib[json-validation]"
    )
    from cyclonedx.schema import SchemaVersion

    text = (delivered / "sbom.cdx.json").read_text(encoding="utf-8")
    assert validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_two_deliveries_of_two_checkouts_are_the_same_bytes(passed: Home, delivered: Path, tmp_path: Path) -> None:
    other = passed.copy(tmp_path / "somewhere else" / "ünïcode")
    (tmp_path / "out").mkdir()
    odd = {"TZ": "Asia/Kathmandu", "LC_ALL": "C", "PYTHONHASHSEED": "7", "COLUMNS": "31"}
    other.run("deliver", f"generated/{NAME}", "--to", str(tmp_path / "out"), env=odd, umask=0o077).ended(0, "")
    assert content(tmp_path / "out") == content(delivered)


@pytest.mark.tensor
def test_transformers_continues_as_our_runner_does(passed: Home, delivered: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from runtime.models import runners
    from runtime.models import tokenizer as tokenizers

    folder = delivered / "huggingface"
    ours = tokenizers.load(passed.stored("tokenizer", "tokenizer"))
    words, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    questions = ["Will it rain?", "Is my cat well?", "ünïcode ☃?"]
    expected = runners.checkpoint("student", folder, ours).generate(questions, 8)
    for question, answer in zip(questions, expected, strict=True):
        asked = [{"role": "user", "content": question}]
        ids = words.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        said = model.generate(**ids, max_new_tokens=8)[0, ids["input_ids"].shape[1] :]
        assert words.decode(said, skip_special_tokens=True) == answer


@pytest.mark.tensor
@pytest.mark.skipif(sys.platform == "darwin", reason="on a Mac the host asks Core ML, whose kernels are others")
def test_the_python_host_answers_as_our_runner_of_the_package(passed: Home, delivered: Path) -> None:
    from runtime.models import runners
    from runtime.models import tokenizer as tokenizers

    ours = tokenizers.load(passed.stored("tokenizer", "tokenizer"))
    runner = runners.saved_package("package", passed.stored("convert", "package"), ours)
    question = "Will it rain tomorrow?"
    done = subprocess.run(
        [sys.executable, str(delivered / "hosts/python/host.py"), question],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.removesuffix("\n") == runner.generate([question], 200)[0]


def _written(folder: Path, **changes: Any) -> None:
    """The contract with other values, and the checksum of it as it is then."""
    said = {**read(folder / "contract.json"), **changes}
    (folder / "contract.json").write_text(json.dumps({key: one for key, one in said.items() if one}), "utf-8")


def _edited(folder: Path) -> None:
    flip(folder / "packages/quantized.mlpackage/Data/com.apple.CoreML/weights/weight.bin")


_QUANTIZED = "packages/quantized.mlpackage"
_TOKENIZER = "huggingface/tokenizer.json"
DAMAGED: dict[str, tuple[Callable[[Path], object], bool, str]] = {
    "an edited package": (_edited, True, f"{_QUANTIZED} is not the package that contract.json names"),
    "no package": (lambda one: shutil.rmtree(one / _QUANTIZED), True, f"{_QUANTIZED} is not there"),
    "no checksums": (lambda one: (one / "SHA256SUMS").unlink(), False, "SHA256SUMS is not there"),
    "no contract": (lambda one: (one / "contract.json").unlink(), False, "contract.json is not there"),
    "another contract": (lambda one: _written(one, context=7), False, "contract.json is not as SHA256SUMS says"),
    "no JSON": (lambda one: (one / "contract.json").write_text("{"), True, "contract.json is not that of a delivery"),
    "too deep": (lambda one: (one / "contract.json").write_text("[" * 10**5), True, "contract.json is not that of a"),
    "a list": (lambda one: (one / "contract.json").write_text("[]"), True, "contract.json has no chat_template"),
    "no functions": (lambda one: _written(one, functions=None), True, "contract.json has no functions"),
    "no words": (lambda one: (one / _TOKENIZER).unlink(), False, f"{_TOKENIZER} is not there"),
    "no words, summed": (lambda one: (one / _TOKENIZER).unlink(), True, f"{_TOKENIZER} is not there"),
    "other words": (lambda one: flip(one / _TOKENIZER), False, f"{_TOKENIZER} is not as SHA256SUMS says"),
    "other words, summed": (lambda one: flip(one / _TOKENIZER), True, "is not the file that contract.json names"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_the_python_host_says_in_a_line_what_is_damaged(delivered: Path, tmp_path: Path, damage: str) -> None:
    """Before it loads anything: the interpreter is started without the packages that it needs."""
    made = shutil.copytree(delivered, tmp_path / "out")
    spoil, summed, said = DAMAGED[damage]
    spoil(made)
    if summed:
        (made / "SHA256SUMS").unlink()
        lines = [f"{digest}  {name}\n" for name, digest in content(made).items()]
        (made / "SHA256SUMS").write_text("".join(lines), "utf-8")
    host = [sys.executable, "-I", "-S", str(made / "hosts/python/host.py"), "Will it rain?"]
    done = subprocess.run(host, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("is not as it was made; copy it again, or ask for it where it was made\n")


@longer
def test_the_python_host_says_in_a_line_what_no_package_fits(delivered: Path, tmp_path: Path) -> None:
    made = shutil.copytree(delivered, tmp_path / "out")
    contract = json.loads((made / "contract.json").read_text("utf-8"))
    del contract["functions"]["decode"]
    _written(made, functions=contract["functions"])
    (made / "SHA256SUMS").unlink()
    lines = [f"{digest}  {name}\n" for name, digest in content(made).items()]
    (made / "SHA256SUMS").write_text("".join(lines), "utf-8")
    host = [sys.executable, str(made / "hosts/python/host.py"), "Will it rain?"]
    done = subprocess.run(host, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "does not fit the packages (StopIteration" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_python_host_says_what_is_not_installed(delivered: Path) -> None:
    host = [sys.executable, "-I", "-S", str(delivered / "hosts/python/host.py"), "Will it rain?"]
    done = subprocess.run(host, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "numpy is not installed: pip install coremltools transformers jinja2\n"


@pytest.mark.skipif(shutil.which("swiftc") is None, reason="no Swift compiler here (swiftc; Debian 13: swiftlang)")
def test_the_swift_host_compiles_and_speaks_the_protocol(delivered: Path, tmp_path: Path) -> None:
    """Against Core ML where it is; elsewhere against the names and types of it, with a model that adds."""
    host = delivered / "hosts" / "swift" / "Host.swift"
    if sys.platform == "darwin":
        ran("swiftc", "-typecheck", host)
        return
    stub, made = tmp_path / "libCoreML.a", tmp_path / "host"
    ran(
        "swiftc", "-emit-module", "-emit-library", "-static", "-parse-as-library", "-module-name", "CoreML",
        ROOT / "tests/flow/CoreML.swift", "-o", stub, "-emit-module-path", tmp_path / "CoreML.swiftmodule",
    )  # fmt: skip
    ran("swiftc", "-I", tmp_path, host, stub, "-o", made)
    contract = delivery.load(delivered)
    # whose model keeps its cache: the same answers
    keeping = tmp_path / "keeping"
    shutil.copytree(delivered / "packages", keeping / "packages")
    kept: Any = program.stateful(cast(Any, contract))
    (keeping / "contract.json").write_text(delivery.dump(kept))
    for prompt in ([1, 20, 30, 40], list(range(1, 34))):
        wanted = [str(one) for one in sums(contract, prompt)]
        for folder in (delivered, keeping):
            assert ran(made, folder, *prompt).stdout.split() == wanted
    for words, why in (([delivered], "usage"), ([delivered, 1, "x"], "x is no id"), ([delivered / "no", 1], "exist")):
        done = subprocess.run([made, *map(str, words)], capture_output=True, text=True)
        assert (done.returncode, why in done.stdout.lower()) == (2, True), done


def ran(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def sums(contract: delivery.Contract, prompt: list[int]) -> list[int]:
    """What the host must answer with the model of CoreML.swift: every slot of its caches is in each sum."""
    cache, said = contract.kv_cache, list[int]()
    parts = [
        layer + 2 * head + 3 * part
        for layer in range(cache.layers)
        for head in range(cache.heads)
        for part in range(cache.head_dim)
    ]
    read = list(prompt)
    token = sum((at + 1) * one for at, one in enumerate(prompt)) % contract.vocab_size
    while token not in contract.stop_ids:
        said.append(token)
        if len(read) + 1 >= cache.context or len(said) == 200:
            break
        kept = sum((slot + 1) * 3 * (one * len(parts) + sum(parts)) for slot, one in enumerate(read))
        read.append(token)
        token = (token + len(read) - 1 + kept) % contract.vocab_size
    return said


# what is refused


def refused(home: Home, ends: int, word: str, **options: Any) -> Result:
    """Asserts how a delivery ends that must not be made, and that nothing of it is left."""
    out = home.root.parent / "out"
    result = home.run("deliver", SPEC, "--to", str(out), **options).ended(ends, word)
    assert not out.exists()
    assert not list(home.root.parent.glob(".kc-tmp-*"))
    return result


def test_a_fail_is_not_delivered(applied: tuple[Home, Result]) -> None:
    result = refused(applied[0], 1, "fail", code=LIGHT)
    assert "only PASS and WAIVED are delivered, and the verdict is FAIL" in result.err
    assert "caws/tier-3/answers-valid" in result.err


def test_what_was_not_decided_is_not_delivered(fresh: Home) -> None:
    fresh.change(core_alone)
    refused(fresh, 2, "no-lock", code=LIGHT)
    fresh.apply("--only", "data").ended(0, "")
    result = refused(fresh, 1, "unfinished", code=LIGHT)
    assert "the run is unfinished" in result.err


@pytest.mark.slow
@longer
def test_of_a_sweep_one_conversion_is_named_and_the_card_speaks_of_that_cell(passed: Home, tmp_path: Path) -> None:
    home = passed.copy(tmp_path / "project")
    recipes = {word: {"quantization.default.weights": word} for word in ("int8", "fp16")}
    home.change(lambda data: data.update(matrix={"recipe": recipes}))
    home.apply().ended(0, "")
    several = refused(home, 2, "usage", code=LIGHT)
    assert "convert@recipe=fp16, convert@recipe=int8" in several.err
    home.run("deliver", SPEC, "--to", str(tmp_path / "out"), "--step", "convert@recipe=fp16").ended(0, "")
    contract = delivery.load(tmp_path / "out")
    assert all("int8" not in one.stored for one in contract.packages)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "verify@recipe=fp16" in card
    assert "recipe=int8" not in card


def test_what_was_forged_is_not_delivered(fresh: Home) -> None:
    fresh.change(core_alone)
    fresh.run("plan", SPEC, code=LIGHT).ended(0, "")
    fresh.apply("--backend", "null").ended(1, "fail")
    refused(fresh, 1, "disagreement", code=LIGHT)


@pytest.fixture
def mine(passed: Home, tmp_path: Path) -> Home:
    return passed.copy(tmp_path / "project")


def _verdict(home: Home) -> None:
    path = home.evidence / "verdict.json"
    path.write_text(path.read_text(encoding="utf-8").replace("cosine", "kosine", 1), encoding="utf-8")


def _report(home: Home) -> None:
    flip(home.evidence / "reports" / "verify.json")


def _package(home: Home) -> None:
    flip(home.stored("convert", "package") / "fp16.mlpackage/Data/com.apple.CoreML/weights/weight.bin")


def _spec(home: Home) -> None:
    home.change(lambda data: data["training"]["stages"][0].update(steps=13))


def _invalid(home: Home) -> None:
    home.change(lambda data: data.update(policy=["caws/core"]))


def _lock(home: Home) -> None:
    path = home.lock
    text = path.read_text(encoding="utf-8")
    assert '"threshold": "0.9999"' in text
    path.write_text(text.replace('"threshold": "0.9999"', '"threshold": "0.5"'), "utf-8")


def _store(home: Home) -> None:
    home.lose("train-kd", "checkpoint")


def _journal(home: Home) -> None:
    flip(home.state / "journal.jsonl")


def _no_state(home: Home) -> None:
    shutil.move(home.state, home.root.parent / "state")


def _no_evidence(home: Home) -> None:
    shutil.rmtree(home.evidence)


def _no_verdict(home: Home) -> None:
    (home.evidence / "verdict.json").unlink()


@pytest.mark.parametrize(
    ("damage", "ends", "word", "said"),
    [
        (_verdict, 1, "disagreement", "verdict.json"),
        (_report, 3, "evidence-broken", "reports/verify.json"),
        (_package, 3, "evidence-broken", "artifact `package` of step `convert` is not what was stored"),
        (_spec, 4, "lock-stale", "train-kd"),
        (_invalid, 1, "invalid", "KC2104"),
        (_lock, 4, "lock-stale", "obligations"),
        (_store, 3, "evidence-broken", "artifact `checkpoint` of step `train-kd` is gone"),
        (_journal, 3, "evidence-broken", "journal.jsonl"),
        (_no_state, 4, "input-absent", "no .kcompiler"),
        (_no_evidence, 2, "no-evidence", "evidence does not exist"),
        (_no_verdict, 3, "evidence-broken", "verdict.json"),
    ],
)
def test_what_is_not_sound_is_not_delivered(
    mine: Home, damage: Callable[[Home], None], ends: int, word: str, said: str
) -> None:
    damage(mine)
    assert said in refused(mine, ends, word, code=LIGHT).err


def test_without_a_rule_about_the_package_there_is_none_to_deliver(mine: Home) -> None:
    folder = mine.root / "policies" / "team" / "light"
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "policies/caws/core/data-held-out", folder / "data-held-out")
    (folder / "pack.yaml").write_text(
        (ROOT / "policies/caws/core/pack.yaml").read_text(encoding="utf-8").replace("caws/core", "team/light"), "utf-8"
    )
    mine.change(lambda data: data.update(policies=["team/light"]))
    mine.apply().ended(0, "")
    result = refused(mine, 1, "undeliverable")
    assert "no blocking rule of this plan is about `verify`" in result.err
    assert "add caws/core" in result.last["next"]


@longer
def test_no_folder_of_anybody_is_touched(mine: Home, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    wrong = (taken, taken / "mine", taken / "mine" / "out", tmp_path / ("n" * 250))
    for place in (*wrong, Path(".kcompiler/out"), Path(f"generated/{NAME}/evidence/out")):
        before = content(mine.root)
        mine.run("deliver", SPEC, "--to", str(place)).ended(2, "unusable-path")
        assert content(mine.root) == before
    assert content(taken) == {"mine": hashlib.sha256(b"mine").hexdigest()}
    mine.run("deliver", SPEC, "--to", str(tmp_path / "a" / "b"), "--step", "verify", code=LIGHT).ended(2, "usage")


def test_a_disk_that_takes_no_more_ends_in_exit_6_and_the_same_command_goes_on(mine: Home, tmp_path: Path) -> None:
    result = refused(mine, 6, "storage-failed", code=FULL)
    assert "larger than this process may write" in result.err
    mine.run("deliver", SPEC, "--to", str(tmp_path / "out")).ended(0, "")
