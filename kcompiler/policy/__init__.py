"""Policy packs as files → typed rules → obligations of a plan, and the kinds of check that decide them.

Knows reports and rules, and nothing of specs, graphs or plans: what a rule needs from a spec arrives as plain values.
"""

from kcompiler.policy.load import LoadedPack, LoadedRule, Policy, available, load
from kcompiler.policy.oblige import EVALUATION, obligations, starting, ungated

__all__ = [
    "EVALUATION",
    "LoadedPack",
    "LoadedRule",
    "Policy",
    "available",
    "load",
    "obligations",
    "starting",
    "ungated",
]
