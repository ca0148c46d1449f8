"""Counts and samples → intervals, tests and what a number of items can tell: one module a subject, standard library.

    intervals   of a rate (exact, Wilson) and of a mean (Student's t, bootstrap)
    rates       k of n as a datum of a report, with its interval
    means       of items' values, as a datum with Student's interval and what that is made of
    paired      two models on the same items: difference, items won and lost, McNemar
    clusters    items that come in families: the mean, and the error that families make
    repeated    tasks that are tried several times: pass^k
    ratios      of two paired means (Fieller)
    quantiles   as they were observed, with distribution-free intervals
    multiple    several tests at once: Holm
    power       how many items, or how large a difference, before a test can tell

Everything is a pure function of what is given, so that whoever audits a report computes the same of its items.
One more: a module here, with its oracle in tests/unit/runtime/contract/statistics.
"""
