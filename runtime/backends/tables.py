"""The data step where a source is a table: Parquet and Arrow are read by pyarrow, in a process of its own."""

from runtime.contract import Backend

BACKEND = Backend(
    name="tables",
    version=1,
    operations={"data": "runtime.data.prepare:prepare"},
    requires={"pyarrow": "26.0.1"},
    extra="parquet",
)
