"""Spec → nodes and inputs: suites, judge, further runners, how far they are apart, and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.facts import runners as further
from kcompiler.facts.speed import lengths_of, target
from kcompiler.lower.nodes import Nodes
from runtime import catalog
from runtime.contract import Suite, speed, unkeyed
from runtime.contract.parity import OWN_ITEMS, port_of
from runtime.contract.questioned import JUDGE, STANDING

#: the step that says what the judge of answers is worth, and the suite that asks it
THE_JUDGE, JUDGES = "evaluate-the-judge", "judge"


def _served(params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a runner, or of a server, that decide its answers, and those that decide no bit of them."""
    settings, aside = params.model_dump(mode="json"), unkeyed(type(params))
    keyed = {name: value for name, value in settings.items() if name not in (*aside, "insecure")}
    return keyed, {name: value for name, value in settings.items() if name in aside}


def _part(written: Any) -> dict[str, Any] | None:
    """Which rows of a split, as steps take it."""
    return {"source": written.source, "subject": written.class_} if written is not None else None


class Evaluation(Nodes):
    """Section `evaluation`."""

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
                    {"checkpoint": whose, "dataset": self._rows(), **words},
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
