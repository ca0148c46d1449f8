"""Transformers decoder → one prefill module for every length of a package whose input has enumerated shapes.

It is `runtime.models.wrapper.Prefill` with its length left open: positions, masks and angles are made of the number of
ids while it runs. It takes the ids alone. Padding stands on the right, and no token attends to one that comes after
it, so that the mask of a prompt changes nothing at a real position; and before iOS 18 Core ML lets one input of a
model have enumerated shapes, not two.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from runtime.models.wrapper import Recorder, Wrapped


class EnumeratedPrefill(Wrapped):
    """(input_ids_1T int32) → (logits_1TV, keys_LHTD after RoPE, values_LHTD), for every T up to `longest`.

    Logits at padded positions mean nothing, and other heads stand behind, as of `Prefill`.
    """

    def __init__(self, model: PreTrainedModel, longest: int, mask_value: float = -1e4) -> None:
        super().__init__(model, longest, None)
        self.mask_value = mask_value
        self.window = self._windowed(longest)
        rotary = self.model.get_decoder().rotary_emb
        for name, table in list(rotary.named_buffers()):
            # torch.export tells a table that is as long as the longest input apart from a longer one; no position
            # reads the row that is added
            rotary.register_buffer(name, torch.cat((table, table[-1:])), persistent=False)

    def forward(self, input_ids: Tensor) -> tuple[Tensor, ...]:
        positions = torch.arange(input_ids.shape[1], dtype=torch.int32, device=input_ids.device)
        query, key = positions[:, None], positions[None, :]
        causal = torch.ge(query, key).to(torch.float32)
        full = ((1.0 - causal) * self.mask_value)[None, None]
        sliding = None
        if self.window is not None:
            near = causal * torch.lt(query, key + self.window).to(torch.float32)
            sliding = ((1.0 - near) * self.mask_value)[None, None]
        cache = Recorder(None)
        logits, *others = self._said(input_ids, full, sliding, positions[None], cache)
        return logits, torch.cat(cache.keys, 0), torch.cat(cache.values, 0), *others
