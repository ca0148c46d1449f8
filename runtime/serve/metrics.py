"""What a server has done → numbers for Prometheus. Nothing of what anybody asked or was answered is in them."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "kcompiler_requests", "Requests by path and HTTP status.", ["path", "status"], registry=self.registry
        )
        self.tokens = Counter("kcompiler_tokens", "Tokens read and chosen.", ["kind"], registry=self.registry)
        self.ends = Counter("kcompiler_answers", "Answers by how they ended.", ["end"], registry=self.registry)
        self.dropped = Counter(
            "kcompiler_dropped_connections", "Connections ended by a limit.", ["why"], registry=self.registry
        )
        self.first = Histogram(
            "kcompiler_first_piece_seconds", "From asking to the first piece.", buckets=_SECONDS, registry=self.registry
        )
        self.whole = Histogram(
            "kcompiler_answer_seconds", "From asking to the end of an answer.", buckets=_SECONDS, registry=self.registry
        )

    def watch(self, name: str, about: str, value: Callable[[], int]) -> None:
        """A number that is looked up whenever somebody asks."""
        Gauge(name, about, registry=self.registry).set_function(value)

    def text(self) -> bytes:
        return bytes(generate_latest(self.registry))
