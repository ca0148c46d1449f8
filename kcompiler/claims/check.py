"""A document × policy → its claims counted, and a diagnostic for each that its evidence does not bear out."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from kcompiler.claims import extract, senses, stated, subjects
from kcompiler.claims.agree import HOLDS, numbers_of, quoted, wrong
from kcompiler.claims.current import Standing, standing
from kcompiler.claims.evidence import Found, Unresolved, decimal_of, resolve, text_of
from kcompiler.claims.extract import Anchor, Block, Claim
from kcompiler.claims.paths import named
from kcompiler.claims.policy import Policy, Relation
from kcompiler.claims.transcript import ELIDED, following
from kcompiler.diagnostic import Diagnostic, Severity, at, ordered

_NONE = re.compile(r"none\b[\s,:;]*(.*)\Z", re.DOTALL)
_RELATION = re.compile(r"\s(<=|>=|<|>|=)\s")


@dataclass(frozen=True)
class Checked:
    """What a text claims: how many claims of the counted kinds are anchored and agree, are told without evidence,
    have nothing behind them, or are not what their evidence says."""

    diagnostics: tuple[Diagnostic, ...]
    anchored: int = 0
    told: int = 0
    bare: int = 0
    wrong: int = 0
    #: of those that are anchored, by evidence of a run of other code, or of a plan that is not committed
    earlier: int = 0
    #: lines of answers that were read
    answers: int = 0

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


class Stale(Unresolved):
    """Evidence that no apply of today would give; `help` is what renews it."""

    def __init__(self, why: str, help: str, *, first: bool) -> None:
        super().__init__(why)
        self.help, self.first = help, first


class _Check:
    def __init__(
        self, file: str, text: str, folder: Path, root: Path, policy: Policy, documents: Collection[Path]
    ) -> None:
        self.documents = documents
        self.file, self.text, self.folder, self.root, self.policy = file, text, folder, root, policy
        self.found: list[Diagnostic] = []
        self.places = extract.Places(text)
        self.known: dict[str, bool] = {}
        self.counted: set[tuple[str, str, tuple[str, ...]]] = set()
        self.anchored = self.told = self.wrong = self.earlier = 0
        #: name of a file of evidence → how it stands to the committed plan
        self.standings: dict[str, Standing] = {}
        #: of those that are of an earlier run, the anchor that names it first
        self.old: list[tuple[Anchor, str, Standing]] = []
        self.open: list[Claim] = []
        #: claims of this block, each with what its evidence says
        self.borne: list[stated.Borne] = []
        #: file of the anchor before, in the same block
        self.last = ""

    def run(self) -> Checked:
        document = extract.document(self.text, self.policy)
        for block in document.blocks:
            if block.fenced is not None:
                self._transcript(block.anchors[0], block.fenced)
            else:
                self._block(block)
        for start, end, word in document.banned:
            self._say(
                start, end, "KC5605", f"`{word}` is a superlative that no evidence bears out",
                "say what was measured, with its number and anchor, or leave the word out",
            )  # fmt: skip
        for start, end, path in document.paths:
            self._named(start, end, path)
        for anchor, name, stands in self.old:
            self._say(
                *anchor.source, "KC5614", f"`{name}` is of an earlier run: {stands.earlier}",
                f"to have it of today: kcompiler apply {stands.spec}, then kcompiler claims --renew {self.file}"
                if stands.spec else "commit the plan that it is of", "warning",
            )  # fmt: skip
        return self._counted()

    def _say(self, start: int, end: int, code: str, summary: str, help: str, severity: Severity = "error") -> None:
        place = self.places.of(start, end)
        self.found.append(at(place, code=code, summary=summary, file=self.file, help=help, severity=severity))

    def _counted(self) -> Checked:
        bare = [claim for claim in self.open if claim.kind in self.policy.required]
        total = self.anchored + self.told + self.wrong + len(bare)
        least = Decimal(str(self.policy.coverage_minimum))
        short = self.anchored < least * total
        for claim in bare:
            self._say(
                *claim.source, "KC5604", f"a {claim.kind} without evidence: {self._quoted(claim)}",
                "put `<!-- evidence: FILE#key -->` behind it, or `<!-- evidence: none, REASON -->`, or leave it out",
                "error" if short else "warning",
            )  # fmt: skip
        if short and not bare and not self.wrong:
            self._say(
                0, 0, "KC5612", f"{self.anchored} of {total} claims have evidence, and at least {least} of them are to",
                "anchor more of what is told, or leave it out",
            )  # fmt: skip
        return Checked(tuple(ordered(self.found)), self.anchored, self.told, len(bare), self.wrong, self.earlier)

    def _quoted(self, claim: Claim) -> str:
        return f"`{claim.said}`"

    def _block(self, block: Block) -> None:
        rest, self.last, self.borne = [one for one in block.claims if one.kind not in stated.BESIDE], "", []
        for anchor in block.anchors:
            before = [claim for claim in rest if claim.end <= anchor.start]
            for claim in self._anchor(anchor, before, block):
                rest.remove(claim)
        for claim in (one for one in rest if one.kind == "status"):
            # `was measured at 0.9 s`: what bears out the number says how it was had
            said = [
                (target, sides[0]) for one, target, sides in self.borne if 0 <= one.start - claim.end < 3 and target
            ]
            if said and claim.word in ("estimated", "measured"):
                self._status(claim, *said[0])
            else:
                self._say(
                    *claim.source, "KC5606", f"{self._quoted(claim)} stands without evidence",
                    "add `<!-- evidence: FILE -->` behind it: a verdict, a report's datum, a record",
                )  # fmt: skip
        for claim, why, help in stated.unshown(block, self.borne):
            self._say(*claim.source, "KC5606", f"{self._quoted(claim)} is not shown: {why}", help)
        self.open += [claim for claim in rest if claim.kind != "status"]

    def _anchor(self, anchor: Anchor, before: Sequence[Claim], block: Block) -> list[Claim]:
        """Judges the claims that an anchor bears out, and gives them."""
        if none := _NONE.match(anchor.text):
            return self._told(anchor, none[1], before)
        targets, self.last = _targets(anchor.text, self.last)
        if not targets or any(not target for target in targets):
            self._grammar(anchor, "an anchor names a file")
            return []
        taken: list[Claim] = []
        for target in reversed(targets):
            relation = None if target.startswith("= ") else _RELATION.search(target)
            mine = [one for one in before if one not in taken and (one.kind == "relation") == bool(relation)]
            if mine:
                taken.append(mine[-1])
                self._judge(anchor, target, mine[-1], relation, block)
            elif "#" in target or relation:
                self._grammar(anchor, "nothing before it in this paragraph, cell or item is left for it to bear out")
            else:
                try:
                    self._resolve(anchor, target)
                except Unresolved as reason:
                    self._lost(anchor, target, reason)
        return taken

    def _grammar(self, anchor: Anchor, why: str) -> None:
        self._say(
            *anchor.source, "KC5601", f"this anchor says nothing that can be checked: {why}",
            "`evidence: FILE#dotted.key` right behind the number; several, in their order, parted by `;`",
        )  # fmt: skip

    def _resolve(self, anchor: Anchor, target: str) -> Found:
        """What stands at a place of evidence that an apply of today would give. Raises Unresolved."""
        name = target.partition("#")[0]
        first = name not in self.standings
        if first:
            text_of(self.folder / name, self.root)
            self.standings[name] = standing((self.folder / name).resolve(), self.root.resolve())
        stands = self.standings[name]
        if stands.stale:
            renew = f"kcompiler apply {stands.spec}" if stands.spec else "apply the spec that it is of"
            help = f"{renew}, then kcompiler claims --renew {self.file}, and write what the evidence says then"
            raise Stale(stands.stale, help, first=first)
        if stands.earlier and first:
            self.old.append((anchor, name, stands))
        return resolve(target, self.folder, self.root, self.documents)

    def _lost(self, anchor: Anchor, target: str, reason: Unresolved) -> None:
        if isinstance(reason, Stale):
            if reason.first:
                name = target.partition("#")[0]
                self._say(*anchor.source, "KC5613", f"`{name}` is no evidence any more: {reason}", reason.help)
            return
        self._say(
            *anchor.source, "KC5602", f"`{target}` leads nowhere: {reason}",
            "name a file beside this document and a key that stands in it, or take the claim out",
        )  # fmt: skip

    def _told(self, anchor: Anchor, reason: str, before: Sequence[Claim]) -> list[Claim]:
        if not reason.strip():
            self._grammar(anchor, "`none` needs its reason behind it")
            return []
        kept = [claim for claim in before if claim.kind != "status"]
        self.told += sum(claim.kind in self.policy.required for claim in kept)
        return kept

    def _judge(self, anchor: Anchor, target: str, claim: Claim, relation: re.Match[str] | None, block: Block) -> None:
        before = len(self.found)
        try:
            if relation:
                sides = target[: relation.start()].strip(), target[relation.end() :].strip()
                self._related(anchor, claim, sides, _relation(relation[1]), block)
            elif claim.kind == "status":
                self._status(claim, target, self._resolve(anchor, target))
            else:
                quote = target.startswith("= ")
                found = self._resolve(anchor, target.removeprefix("= "))
                self.borne.append((claim, target.removeprefix("= "), (found,)))
                self._untold(claim, block, found)
                other = "" if quote else self._of_another(anchor, claim, target, found, block)
                if why := (quoted if quote else wrong)(claim, found, self.policy) or other:
                    code = "KC5607" if claim.compare else "KC5603"
                    self._say(
                        *claim.source, code, f"{self._quoted(claim)} is not what `{target}` says: {why}",
                        "write what the evidence says, or bring the evidence up to date",
                    )  # fmt: skip
                else:
                    self._counts(claim, target)
        except Unresolved as reason:
            self._lost(anchor, target, reason)
        else:
            if len(self.found) == before:
                return
        self.wrong += claim.kind in self.policy.required

    def _untold(self, claim: Claim, block: Block, found: Found) -> None:
        if why := stated.untold(block.text, claim.start, claim.end, block.context, found, self.policy):
            self._say(
                *claim.source, "KC5606", f"{self._quoted(claim)} stands above its evidence: {why}",
                "write `estimated` right beside it, or bring evidence that was measured",
            )  # fmt: skip

    def _of_another(self, anchor: Anchor, claim: Claim, target: str, found: Found, block: Block) -> str:
        """Why the evidence is of another quantity than is named beside the number, or of another number of items."""
        start, end = claim.start, claim.end
        if named := subjects.mismeasured(block.text, start, end, target, block.context, self.policy):
            return f"it is another quantity than `{named}`"
        since = max((one.end for one in block.claims if one.numbers and one.end <= start), default=0)
        if named := subjects.of_other(block.text, since, start, end, target, block.context, self.policy):
            return f"it is not of `{named}`"
        if why := senses.of_another(claim, since, target, found, block, self.policy):
            return why
        if not stated.of_a_test(block.text, start, found, target):
            return "it is no p of a test"
        if claim.kind == "share":
            return ""
        for at_, behind, numeral in subjects.counted(block.text, start, end):
            if any(at_ < one.start <= behind + 1 for one in block.anchors if one is not anchor):
                continue  # it has evidence of its own
            known = numbers_of(found, self.policy)
            if known and decimal_of(numeral) not in known:
                return f"it is of {' or '.join(f'{one:f}' for one in known)} items, and not of {numeral}"
        return ""

    def _counts(self, claim: Claim, target: str) -> None:
        """What is said again of the same evidence counts once."""
        if claim.kind in self.policy.required and (target, claim.kind, claim.numbers) not in self.counted:
            self.counted.add((target, claim.kind, claim.numbers))
            self.anchored += 1
            names = [part.partition("#")[0] for part in _RELATION.sub(";", target.removeprefix("= ")).split(";")]
            self.earlier += any(self.standings[name].earlier for name in names if name in self.standings)

    def _related(self, anchor: Anchor, claim: Claim, sides: tuple[str, str], relation: Relation, block: Block) -> None:
        first, second = (self._resolve(anchor, side) for side in sides)
        self.borne.append((claim, "", (first, second)))
        for found in (first, second):
            self._untold(claim, block, found)
        if first.unit != second.unit:
            raise Unresolved(f"one is in {first.unit or 'nothing'}, the other in {second.unit or 'nothing'}")
        allowed = self.policy.relation(claim.word, first.unit)
        if not allowed:
            unit = first.unit or "no unit"
            raise Unresolved(
                f"of what is in {unit}, `{claim.word}` has no direction: say `higher than` or `lower than`"
            )
        if astray := subjects.astray(block.text, claim.start, claim.end, sides, self.policy):
            self._say(
                *claim.source, "KC5607", f"{self._quoted(claim)} is said of other things than are compared: {astray}",
                "let the evidence name, left and right, what the words before and behind name",
            )  # fmt: skip
        elif said := senses.reversed_relation(block.text, claim.start, sides, self.policy):
            self._say(
                *claim.source, "KC5607", f"{self._quoted(claim)} is said of `{said}`, and the opposite is compared",
                "name the evidence that counts what the words say, or turn the words",
            )  # fmt: skip
        elif relation not in allowed or not HOLDS[relation](first.number, second.number):
            why = f"{first.number:f} {relation} {second.number:f}"
            wanted = "" if relation in allowed else f", and `{claim.word}` means {' or '.join(allowed)}"
            self._say(
                *claim.source, "KC5607", f"{self._quoted(claim)} does not hold: {why}{wanted}",
                "write which of both the evidence puts first",
            )  # fmt: skip
        else:
            self._counts(claim, f"{sides[0]} {relation} {sides[1]}")

    def _status(self, claim: Claim, target: str, found: Found) -> None:
        if stated.is_none(claim, target, found):
            return
        shown = self.policy.shows[found.kind]
        if self.standings[target.partition("#")[0]].earlier:
            # what was measured or judged was so then
            shown = min(shown, self.policy.shows["record"], key=self.policy.rank)
        if self.policy.rank(claim.word) > self.policy.rank(shown):
            self._say(
                *claim.source, "KC5606",
                f"{self._quoted(claim)} ({claim.word}) stands above its evidence: `{target}` shows `{shown}`",
                f"say that it is {shown}, or bring evidence that shows `{claim.word}`",
            )  # fmt: skip

    def _named(self, start: int, end: int, path: str) -> None:
        """A path may stand for several: `generated/<name>/plan.lock`; one of them is to be there."""
        if path not in self.known:
            self.known[path] = named(path, {self.folder, self.root}, self.root)
        if not self.known[path]:
            self._say(
                start, end, "KC5608", f"`{path}` does not exist in this project",
                "write the path as it is now, from the top of the project",
            )  # fmt: skip

    def _transcript(self, anchor: Anchor, quoted: Sequence[tuple[str, int]]) -> None:
        try:
            record = self._resolve(anchor, anchor.text)
            if record.kind != "record":
                raise Unresolved("a fenced block is compared with a record, a file of text")
        except Unresolved as reason:
            self._lost(anchor, anchor.text, reason)
            return
        at, skipped = 0, False
        rows = [line.split() for line in record.lines]
        places: dict[tuple[str, ...], list[int]] = {}
        for index, row in enumerate(rows):
            places.setdefault(tuple(row), []).append(index)
        for line, source in quoted:
            if not line.strip():
                continue
            if line.strip() in ELIDED:
                skipped = True
                continue
            quote, _, remark = line.partition("  # ")
            first = source + len(line) - len(line.lstrip())
            next_at, why = following(quote.split(), rows, places, at, skipped)
            if why:
                self._say(
                    first, first + len(line.strip()), "KC5609", f"`{anchor.text}` {why}",
                    "paste it anew, whole lines in their order; a remark stands behind two spaces and `# `; `…` stands "
                    "for the lines, or the end of a line, that are left out",
                )  # fmt: skip
            else:
                at, skipped = next_at + 1, False
            base = source + line.index(remark) if remark else 0
            for claim in extract.numerals(remark, self.policy):
                if claim.kind not in ("status", "bare", *stated.BESIDE):
                    there = (base + claim.start, base + claim.end)
                    self.open.append(replace(claim, said=remark[claim.start : claim.end], source=there))
        left = [row for row in rows[at:] if row]
        if left and not skipped and quoted:
            last = quoted[-1][1]
            self._say(
                last, last + 1, "KC5609", f"`{anchor.text}` goes on, with `{' '.join(left[0])[:60]}`",
                "write `…` as the last line where the end of a record is left out",
            )  # fmt: skip


def _relation(text: str) -> Relation:
    known: dict[str, Relation] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "="}
    return known[text]


def _targets(text: str, file: str) -> tuple[list[str], str]:
    """The targets of an anchor, and the last file; one that begins with `#` is of the file before it."""
    found = []
    for part in (part.strip() for part in text.split(";")):
        quote, part = ("= ", part[2:]) if part.startswith("= ") else ("", part)
        relation = None if quote else _RELATION.search(part)
        sides = [part[: relation.start()], part[relation.end() :]] if relation else [part]
        whole = []
        for side in sides:
            target = file + side.strip() if side.strip().startswith("#") else side.strip()
            file = target.partition("#")[0]
            whole.append(target)
        found.append(f" {relation[1]} ".join(whole) if relation else quote + whole[0])
    return found, file
