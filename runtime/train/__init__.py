"""Checkpoint, rows, teacher and loss terms → a trained checkpoint and the report of its training: one loop, one
chunked loss path. A new objective is a file in `runtime/losses`, not here."""
