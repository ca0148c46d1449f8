"""Who says which calls the rows of a source may hold: the schemas of their tools, or suites by rules of their own."""

from __future__ import annotations

from kcompiler.spec import Spec
from kcompiler.spec.data import FileSource
from runtime import catalog
from runtime.contract.splits import TEST


def ruled_by_suites(spec: Spec, source: FileSource) -> bool:
    """Whether suites alone judge the calls of a source's rows, each by rules of its own. Of rows that anything learns
    from, or that another suite reads, or that nobody judges, the tools say which calls they may hold."""
    reading = [
        suite
        for suite in spec.evaluation.suites
        if suite.split == source.split and (suite.rows is None or suite.rows.source in (None, source.name))
    ]
    return (
        source.split == TEST and bool(reading) and all(catalog.load("suites", suite.use).own_rules for suite in reading)
    )
