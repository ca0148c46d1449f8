"""coremltools: conversion to saved packages, and their verification by the MIL reference interpreter."""

from runtime.contract import Backend

BACKEND = Backend(
    name="coreml",
    version=1,
    operations={
        "ask": "runtime.asking.ask:ask",
        "convert": "runtime.mil.convert:convert",
        "error_ledger": "runtime.models.error_ledger:measure",
        "verify": "runtime.mil.verify:verify",
    },
    requires={"coremltools": "9.0", "torch": "2.13.0", "safetensors": "0.8.0", "numpy": "2.4.6"},
)
