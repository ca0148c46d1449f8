"""Spec → nodes and inputs: probes, export, conversion and verification of the student."""

from __future__ import annotations

from typing import Any

from kcompiler.facts import sizes
from kcompiler.facts.errata import avoided
from kcompiler.lower.nodes import Nodes
from runtime import catalog
from runtime.contract.activations import chosen, matrices, plain
from runtime.contract.qat import rounded


class Delivery(Nodes):
    """Sections `shapes`, `verification`, `export` and `quantization`."""

    def covering(self) -> dict[str, Any]:
        """Over what the student's functions are to be compared."""
        shapes, asked = self.spec.shapes, self.spec.verification
        return {
            "prefill": list(shapes.prefill),
            "decode_context": shapes.decode.context,
            "layers": self.spec.student.architecture.num_hidden_layers,
            "golden_prompts": asked.prompts,
            "decode_steps": asked.decode_steps,
            **self._heads(),
        }

    def delivery(self) -> None:
        """Probes, export, conversion and verification of the last stage's student."""
        shapes, threads = self.spec.shapes, self.spec.execution.threads
        lengths, context = list(shapes.prefill), shapes.decode.context
        strategy = self.spec.export.strategy
        asked = self.spec.verification
        goldens = {"golden_prompts": asked.prompts, "decode_steps": asked.decode_steps}
        covering = self.covering()
        model = {
            "dataset": self._rows(),
            "tokenizer": "step:tokenizer#tokenizer",
            "checkpoint": self._student(),
        }
        self.add(
            "probe",
            "probe",
            {
                "lengths": lengths,
                "decode_context": context,
                "strategy": strategy,
                "profile": self.spec.export.profile,
                "threads": threads,
                "device": self._device,
            },
            model,
            origin="/shapes",
        )
        self.add(
            "export",
            "export",
            {
                "prefill": lengths,
                "decode_context": context,
                "strategy": strategy,
                "chunks": self.spec.export.chunks,
                "profile": self.spec.export.profile,
                "threads": threads,
                "device": self._device,
                **goldens,
                **self._heads(),
            },
            model,
            origin="/shapes",
            after=["tokenizer", "probe"],
        )
        quantization = self.spec.quantization
        recipe = self._recipe()
        islands = list(quantization.islands)
        # layer by layer: a report about some of what a pattern matches would be whole in itself
        match = [] if quantization.activations is None else quantization.activations.match
        tensors = list(sizes.tensors(self.spec.student.architecture))
        named = matrices(tensors)
        activations = [plain(name) for name in chosen(match, named)]
        stored, stages = {}, self.spec.training.stages
        if quantization.calibration is not None:
            self.add(
                "calibrate",
                "calibrate",
                {
                    "recipe": recipe,
                    "activations": activations,
                    "threads": threads,
                    **quantization.calibration.model_dump(),
                },
                model,
                origin="/quantization/calibration",
                after=["tokenizer", "probe"],
            )
            stored = {"stored": "step:calibrate#stored"}
        # what the last stage trained with rounded weights, the package holds
        aware = bool(stages) and stages[-1].qat is not None
        trained = {"training": f"step:train-{stages[-1].name}#report"} if aware else {}
        self.add(
            "convert",
            "convert",
            {
                "deployment": self.spec.export.deployment,
                "compute_units": self.spec.export.compute_units,
                "strategy": strategy,
                "recipe": recipe,
                "islands": islands,
                "cache": shapes.decode.cache,
                "calibrated": bool(stored),
                "activations": activations,
                "errata": avoided(catalog.load("backends", "coreml").requires),
            },
            {"program": "step:export#program", **stored},
            origin="/quantization",
            after=["export"],
        )
        self.add(
            "verify",
            "verify",
            {
                "recipe": recipe,
                "islands": islands,
                "cache": shapes.decode.cache,
                **self.spec.export.model_dump(),
                "calibrated": bool(stored),
                "activations": activations,
                "qat": rounded(quantization, tensors) if trained else [],
                **covering,
            },
            {
                "package": "step:convert#package",
                "float32": "step:convert#float32",
                "goldens": "step:export#goldens",
                **model,
                **stored,
                **trained,
            },
            origin="/quantization",
        )
        if asked.ledger:
            kept = asked.tolerances
            self.add(
                "error-ledger",
                "error_ledger",
                {
                    "float32": kept.float32,
                    "float16": kept.float16,
                    "quantized": kept.blocks,
                    "threads": threads,
                    **covering,
                },
                {
                    "package": "step:convert#package",
                    "float32": "step:convert#float32",
                    "goldens": "step:export#goldens",
                    **model,
                },
                origin="/verification/ledger",
            )
        if asked.onnx:
            self.add("onnx", "write_onnx", {}, {"program": "step:export#program"}, origin="/verification/onnx")
            self.add(
                "verify-onnx",
                "verify_onnx",
                {"tolerance": asked.tolerances.float32, "threads": threads, **covering},
                {
                    "onnx": "step:onnx#onnx",
                    "float32": "step:convert#float32",
                    "goldens": "step:export#goldens",
                    **model,
                },
                origin="/verification/onnx",
            )
