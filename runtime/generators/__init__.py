"""Room: generators."""
