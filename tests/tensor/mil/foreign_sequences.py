"""Small networks over sequences in plain torch: convolutional, recurrent, scanning, attending; random weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.tensor.mil.foreign_nets import Add, Do, conv


def temporal() -> nn.Module:
    def layer(i: int, rate: int) -> nn.Module:
        body = nn.Sequential(nn.ConstantPad1d((2 * rate, 0), 0.0), nn.Conv1d(i, 8, 3, dilation=rate), nn.ReLU())
        return Add(body, nn.Conv1d(i, 8, 1), nn.ReLU())

    return nn.Sequential(layer(4, 1), layer(8, 2), layer(8, 4), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(8, 3))


def wavenet() -> nn.Module:
    class Gate(nn.Module):
        def __init__(self, rate: int) -> None:
            super().__init__()
            self.wide = nn.Conv1d(8, 16, 2, dilation=rate)
            self.out = nn.Conv1d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            left, right = self.wide(x).chunk(2, 1)
            y = torch.tanh(left) * torch.sigmoid(right)
            return x[:, :, -y.shape[-1] :] + self.out(y)

    return nn.Sequential(
        nn.Conv1d(1, 8, 2), Gate(1), Gate(2), Gate(4), nn.ReLU(), nn.Conv1d(8, 16, 1), nn.LogSoftmax(1)
    )


def autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(2, 8, 4, 2, 1),
        nn.Softplus(),
        nn.Conv1d(8, 8, 4, 2, 1),
        nn.Softsign(),
        nn.ConvTranspose1d(8, 8, 4, 2, 1),
        nn.Mish(),
        nn.ConvTranspose1d(8, 2, 4, 2, 1),
    )


def mixer() -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.LayerNorm(16), nn.LayerNorm(16)
            self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
            self.channels = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.one(x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.two(x))

    return nn.Sequential(
        nn.Conv2d(3, 16, 8, 8),
        nn.Flatten(2),
        Do(lambda x: x.transpose(1, 2)),
        Block(),
        Block(),
        Do(lambda x: x.mean(1)),
        nn.Linear(16, 10),
    )


class Selective(nn.Module):
    """A selective scan as Mamba's: state_t = exp(dt·A)·state + dt·B·x, y = C·state + D·x."""

    def __init__(self, *, cumulative: bool) -> None:
        super().__init__()
        self.cumulative = cumulative
        self.inward, self.conv = nn.Linear(8, 32), nn.Conv1d(16, 16, 4, groups=16, padding=3)
        self.select, self.rate = nn.Linear(16, 9), nn.Linear(1, 16)
        self.log_a, self.d = nn.Parameter(torch.arange(1.0, 5).log().repeat(16, 1)), nn.Parameter(torch.ones(16))
        self.out = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        u, gate = self.inward(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))
        dt, b, c = self.select(u).split([1, 4, 4], -1)
        dt = F.softplus(self.rate(dt))
        decay = dt[..., None] * -self.log_a.exp()
        step = (dt * u)[..., None] * b[:, :, None]
        if self.cumulative:
            total = decay.cumsum(1)
            states = (step * (-total).exp()).cumsum(1) * total.exp()
        else:
            state, every = torch.zeros_like(step[:, 0]), []
            for index in range(x.shape[1]):
                state = decay[:, index].exp() * state + step[:, index]
                every.append(state)
            states = torch.stack(every, 1)
        y = torch.einsum("btdn,btn->btd", states, c) + self.d * u
        return self.out(y * F.silu(gate))


def scan() -> nn.Module:
    return Selective(cumulative=False)


def cumulative_scan() -> nn.Module:
    return Selective(cumulative=True)


class Recurrent(nn.Module):
    """Embedding, recurrent layers, a choice per token."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.embed, self.layer, self.out = nn.Embedding(20, 6), layer, nn.Linear(width, 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.layer(self.embed(ids))[0])


def lstm_tagger() -> nn.Module:
    return Recurrent(nn.LSTM(6, 8, 2, batch_first=True), 8)


def bilstm_tagger() -> nn.Module:
    return Recurrent(nn.LSTM(6, 8, batch_first=True, bidirectional=True), 16)


def gru_tagger() -> nn.Module:
    return Recurrent(nn.GRU(6, 8, batch_first=True), 8)


def rnn_tagger() -> nn.Module:
    return Recurrent(nn.RNN(6, 8, batch_first=True), 8)


def crnn() -> nn.Module:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.rnn = (
                nn.Sequential(conv(1, 8, 3), nn.MaxPool2d((2, 1)), conv(8, 8, 3), nn.MaxPool2d((4, 1))),
                nn.LSTM(8, 8, bidirectional=True),
            )
            self.out = nn.Linear(16, 12)

        def forward(self, x: Tensor) -> Tensor:
            y = self.net(x).squeeze(2).permute(2, 0, 1)
            return self.out(self.rnn(y)[0]).log_softmax(-1)

    return Reader()


def speech_encoder() -> nn.Module:
    """Whisper-like: two convolutions over a spectrogram, positions, transformer blocks."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv1d(8, 16, 3, padding=1), nn.Conv1d(16, 16, 3, 2, 1)
            self.places = nn.Parameter(torch.randn(10, 16))
            layer = nn.TransformerEncoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, 2, nn.LayerNorm(16), enable_nested_tensor=False)

        def forward(self, x: Tensor) -> Tensor:
            y = F.gelu(self.two(F.gelu(self.one(x)))).transpose(1, 2)
            return self.blocks(y + self.places)

    return Encoder()


def speech_decoder() -> nn.Module:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(30, 16)
            self.block = nn.TransformerDecoderLayer(16, 2, 32, activation="gelu", batch_first=True, norm_first=True)
            self.register_buffer("mask", torch.full((6, 6), -1e4).triu(1).masked_fill(torch.ones(6, 6).tril() > 0, 0.0))

        def forward(self, ids: Tensor, heard: Tensor) -> Tensor:
            y = self.block(self.embed(ids), heard, tgt_mask=self.mask)
            return y @ self.embed.weight.T

    return Decoder()


def ranker() -> nn.Module:
    """Sorting, choosing, counting."""

    class Ranker(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            score = self.score(x).squeeze(-1)
            best, place = score.topk(3, dim=-1)
            rows = x.gather(1, place[..., None].expand(-1, -1, 4))
            return (
                best,
                rows,
                score.softmax(-1).cumsum(-1),
                score.argsort(-1).float(),
                torch.where(score > 0, score, -score).clamp(0.1, 2),
            )

    return Ranker()


def arithmetic() -> nn.Module:
    class Mix(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            y = x.roll(1, 1).flip(0) + F.pad(x, (1, 1, 1, 1), mode="replicate")[:, 1:-1, :-2]
            z = torch.erf(y) * torch.atan(y) + torch.sinh(x).clamp(-3, 3) - torch.floor(y)
            return (
                z.var(-1, unbiased=False),
                z.norm(dim=1),
                z.logsumexp(-1),
                torch.einsum("bij,bkj->bik", x, y),
                z.amax(1),
                F.normalize(z, dim=-1),
            )

    return Mix()
