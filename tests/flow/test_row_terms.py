"""A spec with every divergence and every term that depends on its rows, from its files to an audited verdict."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.flow.world import make
from tests.longer import longer
from tests.tensor.train.test_row_terms import OWN, row

pytestmark = [pytest.mark.tensor, pytest.mark.slow]
DIVERGENCES = ("jsd", "skew_kl", "skew_reverse_kl", "top_k_kl", "acceptance", "tvd", "mse")


def files(folder: Path) -> None:
    """Rows of six sorts; what has two answers stands in a file of pairs."""
    plain, pairs = [], []
    for number in range(420):
        made: dict[str, Any] = dict(row(number))
        kept = {name: made[name] for name in ("prompt", "response", "spans", "wanted") if name in made}
        if "rejected" in made:
            kept |= {"chosen": kept.pop("response"), "rejected": made["rejected"]}
            del kept["spans"]
        (pairs if "rejected" in made else plain).append(json.dumps(kept) + "\n")
    (folder / "rows.jsonl").write_text("".join(plain), encoding="utf-8")
    (folder / "pairs.jsonl").write_text("".join(pairs), encoding="utf-8")


def everything(data: dict[str, Any]) -> None:
    sides = {name: name for name in ("prompt", "chosen", "rejected")}
    common = {"kind": "jsonl", "license": "CC0-1.0"}
    data["data"] = {
        "sources": [
            {"name": "rows", "path": "rows.jsonl", **common},
            {"name": "pairs", "path": "pairs.jsonl", "fields": sides, **common},
        ],
        "targets": ["response", "claims", "forbidden", "integration"],
    }
    terms = [{"term": "ce_truth", "weight": 0.3}, *({"term": name, "weight": 0.05} for name in (*DIVERGENCES, *OWN))]
    late = next(one for one in terms if one["term"] == "early_tool")
    late |= {"weight": 0.0, "schedule": {"to": 0.05, "from_step": 0, "until_step": 20}}
    next(one for one in terms if one["term"] == "top_k_kl")["tail"] = "auto"
    data["teacher"]["steps"] = 200
    data["teacher"]["optimizer"]["learning_rate"] = 1e-2
    data["training"]["stages"][0] |= {"losses": terms, "steps": 200}
    data["evaluation"] = {"suites": [{"use": "language_model"}], "baselines": ["ce_only"]}
    data["budgets"]["wall_s"] = 600
    data["policies"] = ["caws/core", "training"]


@longer
def test_every_term_of_the_rows_is_trained_judged_and_audited(tmp_path: Path) -> None:
    home = make(tmp_path / "project")
    files(home.spec.parent)
    home.change(everything)
    applied = home.apply().ended(0, "")
    assert "PASS" in applied.out
    home.audit().ended(0, "")
    report = json.loads((home.evidence / "reports" / "train-kd.json").read_text(encoding="utf-8"))["data"]["terms"]
    for name in (*DIVERGENCES, *OWN):
        assert report[name]["final"]["value"] < report[name]["first"]["value"], name
    assert report["top_k_kl"]["settled"]["asked"] == "auto"
    share = report["code_mode"]["learnt_rows"]
    assert 0 < share["k"] < share["n"] / 2
    verdict = json.loads((home.evidence / "verdict.json").read_text(encoding="utf-8"))
    held = [one["outcome"] for one in verdict["outcomes"] if one["rule"].startswith("training/code-mode-share")]
    assert held == ["pass", "pass"]
