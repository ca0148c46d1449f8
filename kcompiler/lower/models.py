"""Spec → nodes and inputs: data, teacher, student and tokenizer, which are there before anything is trained."""

from __future__ import annotations

from typing import Any

from kcompiler.facts.lengths import learns, lengths
from kcompiler.facts.ruling import ruled_by_suites
from kcompiler.lower.nodes import Nodes
from kcompiler.spec.data import FileSource
from runtime import catalog
from runtime.contract.cut import Cut, Parts
from runtime.contract.hosted import Asking
from runtime.contract.migration import Migration
from runtime.contract.rounding import BITS
from runtime.contract.splits import TEST
from runtime.contract.weights import Weights

#: the checkpoint as its authors made it, where what the student starts from is made of it
MIGRATED = "student-original"


class Models(Nodes):
    """Sections `data`, `teacher`, `student` and `tokenizer`."""

    def data(self) -> None:
        data = self.spec.data
        takes, sources = {}, []
        for i, source in enumerate(data.sources):
            entry: dict[str, Any] = {
                "name": source.name,
                "kind": source.kind,
                "split": source.split,
                "license": source.license,
            }
            if isinstance(source, FileSource):
                port = f"source_{source.name}"
                stated = (f"sha256:{source.sha256}", source.bytes) if source.sha256 and source.bytes else None
                place = f"/data/sources/{i}/path"
                kind = "rows_folder" if source.folder else "file"
                takes[port] = self.add_input(port, kind, source.path, source.license, place, stated)
                entry |= {"fields": dict(source.fields), "limit": source.limit, "responses": source.responses}
                entry |= {"delimiter": source.form.delimiter, "columns": list(source.form.columns)}
                entry |= {"calls": "suites" if ruled_by_suites(self.spec, source) else "tools"}
            else:
                entry |= {"generator": source.generator, "params": source.params.model_dump(mode="json")}
            sources.append(entry)
        if data.tools:
            takes["tools"] = self.add_input("tools", "file", data.tools, "", "/data/tools")
        if data.fixtures:
            takes["fixtures"] = self.add_input("fixtures", "fixtures_folder", data.fixtures, "", "/data/fixtures")
        self.add(
            "data",
            "data",
            {
                "sources": sources,
                "held_out": data.held_out,
                "validation": data.validation,
                "has_tools": bool(data.tools),
                "has_fixtures": bool(data.fixtures),
                "learns": learns(self.spec),
            },
            takes,
            origin="/data",
            backend=data.backend,
        )

    def weights(self, who: str, weights: Weights, license: str, origin: str) -> str:
        """The folder of somebody's weights: pinned where it lies, fetched at the commit that is pinned, or made of the
        GGUF file that is pinned."""
        if weights.packed:
            place = f"{origin}/{weights.key}"
            file = self.add_input(who, "file", weights.place, license, place)
            name = self.add(f"read-{who}", "read_gguf", {"revision": weights.revision}, {"file": file}, origin=place)
            return f"step:{name}#folder"
        if not weights.repository:
            return self.add_input(who, "hf_folder", weights.place, license, f"{origin}/model")
        name = self.add(
            f"fetch-{who}",
            "fetch",
            {"repository": weights.repository, "revision": weights.revision},
            {},
            origin=f"{origin}/model",
        )
        return f"step:{name}#folder"

    def load(self, who: str, weights: Weights, folder: str, origin: str) -> None:
        """A step that proves the weights of a folder to be what the spec says, and makes them a checkpoint."""
        self.add(
            who,
            "import_teacher",
            {
                "revision": f"file:{weights.revision}" if weights.packed else weights.revision,
                "vocab_size": None
                if who == MIGRATED or (who == "teacher" and self._reduced())
                else self.spec.tokenizer.vocab_size,
                "parameters": weights.stated,
                "dtype": "bf16" if getattr(weights, "dtype", "") in BITS else getattr(weights, "dtype", "fp32"),
            },
            {"model": folder},
            origin=origin,
        )

    def student(self) -> None:
        checkpoint, cut = self.spec.student.checkpoint, self.spec.student.cut
        if cut is not None:
            self._cut(cut)
        if checkpoint is None:
            return
        same, origin = self._is_teachers(checkpoint), "/student/checkpoint"
        if same:
            self.folders["student"] = self.folders["teacher"]
        else:
            self.folders["student"] = self.weights("student", checkpoint, checkpoint.license, origin)
        who = "teacher" if same else MIGRATED if self.spec.student.migrate is not None else "student"
        if not same:
            self.load(who, checkpoint, self.folders["student"], origin)
        if self.spec.student.migrate is not None:
            self._migrate(self.spec.student.migrate, f"step:{who}#checkpoint")

    def _migrate(self, migration: Migration, original: str) -> None:
        """The checkpoint over the ids of the spec's tokenizer."""
        self.add(
            "student",
            "migrate_student",
            {**migration.model_dump(), "threads": self.spec.execution.threads},
            {
                "original": original,
                "folder": self.folders["student"],
                "tokenizer": "step:tokenizer#tokenizer",
                "dataset": self._rows(),
            },
            origin="/student/migrate",
        )

    def _cut(self, cut: Cut) -> None:
        """The student made of what is kept of the teacher, whose ids are reduced first."""
        takes = {"tokenizer": "step:tokenizer#tokenizer", "dataset": self._rows()}
        common = {"rows": cut.rows, "threads": self.spec.execution.threads}
        if cut.vocabulary is not None:
            name = "teacher-restricted"
            at = "/student/cut/vocabulary"
            self.add(name, "restrict_teacher", common, {"teacher": self._teacher, **takes}, origin=at)
            self._teacher = f"step:{name}#checkpoint"
        self.add(
            "student",
            "cut_student",
            {
                **cut.model_dump(include=set(Parts.model_fields)),
                "architecture": self._architecture(self.spec.student.architecture),
                **common,
            },
            {"teacher": self._teacher, **takes},
            origin="/student/cut",
        )

    def _reduced(self) -> bool:
        cut = self.spec.student.cut
        return cut is not None and cut.vocabulary is not None

    def _asked_with_tools(self) -> list[str]:
        """Splits whose rows the package is asked as scenarios; it reads their first prompt in one prefill."""
        suites = [one for one in self.spec.evaluation.suites if catalog.load("suites", one.use).answered]
        return sorted({one.split for one in suites} & {TEST})

    def tokenizer(self) -> None:
        tokenizer = self.spec.tokenizer
        takes = {"dataset": "step:data#dataset"}
        shared = ""
        if tokenizer.source != "train":
            # whose folder it is taken from makes no difference to the step
            takes["teacher"] = self.folders[tokenizer.source]
            own = self.folders[tokenizer.source]
            shared = next((who for who, folder in sorted(self.folders.items()) if folder != own), "")
            # weights that are migrated mean other ids, until they are
            shared = "" if self.spec.student.migrate is not None else shared
        if shared:
            takes["other"] = self.folders[shared]
        self.add(
            "tokenizer",
            "tokenizer",
            {
                "source": "train" if tokenizer.source == "train" else "teacher",
                "vocab_size": tokenizer.vocab_size,
                "special": tokenizer.special.model_dump(),
                "added": list(tokenizer.added),
                "expand": list(tokenizer.expand),
                "reduce": self._reduced(),
                "template": tokenizer.template,
                "system": tokenizer.system,
                "date": tokenizer.date,
                "single_token_tags": list(tokenizer.single_token_tags),
                "shared_with": shared,
                "lengths": {
                    name: {"tokens": tokens, "field": field} for name, (tokens, field) in lengths(self.spec).items()
                },
                "asked_with_tools": self._asked_with_tools(),
                "too_long": self.spec.data.too_long,
            },
            takes,
            origin="/tokenizer",
        )

    def teacher(self) -> None:
        teacher, threads = self.spec.teacher, self.spec.execution.threads
        if isinstance(teacher.params, Weights):
            weights = teacher.params
            self.folders["teacher"] = self.weights("teacher", weights, teacher.license, "/teacher")
            self.load("teacher", weights, self.folders["teacher"], "/teacher")
            return
        if teacher.source == "openai":
            asked = {**teacher.params.model_dump(include=set(Asking.model_fields)), "signals": list(teacher.signals)}
            asked |= self._money()
            self.add("teacher", "harvest", asked, {"dataset": self._rows()}, origin="/teacher")
            return
        if teacher.source == "recorded":
            record = self.add_input("record", "file", teacher.path, teacher.license, "/teacher/path")
            self.add(
                "teacher",
                "replay",
                {"model": teacher.model, "signals": list(teacher.signals), "allow_missing": teacher.allow_missing},
                {"dataset": self._rows(), "record": record},
                origin="/teacher",
            )
            return
        self.add(
            "teacher",
            "bootstrap",
            {
                "architecture": self._architecture(teacher.architecture),
                "steps": teacher.steps,
                "batch_size": teacher.batch_size,
                "max_length": self._longest(),
                "optimizer": teacher.optimizer.model_dump(),
                "threads": threads,
                "device": self._device,
                "precision": self.spec.execution.precision,
            },
            {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer"},
            origin="/teacher",
            after=["tokenizer"],
        )
