"""plan.lock → artifacts, reports and evidence: the engine. `apply` is its entry; a part of it is one module here.

Operations (models, train, data, mil, tools) may use `durable` and `host` of this room and nothing else of it.
"""
