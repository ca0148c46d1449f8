"""Logits of student and teacher, and target ids → per-token loss in nats. One more: a file with `LOSS` here (what
losses share is `runtime.contract.objective`), named by `training.stages[].losses[].term`."""
