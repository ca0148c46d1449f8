"""Facts → in-toto statements: SLSA provenance of each step, a test result for each report, a verification summary.

A subject is a file by the SHA-256 of its bytes, which anybody can compute. What is a folder has the digest of its tree
under `kcompiler_tree_v1`: SHA-256 of "kc.tree.v1", a zero byte, and the RFC 8785 text of the list of its files.
https://in-toto.io/Statement/v1, https://slsa.dev/spec/v1.0/provenance, https://slsa.dev/spec/v1.0/verification_summary,
https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler import dsse
from kcompiler.export.facts import MODELS, Facts
from kcompiler.plan import APPLY
from runtime import digest

PROVENANCE = "https://slsa.dev/provenance/v1"
RESULT = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY = "https://slsa.dev/verification_summary/v1"
TREE = "kcompiler_tree_v1"
_STEP, _PARTY = "urn:kcompiler:step:v1", "urn:kcompiler"


def _hex(pin: str) -> str:
    return pin.removeprefix("sha256:")


def _tree(name: str, artifact: str, **more: Any) -> dict[str, Any]:
    """A descriptor of a folder."""
    return {"name": name, "uri": f"urn:kcompiler:artifact:{artifact}", "digest": {TREE: _hex(artifact)}, **more}


def _files(facts: Facts, artifact: str, below: str) -> dict[str, str]:
    return {f"{below}/{one['path']}": one["digest"] for one in facts.trees[artifact]}


def provenance(facts: Facts) -> dict[str, dict[str, Any]]:
    """Step → the statement of how its files were made."""
    return {step: _made(facts, step, record) for step, record in facts.records.items()}


def _made(facts: Facts, step: str, record: Mapping[str, Any]) -> dict[str, Any]:
    planned = next(one for one in facts.plan["steps"] if one["id"] == step)
    made_by = facts.plan["made_by"]
    subjects: dict[str, str] = {}
    for port, give in record["gives"].items():
        subjects |= _files(facts, give["digest"], f"{step}/{port}")
    predicate = {
        "buildDefinition": {
            "buildType": _STEP,
            "externalParameters": {
                "spec": facts.plan["asked"]["spec"],
                "plan": facts.digest,
                "step": step,
                "kind": record["kind"],
                "params": planned["params"],
            },
            "internalParameters": {
                "action": record["action"],
                "backend": record["backend"],
                "code": planned["code"],
                "forged": record["forged"],
                "seed": planned["seed"],
            },
            "resolvedDependencies": [*_taken(facts, planned), *_toolchain(facts)],
        },
        "runDetails": {
            "builder": {
                "id": f"{_PARTY}:executor:{facts.plan['asked']['executor']}",
                "version": {made_by["name"]: made_by["version"]},
            },
            "metadata": {"invocationId": f"{_PARTY}:action:{record['action']}", "finishedOn": facts.committed[step]},
            "byproducts": [
                _tree(port, give["digest"], annotations={"kind": give.get("kind", "")})
                for port, give in sorted(record["gives"].items())
            ],
        },
    }
    return dsse.statement(subjects, PROVENANCE, predicate)


def _taken(facts: Facts, planned: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    inputs = {f"input:{one['name']}": one for one in facts.plan["inputs"]}
    for port, reference in sorted(planned["takes"].items()):
        if reference in inputs:
            one = inputs[reference]
            pin = {"sha256" if one["kind"] == "file" else TREE: _hex(one["digest"])}
            yield {"name": port, "digest": pin, "annotations": {"path": one["path"], "license": one["license"]}}
        else:
            step, _, given = reference.removeprefix("step:").partition("#")
            yield _tree(port, facts.records[step]["gives"][given]["digest"], annotations={"from": reference})


def _toolchain(facts: Facts) -> Iterator[dict[str, Any]]:
    for name, version in sorted(facts.plan["toolchain"].items()):
        yield {"name": name, "uri": f"pkg:pypi/{name.replace('_', '-').lower()}@{version}"}


def results(facts: Facts) -> dict[str, dict[str, Any]]:
    """Step → the statement of what the rules found in its report. None for a report that no rule speaks of: the
    predicate knows PASSED, WARNED and FAILED, and none of these is true of it. The manifest lists it: `unjudged`."""
    found: dict[str, dict[str, Any]] = {}
    for step, data in facts.reports.items():
        outcomes = [one for one in facts.verdict["outcomes"] if one["step"] == step]
        if outcomes:
            found[step] = dsse.statement({_report(step): digest.of_bytes(data)}, RESULT, _result(facts, outcomes))
    return found


def unjudged(facts: Facts) -> list[str]:
    """The reports that no rule speaks of, and that have no test result."""
    judged = results(facts)
    return sorted(_report(step) for step in facts.reports if step not in judged)


def _report(step: str) -> str:
    return "run.json" if step == APPLY else f"reports/{step}.json"


def _result(facts: Facts, outcomes: list[Mapping[str, Any]]) -> dict[str, Any]:
    failed = [one["rule"] for one in outcomes if one["blocks"]]
    passed = [one["rule"] for one in outcomes if one["outcome"] == "pass"]
    warned = [one["rule"] for one in outcomes if not one["blocks"] and one["outcome"] != "pass"]
    packs = [
        {"name": one["pack"], "digest": {"kcompiler_pack_v1": _hex(one["digest"])}} for one in facts.plan["policies"]
    ]
    return {
        "result": "FAILED" if failed else "WARNED" if warned else "PASSED",
        "configuration": [{"name": "plan.lock", "digest": {"sha256": _hex(facts.lock_bytes)}}, *packs],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


def summary(facts: Facts, rests: Mapping[str, str]) -> dict[str, Any]:
    """The statement about the models that were made, or the report on the run where none was; `rests` maps each file of
    the export to its SHA-256."""
    subjects: dict[str, str] = {}
    for place, artifact in facts.artifacts(*MODELS).items():
        subjects |= _files(facts, artifact, place)
    run = {"run.json": digest.of_bytes(facts.reports[APPLY])}
    passed = facts.released in ("PASS", "WAIVED")
    made_by, tier = facts.plan["made_by"], facts.plan["asked"]["risk_tier"]
    predicate = {
        "verifier": {"id": f"{_PARTY}:verifier", "version": {made_by["name"]: made_by["version"]}},
        "timeVerified": facts.closed,
        "resourceUri": f"{_PARTY}:plan:{facts.digest}",
        "policy": {
            "uri": f"{_PARTY}:obligations:{facts.verdict['obligations']}",
            "digest": {"kcompiler_obligations_v1": _hex(facts.verdict["obligations"])},
        },
        "inputAttestations": [{"uri": path, "digest": {"sha256": pin}} for path, pin in sorted(rests.items())],
        "verificationResult": "PASSED" if passed else "FAILED",
        "verifiedLevels": [f"KCOMPILER_RISK_TIER_{tier}"] if passed else ["FAILED"],
        "slsaVersion": "1.0",
        # what the words of this project say; consumers ignore what they do not know
        "kcompiler": {"verdict": facts.verdict["verdict"], "released": facts.released},
    }
    return dsse.statement(subjects or run, SUMMARY, predicate)
