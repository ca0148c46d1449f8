"""How many tokens' logits should exist at one time, and whether the vocabulary should be cut as well.

    python tests/bench/chunks.py [--vocabularies 2048 32768 131072] [--tokens 1024] [--hidden 256] [--rounds 3]

One batch of hidden states, student and teacher, forward KL at temperature 1 and its gradient (runtime.train.onepass),
one thread, float32. Each size of a chunk runs in turn, `--rounds` times, the least processor time counts; printed is the
time beside that of the fastest, and the bytes of both models' logits. `cut` is a prototype that cuts the vocabulary too:
of each block of tokens and words logits exist, the sum of exponentials is made as it goes, and for the gradient they
are made again, because it needs the whole sum: six products with the heads in the place of four. Values must agree.

Seen (x86, one thread, torch 2.13, hidden width 256, 1024 tokens; time beside the fastest, bytes of both models):

    tokens      2 k words        32 k words       128 k words
        16    1.19     0.3 MB  1.50     4.2 MB  1.43    16.8 MB
        32    1.07     0.5 MB  1.16     8.4 MB  1.18    33.6 MB
        64    1.03     1.0 MB  1.10    16.8 MB  1.11    67.1 MB
       128    1.00     2.1 MB  1.04    33.6 MB  1.07   134.2 MB
       256    1.01     4.2 MB  1.01    67.1 MB  1.02   268.4 MB
       512    1.03     8.4 MB  1.01   134.2 MB  1.00   536.9 MB
      1024    1.09    16.8 MB  1.00   268.4 MB  1.00  1073.7 MB
    cut       1.46     8.4 MB  1.30     8.4 MB  1.26     8.4 MB   (1024 tokens x 1024 words)

So the time is a matter of tokens, the memory of bytes: 128 tokens, and no more than 64 MiB of one model's logits
(runtime.contract.placing). Cutting the vocabulary does not pay.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

CHUNKS = (16, 32, 64, 128, 256, 512, 1024)
#: (tokens, words) of a block
CUTS = ((256, 4096), (1024, 1024), (1024, 4096))


def cut(
    hidden_NH: Tensor, head: nn.Linear, taught_NH: Tensor, other: nn.Linear, tokens: int, words: int
) -> tuple[float, Tensor, Tensor]:
    """KL per token and its gradient with respect to hidden states and head."""
    mine_VH, theirs_VH, count = head.weight.detach(), other.weight.detach(), len(hidden_NH)
    hidden_grad, weight_grad, total = torch.zeros_like(hidden_NH), torch.zeros_like(mine_VH), 0.0
    for begin in range(0, count, tokens):
        h_CH, t_CH = hidden_NH[begin : begin + tokens], taught_NH[begin : begin + tokens]
        top_C = torch.full((2, len(h_CH)), -torch.inf)
        mass_C, cross_C = torch.zeros(2, len(h_CH)), torch.zeros(len(h_CH))
        for at in range(0, len(mine_VH), words):
            s_CW, t_CW = h_CH @ mine_VH[at : at + words].T, t_CH @ theirs_VH[at : at + words].T
            for k, z_CW in enumerate((s_CW, t_CW)):
                high_C = torch.maximum(top_C[k], z_CW.amax(-1))
                scale_C = (top_C[k] - high_C).exp()
                e_CW = (z_CW - high_C[:, None]).exp_()
                mass_C[k] = mass_C[k] * scale_C + e_CW.sum(-1)
                top_C[k] = high_C
            # of the teacher, the last: its exponentials weigh how far the two are apart
            cross_C = cross_C * scale_C + e_CW.mul_(t_CW.sub_(s_CW)).sum(-1)
        whole_C = top_C + mass_C.log()
        total += float((cross_C / mass_C[1] - whole_C[1] + whole_C[0]).sum())
        for at in range(0, len(mine_VH), words):
            block_WH = mine_VH[at : at + words]
            g_CW = (h_CH @ block_WH.T).sub_(whole_C[0][:, None]).exp_()
            g_CW -= (t_CH @ theirs_VH[at : at + words].T).sub_(whole_C[1][:, None]).exp_()
            g_CW /= count
            hidden_grad[begin : begin + tokens].addmm_(g_CW, block_WH)
            weight_grad[at : at + words].addmm_(g_CW.T, h_CH)
    return total / count, hidden_grad, weight_grad


def ways(vocabulary: int, tokens: int, hidden: int) -> dict[str, tuple[int, Callable[[], float]]]:
    """Name → bytes of the logits that exist at one time, and one pass."""
    from runtime.steps.train import Term
    from runtime.train import objective, onepass
    from runtime.train.objective import Side

    torch.manual_seed(1)
    heads = [nn.Linear(hidden, vocabulary, bias=False) for _ in range(2)]
    hidden_NH, taught_NH = torch.randn(tokens, hidden), torch.randn(tokens, hidden)
    terms = objective.bind([Term(term="kl", version=1, weight=1.0, params={"temperature": 1.0})])
    batch = onepass.Batch(
        teacher=Side(taught_NH, heads[1]),
        target_N=torch.zeros(tokens, dtype=torch.long),
        masks_N={"response": torch.ones(tokens, dtype=torch.bool)},
        denominators={"response": tokens},
    )

    def ours(chunk: int) -> float:
        mine_NH = hidden_NH.clone().requires_grad_()
        heads[0].weight.grad = None
        whole, _ = onepass.total(mine_NH, heads[0], batch, terms, [1.0], chunk)
        whole.backward()
        return float(whole.detach())

    found: dict[str, tuple[int, Callable[[], float]]] = {}
    for chunk in (one for one in CHUNKS if one <= tokens):
        found[f"{chunk} tokens"] = chunk * vocabulary * 8, lambda chunk=chunk: ours(chunk)
    for most, words in ((one, other) for one, other in CUTS if one <= tokens and other <= vocabulary):
        found[f"cut {most} x {words}"] = (
            most * words * 8,
            lambda most=most, words=words: cut(hidden_NH, heads[0], taught_NH, heads[1], most, words)[0],
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[2048, 32768, 131072])
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    for vocabulary in given.vocabularies:
        made = ways(vocabulary, given.tokens, given.hidden)
        took = dict.fromkeys(made, float("inf"))
        values: list[float] = []
        for _ in range(given.rounds):
            for name, (_, one) in made.items():
                began = time.process_time()
                values.append(one())
                took[name] = min(took[name], time.process_time() - began)
        assert max(values) - min(values) <= 1e-5 * abs(values[0]), values
        print(f"\n{vocabulary:,} words, {given.tokens:,} tokens, hidden width {given.hidden}")
        for name, (size, _) in made.items():
            print(f"  {name:<16} {took[name]:7.3f} s  x{took[name] / min(took.values()):.2f}  {size / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
