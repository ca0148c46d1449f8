"""Folders of weights, tokenizers and configs → checkpoints, probes, exported programs and runners of them. A new
family is a row in each table that `build` and `wrapper` keep of families."""
