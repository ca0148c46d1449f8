"""A document × policy → its claims counted, and a diagnostic for each that its evidence does not bear out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from kcompiler.claims import extract
from kcompiler.claims.agree import HOLDS, wrong
from kcompiler.claims.evidence import Unresolved, resolve
from kcompiler.claims.extract import Anchor, Block, Claim
from kcompiler.claims.policy import Policy, Relation
from kcompiler.diagnostic import Diagnostic, Severity, at, ordered

_NONE = re.compile(r"none\b[\s,:;]*(.*)\Z", re.DOTALL)
_RELATION = re.compile(r"\s(<=|>=|<|>|=)\s")
_ELIDED = {"…", "..."}


@dataclass(frozen=True)
class Checked:
    """What a text claims: how many claims of the counted kinds are anchored and agree, are told without evidence,
    have nothing behind them, or are not what their evidence says."""

    diagnostics: tuple[Diagnostic, ...]
    anchored: int = 0
    told: int = 0
    bare: int = 0
    wrong: int = 0

    @property
    def coverage(self) -> Decimal:
        """Anchored ÷ all that is counted; 1 where nothing is claimed."""
        total = self.anchored + self.told + self.bare + self.wrong
        return Decimal(self.anchored) / total if total else Decimal(1)


def check_document(
    file: str, text: str, *, folder: Path, root: Path, policy: Policy, documents: Collection[Path] = ()
) -> Checked:
    """`file` as shown in messages; anchors and links are looked up in `folder`, named paths in `root`.
    `documents` are all that are checked beside it: none of them is evidence."""
    return _Check(file, text, folder, root, policy, documents).run()


class _Check:
    def __init__(
        self, file: str, text: str, folder: Path, root: Path, policy: Policy, documents: Collection[Path]
    ) -> None:
        self.documents = documents
        self.file, self.text, self.folder, self.root, self.policy = file, text, folder, root, policy
        self.found: list[Diagnostic] = []
        self.anchored = self.told = self.wrong = 0
        self.open: list[Claim] = []
        #: file of the anchor before, in the same block
        self.last = ""

    def run(self) -> Checked:
        document = extract.document(self.text, self.policy)
        for block in document.blocks:
            if block.fenced:
                self._transcript(block.anchors[0], *block.fenced)
            else:
                self._block(block)
        for start, end in document.banned:
            self._say(
                start, end, "KC5605", f"`{self.text[start:end]}` is a superlative that no evidence bears out",
                "say what was measured, with its number and anchor, or leave the word out",
            )  # fmt: skip
        for start, end, path in document.paths:
            self._named(start, end, path)
        return self._counted()

    def _say(self, start: int, end: int, code: str, summary: str, help: str, severity: Severity = "error") -> None:
        place = extract.place(self.text, start, end)
        self.found.append(at(place, code=code, summary=summary, file=self.file, help=help, severity=severity))

    def _counted(self) -> Checked:
        bare = [claim for claim in self.open if claim.kind in self.policy.required]
        total = self.anchored + self.told + self.wrong + len(bare)
        least = Decimal(str(self.policy.coverage_minimum))
        short = self.anchored < least * total
        for claim in bare:
            self._say(
                claim.start, claim.end, "KC5604", f"a {claim.kind} without evidence: {self._quoted(claim)}",
                "put `<!-- evidence: FILE#key -->` behind it, or `<!-- evidence: none, REASON -->`, or leave it out",
                "error" if short else "warning",
            )  # fmt: skip
        if short and not bare and not self.wrong:
            self._say(
                0, 0, "KC5612", f"{self.anchored} of {total} claims have evidence, and at least {least} of them are to",
                "anchor more of what is told, or leave it out",
            )  # fmt: skip
        return Checked(tuple(ordered(self.found)), self.anchored, self.told, len(bare), self.wrong)

    def _quoted(self, claim: Claim) -> str:
        return f"`{' '.join(self.text[claim.start : claim.end].split())}`"

    def _block(self, block: Block) -> None:
        rest, self.last = list(block.claims), ""
        for anchor in block.anchors:
            before = [claim for claim in rest if claim.end <= anchor.start]
            for claim in self._anchor(anchor, before):
                rest.remove(claim)
        for claim in rest:
            if claim.kind == "status":
                self._say(
                    claim.start, claim.end, "KC5606", f"{self._quoted(claim)} stands without evidence",
                    "add `<!-- evidence: FILE -->` behind it: a verdict, a report's datum, a record",
                )  # fmt: skip
        self.open += [claim for claim in rest if claim.kind != "status"]

    def _anchor(self, anchor: Anchor, before: Sequence[Claim]) -> list[Claim]:
        """Judges the claims that an anchor bears out, and gives them."""
        if none := _NONE.match(anchor.text):
            return self._told(anchor, none[1], before)
        targets, self.last = _targets(anchor.text, self.last)
        if not targets or any(not target for target in targets):
            self._grammar(anchor, "an anchor names a file")
            return []
        taken: list[Claim] = []
        for target in reversed(targets):
            relation = _RELATION.search(target)
            mine = [one for one in before if one not in taken and (one.kind == "relation") == bool(relation)]
            if mine:
                taken.append(mine[-1])
                self._judge(anchor, target, mine[-1], relation)
            elif "#" in target or relation:
                self._grammar(anchor, "nothing before it in this paragraph, cell or item is left for it to bear out")
            else:
                try:
                    resolve(target, self.folder, self.root, self.documents)
                except Unresolved as reason:
                    self._lost(anchor, target, reason)
        return taken

    def _grammar(self, anchor: Anchor, why: str) -> None:
        self._say(
            anchor.start, anchor.end, "KC5601", f"this anchor says nothing that can be checked: {why}",
            "`evidence: FILE#dotted.key` right behind the number; several, in their order, parted by `;`",
        )  # fmt: skip

    def _lost(self, anchor: Anchor, target: str, reason: Unresolved) -> None:
        self._say(
            anchor.start, anchor.end, "KC5602", f"`{target}` leads nowhere: {reason}",
            "name a file beside this document and a key that stands in it, or take the claim out",
        )  # fmt: skip

    def _told(self, anchor: Anchor, reason: str, before: Sequence[Claim]) -> list[Claim]:
        if not reason.strip():
            self._grammar(anchor, "`none` needs its reason behind it")
            return []
        kept = [claim for claim in before if claim.kind != "status"]
        self.told += sum(claim.kind in self.policy.required for claim in kept)
        return kept

    def _judge(self, anchor: Anchor, target: str, claim: Claim, relation: re.Match[str] | None) -> None:
        before = self.anchored
        try:
            if relation:
                sides = target[: relation.start()].strip(), target[relation.end() :].strip()
                self._related(claim, sides, _relation(relation[1]))
            elif claim.kind == "status":
                self._status(claim, target)
            else:
                found = resolve(target, self.folder, self.root, self.documents)
                if why := wrong(claim, found, self.policy):
                    code = "KC5607" if claim.compare else "KC5603"
                    self._say(
                        claim.start, claim.end, code, f"{self._quoted(claim)} is not what `{target}` says: {why}",
                        "write what the evidence says, or bring the evidence up to date",
                    )  # fmt: skip
                elif claim.kind in self.policy.required:
                    self.anchored += 1
        except Unresolved as reason:
            self._lost(anchor, target, reason)
        self.wrong += claim.kind in self.policy.required and self.anchored == before

    def _related(self, claim: Claim, sides: tuple[str, str], relation: Relation) -> None:
        first, second = (resolve(side, self.folder, self.root, self.documents) for side in sides)
        if first.unit != second.unit:
            raise Unresolved(f"one is in {first.unit or 'nothing'}, the other in {second.unit or 'nothing'}")
        allowed = self.policy.relation(claim.word, first.unit)
        if not allowed:
            unit = first.unit or "no unit"
            raise Unresolved(
                f"of what is in {unit}, `{claim.word}` has no direction: say `higher than` or `lower than`"
            )
        if relation not in allowed or not HOLDS[relation](first.number, second.number):
            why = f"{first.number:f} {relation} {second.number:f}"
            wanted = "" if relation in allowed else f", and `{claim.word}` means {' or '.join(allowed)}"
            self._say(
                claim.start, claim.end, "KC5607", f"{self._quoted(claim)} does not hold: {why}{wanted}",
                "write which of both the evidence puts first",
            )  # fmt: skip
        elif "relation" in self.policy.required:
            self.anchored += 1

    def _status(self, claim: Claim, target: str) -> None:
        found = resolve(target, self.folder, self.root, self.documents)
        shown = self.policy.shows[found.kind]
        if self.policy.rank(claim.word) > self.policy.rank(shown):
            self._say(
                claim.start, claim.end, "KC5606",
                f"{self._quoted(claim)} ({claim.word}) stands above its evidence: `{target}` shows `{shown}`",
                f"say that it is {shown}, or bring evidence that shows `{claim.word}`",
            )  # fmt: skip

    def _named(self, start: int, end: int, path: str) -> None:
        """A path may stand for several: `generated/<name>/plan.lock`; one of them is to be there."""
        pattern = "/".join(
            "**" if re.fullmatch(r"<[^>]*>", part) else re.sub(r"<[^>]*>", "*", part)
            for part in path.rstrip("/").split("/")
        )
        folders = {self.folder, self.root}
        try:
            known = any(next(folder.glob(pattern), None) is not None for folder in folders)
        except (ValueError, OSError, NotImplementedError):
            known = False
        if not known:
            self._say(
                start, end, "KC5608", f"`{path}` does not exist",
                "write the path as it is now, from the top of the project",
            )  # fmt: skip

    def _transcript(self, anchor: Anchor, start: int, end: int) -> None:
        try:
            record = resolve(anchor.text, self.folder, self.root, self.documents)
            if record.kind != "record":
                raise Unresolved("a fenced block is compared with a record, a file of text")
        except Unresolved as reason:
            self._lost(anchor, anchor.text, reason)
            return
        known = [line.split() for line in record.lines]
        offset = start
        for line in self.text[start:end].splitlines(keepends=True):
            remark = _remark(line, known)
            stripped = line.strip()
            if remark is None:
                first = offset + len(line) - len(line.lstrip())
                self._say(
                    first, first + len(stripped), "KC5609", f"`{anchor.text}` has no line that begins like this",
                    "paste it anew; a remark stands behind two spaces and `# `; `…` alone leaves lines out",
                )  # fmt: skip
            elif remark:
                base = offset + line.index(remark)
                for claim in extract.numerals(remark, self.policy):
                    if claim.kind not in ("status", "bare"):
                        self.open.append(_moved(claim, base))
            else:
                self.anchored += sum(
                    claim.kind in self.policy.required for claim in extract.numerals(stripped, self.policy)
                )
            offset += len(line)


def _moved(claim: Claim, by: int) -> Claim:
    from dataclasses import replace

    return replace(claim, start=claim.start + by, end=claim.end + by)


def _relation(text: str) -> Relation:
    known: dict[str, Relation] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "="}
    return known[text]


def _targets(text: str, file: str) -> tuple[list[str], str]:
    """The targets of an anchor, and the last file; one that begins with `#` is of the file before it."""
    found = []
    for part in text.split(";"):
        relation = _RELATION.search(part)
        sides = [part[: relation.start()], part[relation.end() :]] if relation else [part]
        whole = []
        for side in sides:
            target = file + side.strip() if side.strip().startswith("#") else side.strip()
            file = target.partition("#")[0]
            whole.append(target)
        found.append(f" {relation[1]} ".join(whole) if relation else whole[0])
    return found, file


def _remark(line: str, known: Sequence[Sequence[str]]) -> str | None:
    """What stands behind the recorded words of a line, "" for nothing, None for a line that is not recorded."""
    if not line.strip() or line.strip() in _ELIDED:
        return ""
    quoted, _, remark = line.partition("  # ")
    words = quoted.split()
    return remark.strip() if any(list(row[: len(words)]) == words for row in known) else None
