"""The reports that README quotes, made anew: every spec is applied from nothing, its reports are put into
`generated/NAME/quoted`, and the numbers of README become what they say.

    python -m tests.bench.quoted                    all; about 15 CPU minutes
    python -m tests.bench.quoted eight-ball         of some
    python -m tests.bench.quoted --only-write       README alone, from the reports that lie there

What is applied is a copy of `specs/` in a temporary project, so that nothing is reused and nothing of this one is touched. A
number keeps the digits that it is written with; a sentence that is not true any more (`less often than`, `all`) is told at the
end, and is for a person to write. Exit 0 when `kcompiler claims README.md` finds nothing, else 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from kcompiler import lock
from kcompiler.claims import check, shipped
from kcompiler.claims.agree import agrees
from kcompiler.claims.evidence import Found, Unresolved, number_of
from kcompiler.claims.extract import Anchor, Block, Claim

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "README.md"
#: in the order in which they can be made: the last needs the judge before it
SPECS = {
    "eight-ball": "specs/eight-ball.yaml",
    "toy-tools": "specs/toy-tools.yaml",
    "gsm8k-lm": "specs/gsm8k-lm.yaml",
    "word-sums": "specs/word-sums.yaml",
    "toy-judge": "specs/toy-judge.yaml",
    "change-notes": "specs/judged/change-notes.yaml",
}
JUDGE, JUDGED = "toy-judge", "change-notes"


def kcompiler(project: Path, *arguments: str) -> str:
    """What a command printed. Raises SystemExit where it does not end with 0."""
    print("kcompiler", *arguments, flush=True)
    around = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "kcompiler", *arguments], cwd=project, env=around, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        print(done.stdout[-3000:])
        raise SystemExit(f"exit {done.returncode}: nothing was taken from it")
    return done.stdout


def made(project: Path, name: str) -> None:
    """One spec applied, and its quoted reports taken from that run."""
    printed = kcompiler(project, "apply", SPECS[name])
    there, quoted = project / "generated" / name, ROOT / "generated" / name / "quoted"
    committed = ROOT / "generated" / name / "plan.lock"
    of_run = lock.plan_digest(lock.read(there / "plan.lock"))
    if committed.is_file() and lock.plan_digest(lock.read(committed)) != of_run:
        raise SystemExit(f"the committed lock is another: kcompiler plan {SPECS[name]}, then this again")
    for path in sorted(quoted.iterdir()):
        if path.name == "apply.txt":
            path.write_text(printed, encoding="utf-8")
        elif path.suffix == ".json" and path.name != "run.json":
            shutil.copyfile(there / "evidence" / "reports" / path.name, path)
    shutil.copyfile(there / "evidence" / "run.json", quoted / "run.json")
    shutil.copyfile(there / "plan.lock", quoted / "plan.lock")


def delivered(project: Path) -> None:
    """The judge, where the spec that it judges looks for it."""
    kcompiler(project, "deliver", SPECS[JUDGE], "--to", "out/judge")
    folder = project / "out/judge/huggingface"
    (project / ".kcompiler/models.toml").write_text(f'{JUDGE} = "{folder}"\n', encoding="utf-8")


class Rewritten(check._Check):  # one who reads what `claims` reads, and notes what it should say
    """A document → the changes, as places of its text, that make its numbers those of their evidence."""

    def __init__(self, text: str) -> None:
        super().__init__(DOCUMENT.name, text, ROOT, ROOT, shipped(), ())
        self.changes: dict[tuple[int, int], str] = {}

    def _judge(self, anchor: Anchor, target: str, claim: Claim, relation: re.Match[str] | None, block: Block) -> None:
        if not relation and claim.kind != "status" and not claim.compare and not target.startswith("= "):
            with suppress(Unresolved):  # told by `claims`
                self._number(claim, self._resolve(anchor, target))
        super()._judge(anchor, target, claim, relation, block)

    def _number(self, claim: Claim, found: Found) -> None:
        if found.lines:
            return
        mine = self.policy.unit(claim.unit) if claim.unit else None
        theirs = self.policy.data_unit(found.unit) if found.unit else None
        size = (theirs[1] if theirs else Decimal(1)) / (mine[1] if mine else Decimal(1))
        if claim.kind == "share":
            values = [number_of(found.datum[name]) for name in ("k", "n")]
        elif claim.kind == "interval":
            values = [number_of(found.datum[name]) * (size if claim.unit else 1) for name in ("low", "high")]
        else:
            values = [found.number * size]
        said = self.text[slice(*claim.source)]
        at = 0
        for old, value in zip(claim.numbers, values, strict=True):
            if claim.kind != "share" and agrees(old, Decimal(1), value):
                new = old
            else:
                digits = len(old.partition(".")[2])
                new = f"{value:.{digits}f}".replace("-", "−" if "−" in old else "-")
            place = said.index(old, at)
            said, at = said[:place] + new + said[place + len(old) :], place + len(new)
        if said != self.text[slice(*claim.source)]:
            self.changes[claim.source] = said

    def _transcript(self, anchor: Anchor, quoted: Sequence[tuple[str, int]]) -> None:
        rows = [line.split() for line in (ROOT / anchor.text).read_text(encoding="utf-8").splitlines()]
        for line, source in quoted:
            quote = line.partition("  # ")[0]
            words = quote.split()
            cut = words[-1:] == ["…"]
            alike = [row for row in rows if _same(row, words[:-1] if cut else words, cut)]
            if words in ([], ["…"]) or any(row[: len(words) - cut] == words[: len(words) - cut] for row in alike):
                continue
            if len(alike) == 1:
                new = iter(alike[0])
                said = re.sub(r"\S+", lambda found: found[0] if found[0] == "…" else next(new), quote)  # noqa: B023
                self.changes[(source, source + len(quote))] = said
        super()._transcript(anchor, quoted)


def _same(row: Sequence[str], words: Sequence[str], cut: bool) -> bool:
    """Whether a recorded line says the same with other numbers."""
    mask = [[re.sub(r"\d+(?:\.\d+)?", "0", word) for word in line] for line in (row[: len(words)], words)]
    return mask[0] == mask[1] and (cut or len(row) == len(words))


def written() -> list[str]:
    """README with the numbers of its evidence; what `claims` still finds."""
    text = DOCUMENT.read_text(encoding="utf-8")
    reader = Rewritten(text)
    reader.run()
    for (start, end), said in sorted(reader.changes.items(), reverse=True):
        print(f"README: {text[start:end].strip()} → {said.strip()}")
        text = text[:start] + said + text[end:]
    DOCUMENT.write_text(text, encoding="utf-8")
    found = check.check_document(DOCUMENT.name, text, folder=ROOT, root=ROOT, policy=shipped())
    return [f"{one.place}: {one.severity} {one.code}: {one.summary}" for one in found.diagnostics]


def main(names: Sequence[str]) -> int:
    if "--only-write" not in names:
        with tempfile.TemporaryDirectory() as place:
            project = Path(place) / "project"
            shutil.copytree(ROOT / "specs", project / "specs")
            (project / ".kcompiler").mkdir()
            asked = [name for name in SPECS if name in names] if names else list(SPECS)
            if strays := {*names} - {*SPECS}:
                raise SystemExit(f"no such spec: {', '.join(sorted(strays))}; there are {', '.join(SPECS)}")
            if JUDGED in asked and JUDGE not in asked:
                asked.insert(asked.index(JUDGED), JUDGE)
            for name in asked:
                made(project, name)
                if name == JUDGE and JUDGED in asked:
                    delivered(project)
    left = written()
    print("\n".join(left) or "README says what its evidence says")
    return int(any(": error " in one for one in left))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
