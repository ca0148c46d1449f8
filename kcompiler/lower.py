"""Spec → nodes and inputs. The only place that knows which section makes which steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kcompiler.facts import runners as further
from kcompiler.facts.lengths import learns, lengths
from kcompiler.facts.placing import chunk_tokens, device
from kcompiler.facts.rounding import rounded
from kcompiler.facts.ruling import ruled_by_suites
from kcompiler.facts.speed import lengths_of, target
from kcompiler.facts.stored import means, temperatures
from kcompiler.facts.teacher import of_teacher
from kcompiler.graph import Input, Node
from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime import catalog, digest
from runtime.contract import Step, Suite, places, speed, unkeyed
from runtime.contract.cut import Cut, Parts
from runtime.contract.hosted import Asking
from runtime.contract.parity import OWN_ITEMS, port_of
from runtime.contract.questioned import JUDGE, STANDING
from runtime.contract.rounding import BITS
from runtime.contract.signals import Likeliest
from runtime.contract.validation import TOTAL, Validation
from runtime.contract.weights import Weights

WITHOUT_TEACHER, FROM_NOTHING, ANSWERS, REACH = "ce_only", "random_init", "answers", "reach"
#: the step that says what the judge of answers is worth, and the suite that asks it
THE_JUDGE, JUDGES = "evaluate-the-judge", "judge"
SIGNALS, ROUNDED = "signals", "teacher-rounded"
#: every package: the oldest system with several functions in one, and one function per shape
DEPLOYMENT, STRATEGY = "iOS18", "multifunction"


def _term(written: Any, spec: Spec) -> dict[str, Any]:
    """A loss term as the step `train` takes it."""
    loss = catalog.load("losses", written.term)
    return {
        "term": loss.name,
        "version": loss.version,
        "weight": written.weight,
        "schedule": written.schedule.model_dump() if written.schedule else None,
        "params": written.params.model_dump(mode="json"),
        "semantics": dict(means(spec, loss)),
    }


def _truth() -> dict[str, Any]:
    """The one term of a student without a teacher."""
    loss = catalog.load("losses", "ce_truth")
    return {
        "term": loss.name,
        "version": loss.version,
        "weight": 1.0,
        "schedule": None,
        "params": loss.params().model_dump(mode="json"),
        "semantics": dict(loss.semantics),
    }


class Lowering:
    """Collects nodes; each method lowers one section and returns what later sections refer to."""

    def __init__(self, spec: Spec, root: Path, folder: Path, backend: str | None = None) -> None:
        self.spec, self.root, self.folder, self.backend = spec, root, folder, backend
        self.nodes: list[Node] = []
        self.inputs: list[Input] = []
        #: "teacher", "student" → the folder of the weights that somebody else made
        self.folders: dict[str, str] = {}
        #: the teacher that is asked for logits
        self._teacher = "step:teacher#checkpoint"
        #: where models run
        self._device = device(spec)
        #: to how few bits the teacher's weights are rounded while it teaches
        self._weights = rounded(spec)

    def add(
        self,
        step_id: str,
        step_name: str,
        params: Mapping[str, Any],
        takes: Mapping[str, str],
        *,
        origin: str,
        after: Sequence[str] = (),
        backend: str = "",
    ) -> str:
        """One node, with every default of its step visible; returns its id."""
        step: Step = catalog.load("steps", step_name)
        resolved = step.params.model_validate(params)
        self.nodes.append(
            Node(
                id=step_id,
                step=step.name,
                version=step.version,
                backend=self.backend or backend or step.backend,
                params=resolved.model_dump(mode="json"),
                ports=step.takes_of(resolved),
                takes=dict(takes),
                gives=step.gives_of(resolved),
                code=catalog.code_of(step, resolved),
                promise=step.promise_of(resolved),
                tolerance=None if (allowed := step.tolerance_of(resolved)) is None else allowed.to_json(),
                seed=self.spec.execution.seed,
                origin=origin,
                after=tuple(after),
                unkeyed=tuple(unkeyed(step.params)),
            )
        )
        return step_id

    def add_input(
        self, name: str, kind: str, path: str, license: str, origin: str, stated: tuple[str, int] | None = None
    ) -> str:
        """One pinned file or folder, referred to from the spec's own folder; returns its reference.

        `stated` are digest and size by the spec, of a file that need not be here: the plan is then the same without it.
        """
        elsewhere = places.elsewhere(path)
        target = places.place_of(self.root, path) if elsewhere else (self.folder / path).resolve()
        if stated is not None:
            pin, size = stated
        elif kind == "file":
            pin, size = digest.of_file(target), target.stat().st_size
        else:
            entries = digest.manifest(target)
            pin, size = digest.of_folder(target), sum(int(entry["bytes"]) for entry in entries)
        relative = path if elsewhere else target.relative_to(self.root.resolve()).as_posix()
        self.inputs.append(
            Input(name=name, kind=kind, path=relative, digest=pin, bytes=size, license=license, origin=origin)
        )
        return f"input:{name}"

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
                "vocab_size": None if who == "teacher" and self._reduced() else self.spec.tokenizer.vocab_size,
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
        if checkpoint is not None and self._is_teachers(checkpoint):
            self.folders["student"] = self.folders["teacher"]
        elif checkpoint is not None:
            origin = "/student/checkpoint"
            self.folders["student"] = self.weights("student", checkpoint, checkpoint.license, origin)
            self.load("student", checkpoint, self.folders["student"], origin)

    def _is_teachers(self, checkpoint: Weights) -> bool:
        """Whether the student starts from the very weights of the teacher, which are then loaded and proven once.

        A teacher that is rounded is another: a student learns in float32, whatever it starts from.
        """
        teacher = of_teacher(self.spec)
        if teacher is None or getattr(teacher, "dtype", "fp32") != "fp32":
            return False
        return (teacher.place, teacher.revision) == (checkpoint.place, checkpoint.revision)

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

    def tokenizer(self) -> None:
        tokenizer = self.spec.tokenizer
        takes = {"dataset": "step:data#dataset"}
        shared = ""
        if tokenizer.source != "train":
            # whose folder it is taken from makes no difference to the step
            takes["teacher"] = self.folders[tokenizer.source]
            own = self.folders[tokenizer.source]
            shared = next((who for who, folder in sorted(self.folders.items()) if folder != own), "")
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
                "reduce": self._reduced(),
                "template": tokenizer.template,
                "system": tokenizer.system,
                "date": tokenizer.date,
                "single_token_tags": list(tokenizer.single_token_tags),
                "shared_with": shared,
                "lengths": {
                    name: {"tokens": tokens, "field": field} for name, (tokens, field) in lengths(self.spec).items()
                },
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

    def _answers(self) -> str:
        """Where the teacher's answers come from: it gives them, or, where its weights are here, writes them once."""
        weights, data = self.spec.teacher.params, self.spec.data
        if not isinstance(weights, Weights):
            return "step:teacher#answers"
        if not any(node.id == ANSWERS for node in self.nodes):
            self.add(
                ANSWERS,
                "generate_answers",
                {
                    "model": weights.place,
                    "longest": lengths(self.spec)["train"][0],
                    # an answer that does not end within a row is a row that is too long
                    "allow_missing": data.too_long_at_most if data.too_long == "drop" else 0.0,
                    "threads": self.spec.execution.threads,
                    "device": self._device,
                },
                {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher},
                origin="/teacher",
                after=["tokenizer"],
            )
        return f"step:{ANSWERS}#answers"

    def _rounded(self) -> tuple[str, ...]:
        """What comes before a step that holds a teacher with rounded weights: what that loses is measured once."""
        if self._weights is None:
            return ()
        if not any(node.id == ROUNDED for node in self.nodes):
            self.add(
                ROUNDED,
                "round_teacher",
                {
                    "weights": self._weights,
                    "max_length": lengths(self.spec)["train"][0],
                    "threads": self.spec.execution.threads,
                    "device": self.spec.execution.teacher_device or self._device,
                },
                {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher},
                origin="/teacher/dtype",
                after=["tokenizer"],
            )
        return (ROUNDED,)

    def _signals(self, responses: str) -> str:
        """What the teacher says at every supervised token, recorded once for all that is trained on these responses."""
        store, execution = self.spec.teacher.store, self.spec.execution
        assert store is not None
        name = SIGNALS if responses == "data" else f"{SIGNALS}-answered"
        if not any(node.id == name for node in self.nodes):
            takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer", "teacher": self._teacher}
            if responses == "teacher":
                takes["answers"] = self._answers()
            before = self._rounded()
            self.add(
                name,
                "record_signals",
                {
                    "store": store.model_dump(),
                    "temperatures": temperatures(self.spec),
                    "responses": responses,
                    "max_length": lengths(self.spec)["train"][0],
                    "threads": execution.threads,
                    "device": self._device,
                    "teacher_device": execution.teacher_device,
                    "precision": execution.precision,
                    "teacher_weights": self._weights,
                },
                takes,
                origin="/teacher/store",
                after=["tokenizer", *before],
                backend="torchao" if before else "",
            )
        return f"step:{name}#signals"

    def training(self) -> None:
        stages, baselines = self.spec.training.stages, self.spec.evaluation.baselines
        if not stages:
            return
        each = [[_term(written, self.spec) for written in stage.losses] for stage in stages]
        alone = [_truth()] if WITHOUT_TEACHER in baselines else []
        self._reach([term for terms in [*each, alone] for term in terms])
        for i, (stage, terms) in enumerate(zip(stages, each, strict=True)):
            self._train(stage, terms, i)
            if FROM_NOTHING in baselines:
                self._train(stage, terms, i, FROM_NOTHING)
        # the same student, data order and number of steps, without the teacher: stage by stage
        for i, stage in enumerate(stages if alone else []):
            self._train(stage, alone, i, WITHOUT_TEACHER)

    def _reach(self, terms: Sequence[Mapping[str, Any]]) -> None:
        """Each term alone, before any is trained; what several stages have alike is tried once."""
        tried: list[dict[str, Any]] = []
        for term in terms:
            one = {name: term[name] for name in ("term", "version", "params", "semantics")}
            tried += [] if one in tried else [one]
        takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer"}
        starts = self.spec.student.checkpoint is not None or self.spec.student.cut is not None
        if starts:
            takes["from"] = self._start()
        self.add(
            REACH,
            "reach",
            {
                "architecture": None if starts else self._architecture(self.spec.student.architecture),
                "terms": tried,
                "of_top": isinstance(self.spec.teacher.store, Likeliest),
                "max_length": min(stage.max_length or self._longest() for stage in self.spec.training.stages),
                "threads": self.spec.execution.threads,
            },
            takes,
            origin="/training/stages",
            after=["tokenizer"],
        )

    def _train(self, stage: Any, terms: list[dict[str, Any]], index: int, baseline: str = "") -> None:
        """One stage of the student or of a baseline, which starts where the same stage of it says."""
        who = f"train-{baseline}-" if baseline else "train-"
        needs = frozenset[str]().union(*(catalog.load("losses", term["term"]).needs for term in terms))
        takes = {"dataset": self._rows(), "tokenizer": "step:tokenizer#tokenizer"}
        responses, store = "teacher" if "text" in needs else "data", self.spec.teacher.store
        before: tuple[str, ...] = ()
        if "logits" in needs and store is None:
            takes["teacher"] = self._teacher
            before = self._rounded()
        elif "logits" in needs:
            takes["signals"] = self._signals(responses)
        if needs & {"text", "choices"}:
            takes["answers"] = self._answers()
        has_weights = self.spec.student.checkpoint is not None or self.spec.student.cut is not None
        if stage.from_:
            takes["from"] = f"step:{who}{stage.from_}#checkpoint"
        elif has_weights and baseline != FROM_NOTHING:
            takes["from"] = self._start()
        self.add(
            f"{who}{stage.name}",
            "train",
            {
                "architecture": self._architecture(self.spec.student.architecture),
                "init": "checkpoint" if "from" in takes else "random",
                "losses": terms,
                "needs_teacher": "teacher" in takes,
                "signals": store.form if store is not None and "signals" in takes else None,
                "needs_answers": "answers" in takes,
                "responses": responses,
                "steps": stage.steps,
                "batch_size": stage.batch_size,
                "micro_batch": stage.micro_batch,
                "packing": stage.packing,
                "max_length": stage.max_length or self._longest(),
                "optimizer": stage.optimizer.model_dump(),
                "gradient_norms_every": stage.gradient_norms_every,
                "checkpoint_every": stage.checkpoint_every,
                "chunk_tokens": chunk_tokens(self.spec, stage),
                "gradient_checkpointing": stage.gradient_checkpointing,
                "threads": self.spec.execution.threads,
                "device": self._device,
                "teacher_device": self.spec.execution.teacher_device if "teacher" in takes else None,
                "precision": self.spec.execution.precision,
                "teacher_weights": self._weights if before else None,
                "validation": _validation(stage.validation, [term["term"] for term in terms]),
                # what a baseline was on the way nobody asks
                "keeps_states": stage.validation is not None and not baseline,
            },
            takes,
            origin=f"/training/stages/{index}",
            after=["tokenizer", REACH, *before],
            backend="torchao" if before else "",
        )

    def delivery(self) -> None:
        """Probes, export, conversion and verification of the last stage's student."""
        shapes, threads = self.spec.shapes, self.spec.execution.threads
        lengths, context = list(shapes.prefill), shapes.decode.context
        asked = self.spec.verification
        goldens = {"golden_prompts": asked.prompts, "decode_steps": asked.decode_steps}
        model = {
            "dataset": self._rows(),
            "tokenizer": "step:tokenizer#tokenizer",
            "checkpoint": self._student(),
        }
        self.add(
            "probe",
            "probe",
            {"lengths": lengths, "decode_context": context, "threads": threads, "device": self._device},
            model,
            origin="/shapes",
        )
        self.add(
            "export",
            "export",
            {"prefill": lengths, "decode_context": context, "threads": threads, "device": self._device, **goldens},
            model,
            origin="/shapes",
            after=["tokenizer", "probe"],
        )
        quantization = self.spec.quantization
        recipe = {
            "default": quantization.default.model_dump(),
            "rules": [rule.model_dump() for rule in quantization.rules],
        }
        islands = list(quantization.islands)
        self.add(
            "convert",
            "convert",
            {
                "deployment": DEPLOYMENT,
                "strategy": STRATEGY,
                "recipe": recipe,
                "islands": islands,
            },
            {"program": "step:export#program"},
            origin="/quantization",
            after=["export"],
        )
        self.add(
            "verify",
            "verify",
            {"recipe": recipe, "islands": islands, **goldens},
            {
                "package": "step:convert#package",
                "float32": "step:convert#float32",
                "goldens": "step:export#goldens",
                **model,
            },
            origin="/quantization",
        )

    def evaluation(self) -> None:
        evaluation = self.spec.evaluation
        for i, written in enumerate(evaluation.suites):
            suite: Suite = catalog.load("suites", written.use)
            runners = further.own(self.spec, suite)
            takes = {
                "dataset": self._rows(),
                "tokenizer": "step:tokenizer#tokenizer",
                "checkpoint": self._student(),
                "package": "step:convert#package",
            }
            if suite.judge is not None:
                compared = suite.judge(written.params)
                runners = [name for name in runners if name in compared]
                takes |= self._judge()
                if "coreml" not in runners:
                    del takes["package"]
            if "teacher" in runners:
                takes["teacher"] = self._teacher
            for name in (one for one in evaluation.baselines if one in runners):
                takes[name] = f"step:train-{name}-{self.spec.training.stages[-1].name}#checkpoint"
            self._evaluate(written, i, runners, takes)
            self._further(written, suite, runners)
            if written.efficiency:
                self.add(
                    f"efficiency-{written.name}",
                    "efficiency",
                    {"split": written.split},
                    {
                        "dataset": self._rows(),
                        "tokenizer": "step:tokenizer#tokenizer",
                        "items": f"step:evaluate-{written.name}#items",
                    },
                    origin=f"/evaluation/suites/{i}/efficiency",
                )

    def _judge(self) -> dict[str, str]:
        """The model that compares answers, and the report on it, of which it is asked once."""
        declared = self.spec.evaluation.judge
        assert declared is not None, "checked: kcompiler/checks/judges.py"
        if all(node.id != THE_JUDGE for node in self.nodes):
            suite: Suite = catalog.load("suites", JUDGES)
            served = self._served_judge()
            whom = {} if declared.model is None else {JUDGE: f"input:{JUDGE}"}
            if declared.model is not None:
                self.add_input(JUDGE, "hf_folder", declared.model, "", "/evaluation/judge/model")
            self.add(
                THE_JUDGE,
                "evaluate",
                {
                    "suite": suite.name,
                    "suite_version": suite.version,
                    "params": suite.params().model_dump(mode="json"),
                    "rows": _part(declared.rows),
                    "runners": list(suite.runners),
                    "judging": "evaluated",
                    **served,
                    "threads": self.spec.execution.threads,
                    # a server computes elsewhere
                    "device": "cpu" if served else self._device,
                },
                {"dataset": self._rows(), **whom},
                origin="/evaluation/judge",
                after=["verify"],
                backend="http" if served else "",
            )
        standing = {STANDING: f"step:{THE_JUDGE}#report"}
        return standing if declared.model is None else {JUDGE: f"input:{JUDGE}", **standing}

    def _served_judge(self) -> dict[str, Any]:
        """How a judge behind a server is asked, as step `evaluate` takes it; nothing where it is a folder."""
        declared = self.spec.evaluation.judge
        if declared is None or declared.server is None:
            return {}
        settings, pace = _served(declared.server)
        return {"hosted": settings, "terms": {"pace": pace, **self._money()}}

    def _money(self) -> dict[str, Any]:
        """One purse for all steps and cells of a sweep, all attempts and all later forms of the spec."""
        budgets = self.spec.budgets
        return {
            "usd": budgets.usd,
            "purse": self.spec.metadata.name,
            "teacher_calls": budgets.teacher_calls,
            "teacher_tokens": budgets.teacher_tokens,
        }

    def _evaluate(self, written: Any, index: int, runners: Sequence[str], takes: Mapping[str, str]) -> None:
        """One suite, asked by one step, or by several and gathered by one more."""
        suite = catalog.load("suites", written.use)
        name, origin = f"evaluate-{written.name}", f"/evaluation/suites/{index}"
        what = {
            "suite": suite.name,
            "suite_version": suite.version,
            "params": written.params.model_dump(mode="json"),
            "split": written.split,
            "rows": _part(written.rows),
            "runners": runners,
        }
        asked = {
            **what,
            "judging": "" if suite.judge is None else "asked",
            **(self._served_judge() if suite.judge is not None else {}),
            "threads": self.spec.execution.threads,
            "device": self._device,
        }
        backend = "torch_http" if "hosted" in asked else ""
        if written.shards == 1:
            self.add(name, "evaluate", asked, takes, origin=origin, after=["verify"], backend=backend)
            return
        taken = {port: reference for port, reference in takes.items() if port not in (JUDGE, STANDING)}
        for shard in range(written.shards):
            mine = {**asked, "shard": {"index": shard, "of": written.shards}}
            one = self.add(
                f"{name}-shard-{shard}", "evaluate", mine, takes, origin=origin, after=["verify"], backend=backend
            )
            taken[f"shard_{shard}"] = f"step:{one}#lines"
        self.add(name, "gather", {**what, "shards": written.shards}, taken, origin=origin, after=["verify"])

    def _further(self, written: Any, suite: Suite, runners: Sequence[str]) -> None:
        """A suite through each further runner, and how far all of them are apart."""
        ways = further.asked(self.spec, written)
        for way in ways:
            takes = {"dataset": self._rows(), **self._asked(way)}
            (settings, pace), place = _served(way.params), way.kind.place
            if place and way.place:
                # what lies there is taken, and pinned; where it lies decides nothing
                settings[place] = "taken"
            self.add(
                f"ask-{written.name}-{way.name}",
                "ask",
                {
                    "suite": suite.name,
                    "suite_version": suite.version,
                    "params": written.params.model_dump(mode="json"),
                    "split": written.split,
                    "rows": _part(written.rows),
                    "runner": way.name,
                    "use": way.kind.name,
                    "use_version": way.kind.version,
                    "settings": settings,
                    "pace": pace,
                    "asks": way.asks,
                    "words": "tokenizer" in takes,
                    "threads": self.spec.execution.threads,
                    "device": self._device if way.kind.on_device else "cpu",
                    **self._money(),
                },
                takes,
                origin=way.pointer,
                after=["verify"] if way.from_plan == "package" else (),
                backend=way.kind.backend,
            )
        # what forges says nothing of how far the others are apart, and would make their report a forged one
        honest = [way for way in ways if not way.kind.forges] or ways
        if honest:
            takes = {port_of(way.name): f"step:ask-{written.name}-{way.name}#items" for way in honest}
            self.add(
                f"parity-{written.name}",
                "parity",
                {
                    "suite": suite.name,
                    "models": {**{name: further.OWN[name] for name in runners}, **{way.name: way.of for way in honest}},
                    "further": [way.name for way in honest],
                },
                {OWN_ITEMS: f"step:evaluate-{written.name}#items", **takes},
                origin="/evaluation/runners",
            )

    def _asked(self, way: further.Way) -> dict[str, str]:
        """What a further runner asks, and the words of the spec where it asks a model of the plan."""
        if way.place:
            name = f"runner-{way.name}"
            if all(entry.name != name for entry in self.inputs):
                self.add_input(name, way.kind.place_kind, way.place, "", f"{way.pointer}/{way.kind.place}")
            return {"model": f"input:{name}"}
        if not way.kind.takes:
            return {}
        whose = self._teacher if way.of == "teacher" else self._student()
        words = {"tokenizer": "step:tokenizer#tokenizer"}
        if way.kind.takes == "gguf":
            name = f"gguf-{way.name}"
            if all(node.id != name for node in self.nodes):
                self.add(
                    name,
                    "write_gguf",
                    {"weights": way.params.weights},
                    {"checkpoint": whose, **words},
                    origin=way.pointer,
                )
            return {"model": f"step:{name}#gguf", **words}
        return {"model": "step:convert#package" if way.kind.takes == "package" else whose, **words}

    def benchmarks(self) -> None:
        """Measurements of speed, and their comparison with a pinned report."""
        for i, asked in enumerate(self.spec.evaluation.benchmarks):
            of = {speed.RUNNERS[name].of for name in asked.runners}
            given = {"checkpoint": self._student(), "package": "step:convert#package"}
            name, origin = f"benchmark-{asked.id}", f"/evaluation/benchmarks/{i}"
            self.add(
                name,
                "benchmark",
                {
                    **asked.model_dump(include={"id", "runners", "new_tokens", "warm_up", "repetitions", "price"}),
                    "prompts": lengths_of(self.spec, asked),
                    "target": target(self.spec),
                    "threads": self.spec.execution.threads,
                    "device": self._device,
                },
                {"tokenizer": "step:tokenizer#tokenizer", **{kind: given[kind] for kind in sorted(of)}},
                origin=origin,
                after=["verify"],
            )
            if asked.baseline is not None:
                pinned = self.add_input(name, "file", asked.baseline, "", f"{origin}/baseline")
                takes = {"now": f"step:{name}#report", "baseline": pinned}
                self.add(f"regression-{asked.id}", "regression", {"id": asked.id}, takes, origin=f"{origin}/baseline")

    def readiness(self) -> None:
        """What files of a team's CI say of the code around the student."""
        asked = self.spec.readiness
        if asked is None:
            return
        files = asked.files()
        takes = {
            name: self.add_input(f"readiness-{name}", "file", file, "", f"/readiness/{name}")
            for name, file in files.items()
        }
        params = {"files": list(files), "revision": asked.revision}
        self.add("readiness", "readiness", params, takes, origin="/readiness")

    def extra(self) -> None:
        """Steps of third parties, named in the spec's own `steps` section."""
        for i, step in enumerate(self.spec.steps):
            takes = {
                port: reference if reference.startswith("input:") else f"step:{reference.removeprefix('step:')}"
                for port, reference in step.takes.items()
            }
            self.add(step.id, step.use, step.params.model_dump(mode="json"), takes, origin=f"/steps/{i}")

    def _rows(self) -> str:
        """The rows that are read: all of the data, or those that fit, when others are dropped."""
        return "step:tokenizer#dataset" if self.spec.data.too_long == "drop" else "step:data#dataset"

    def _student(self) -> str:
        stages = self.spec.training.stages
        return f"step:train-{stages[-1].name}#checkpoint" if stages else self._start()

    def _start(self) -> str:
        """The weights that the student has before anything is trained."""
        checkpoint = self.spec.student.checkpoint
        same = checkpoint is not None and self._is_teachers(checkpoint)
        return "step:teacher#checkpoint" if same else "step:student#checkpoint"

    def _longest(self) -> int:
        return max(self.spec.shapes.prefill)

    def _architecture(self, architecture: Any) -> dict[str, Any]:
        return dict(architecture.model_dump())


def _served(params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a runner, or of a server, that decide its answers, and those that decide no bit of them."""
    settings, aside = params.model_dump(mode="json"), unkeyed(type(params))
    keyed = {name: value for name, value in settings.items() if name not in (*aside, "insecure")}
    return keyed, {name: value for name, value in settings.items() if name in aside}


def _part(written: Any) -> dict[str, Any] | None:
    """Which rows of a split, as steps take it."""
    return {"source": written.source, "subject": written.class_} if written is not None else None


def _validation(declared: Validation | None, terms: Sequence[str]) -> dict[str, Any] | None:
    """The same policy for everything that a stage trains. A baseline without the loss that decides takes its total."""
    if declared is None:
        return None
    metric = declared.metric if declared.metric in terms else TOTAL
    return {**declared.model_dump(include=set(Validation.model_fields)), "metric": metric}


def lower(spec: Spec, root: Path, folder: Path, backend: str | None = None) -> tuple[list[Node], list[Input]]:
    """Every step and every pinned input that a valid spec asks for. `folder` is where the spec lies: its relative
    references start there. `backend` replaces every step's backend (only `null` carries out them all)."""
    lowering = Lowering(spec, root, folder, backend)
    lowering.data()
    lowering.teacher()
    lowering.student()
    lowering.tokenizer()
    lowering.training()
    lowering.delivery()
    lowering.evaluation()
    lowering.benchmarks()
    lowering.readiness()
    lowering.extra()
    return lowering.nodes, lowering.inputs
