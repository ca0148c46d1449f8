"""The register of gates, and packs of rules → pages in markdown for people who ask what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kcompiler import tables
from kcompiler.diff.direction import threshold
from kcompiler.diff.packs import plain
from kcompiler.policy.load import LoadedPack, LoadedRule
from kcompiler.tables import Registered

#: state → what a page says of the gates in it
STATES = {
    "rule": "a rule asks what the texts ask",
    "another": "a rule asks something else, and says why",
    "built in": "the compiler or the machine refuses, without a rule",
    "waits": "no report says it yet",
}


def register(packs: Iterable[LoadedPack]) -> str:
    """Every gate that the project's founding texts name, with its state here."""
    rules = {rule.name: rule for pack in packs for rule in pack.rules}
    gates = tables.gates().gates
    lines = [
        "# The gates of the field",
        "",
        "Written by `kcompiler policy doc --to generated/reference/gates.md`: from `kcompiler/tables/gates.yaml` and",
        "the packs in `policies/`.",
        "",
        f"The project's founding texts name {len(gates)} gates.",
        "",
        "| state | gates | means |",
        "| --- | --- | --- |",
        *(f"| {state} | {sum(one.state == state for one in gates)} | {text} |" for state, text in STATES.items()),
        "",
        "| gate | the texts ask | without the datum | state | here |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in gates:
        cells = [f"`{one.id}`<br>{one.title}", one.said, one.missing, one.state, "<br>".join(_here(one, rules))]
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _here(gate: Registered, rules: Mapping[str, LoadedRule]) -> list[str]:
    found = []
    for one in gate.rules:
        asked = threshold(plain(rules[one.rule]))
        found.append(f"`{one.rule}`: {asked}{f' ({one.why})' if one.why else ''}")
    found += [f"built in: `{one}`" for one in gate.built_in]
    return [*found, *([f"waits for {gate.awaits}"] if gate.awaits else [])]


def packs(found: Sequence[LoadedPack]) -> str:
    """Every rule of some packs: what it is about, what it asks, when, and what helps."""
    lines: list[str] = []
    for pack in found:
        tiers = ", ".join(map(str, pack.pack.risk_tiers))
        lines += [f"# {pack.pack.name}: {pack.pack.title}", ""]
        lines += [pack.pack.description.strip(), ""] if pack.pack.description else []
        lines += [f"Version {pack.pack.version}, for risk tier {tiers}, {len(pack.rules)} rules.", ""]
        if pack.pack.strengthens:
            lines += [f"All rules of `{pack.pack.strengthens}` belong to it, as they are or stronger.", ""]
        lines += ["| rule | on | asks | mode | when | what helps |", "| --- | --- | --- | --- | --- | --- |"]
        for rule in pack.rules:
            asked = threshold(plain(rule))
            cells = [f"`{rule.rule.id}`<br>{rule.rule.title}", f"`{rule.rule.on}`", asked, rule.rule.mode]
            lines.append(f"| {' | '.join(_cell(one) for one in [*cells, _when(rule), rule.rule.remedy])} |")
        lines.append("")
    return "\n".join(lines)


def _when(loaded: LoadedRule) -> str:
    said = [one.said for _, one in loaded.rule.conditions]
    return (
        " and ".join([*said, *([f"for steps with {loaded.rule.where.said}"] if loaded.rule.where else [])]) or "always"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
