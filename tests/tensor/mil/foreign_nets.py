"""Small networks in plain torch, as they stand in papers and model zoos; random weights, written for these tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Add(nn.Module):
    """body(x) + side(x)."""

    def __init__(self, body: nn.Module, side: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.side, self.last = body, side or nn.Identity(), last or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x) + self.side(x))


class Cat(nn.Module):
    """The branches' results side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Do(nn.Module):
    """A function as a module."""

    def __init__(self, compute: object) -> None:
        super().__init__()
        self.compute = compute

    def forward(self, *x: Tensor) -> Tensor:
        return self.compute(*x)  # type: ignore[operator,no-any-return]


def conv(i: int, o: int, k: int = 3, s: int = 1, act: nn.Module | None = None, **more: object) -> nn.Sequential:
    """Convolution, batch norm, activation."""
    layer = nn.Conv2d(
        i, o, k, s, padding=more.pop("padding", None if isinstance(k, tuple) else k // 2), bias=False, **more
    )  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.BatchNorm2d(o), act or nn.ReLU())


def head(channels: int, classes: int = 10) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, c: int, gate: nn.Module) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, c // 4, 1), nn.ReLU(), nn.Conv2d(c // 4, c, 1), gate
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.net(x)


def resnet() -> nn.Module:
    def block(i: int, o: int, s: int) -> nn.Module:
        side = conv(i, o, 1, s, nn.Identity()) if s > 1 or i != o else None
        return Add(nn.Sequential(conv(i, o, 3, s), conv(o, o, act=nn.Identity())), side, nn.ReLU())

    return nn.Sequential(
        conv(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1), block(8, 8, 1), block(8, 16, 2), block(16, 32, 2), *head(32)
    )


def bottleneck() -> nn.Module:
    def block(c: int) -> nn.Module:
        return Add(
            nn.Sequential(conv(c, 4, 1), conv(4, 4, groups=2), conv(4, c, 1, act=nn.Identity())), None, nn.ReLU()
        )

    return nn.Sequential(conv(3, 16, 3, 2), block(16), block(16), *head(16))


def mobilenet_v2() -> nn.Module:
    def block(c: int) -> nn.Module:
        wide, act = 4 * c, nn.ReLU6()
        return Add(
            nn.Sequential(
                conv(c, wide, 1, act=act),
                conv(wide, wide, 3, act=act, groups=wide),
                conv(wide, c, 1, act=nn.Identity()),
            )
        )

    return nn.Sequential(conv(3, 8, 3, 2, nn.ReLU6()), block(8), block(8), nn.Dropout(), *head(8))


def mobilenet_v3() -> nn.Module:
    act = nn.Hardswish()
    block = nn.Sequential(
        conv(8, 32, 1, act=act),
        conv(32, 32, 5, act=act, groups=32),
        Squeeze(32, nn.Hardsigmoid()),
        conv(32, 8, 1, act=nn.Identity()),
    )
    return nn.Sequential(
        conv(3, 8, 3, 2, act), Add(block), *head(8)[:-1], nn.Linear(8, 16), nn.Hardswish(), nn.Linear(16, 10)
    )


def efficientnet() -> nn.Module:
    act = nn.SiLU()
    block = nn.Sequential(
        conv(8, 32, 1, act=act),
        conv(32, 32, 3, act=act, groups=32),
        Squeeze(32, nn.Sigmoid()),
        conv(32, 8, 1, act=nn.Identity()),
    )
    return nn.Sequential(conv(3, 8, 3, 2, act), Add(block), conv(8, 16, 1, act=act), *head(16))


def densenet() -> nn.Module:
    def layer(i: int) -> nn.Module:
        return Cat(nn.Identity(), nn.Sequential(nn.BatchNorm2d(i), nn.ReLU(), nn.Conv2d(i, 4, 3, padding=1)))

    return nn.Sequential(conv(3, 8), layer(8), layer(12), nn.Conv2d(16, 8, 1), nn.AvgPool2d(2, 2), layer(8), *head(12))


def squeezenet() -> nn.Module:
    fire = nn.Sequential(
        nn.Conv2d(8, 4, 1), nn.ReLU(), Cat(nn.Conv2d(4, 8, 1), nn.Conv2d(4, 8, 3, padding=1)), nn.ReLU()
    )
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        fire,
        nn.Conv2d(16, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def inception() -> nn.Module:
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    block = Cat(
        conv(8, 4, 1),
        conv(8, 4, 5),
        nn.Sequential(pool, conv(8, 4, 1)),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(8, 4, 1)),
    )
    mixed = nn.Sequential(conv(16, 8, (1, 7), padding=(0, 3)), conv(8, 8, (7, 1), padding=(3, 0)))  # type: ignore[arg-type]
    return nn.Sequential(conv(3, 8, 3, 2), block, mixed, nn.AvgPool2d(3, 2, 1, ceil_mode=True), *head(8))


def vgg() -> nn.Module:
    return nn.Sequential(
        conv(3, 8),
        nn.MaxPool2d(2),
        conv(8, 16),
        nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 32),
        nn.ReLU(),
        nn.Linear(32, 10),
    )


def alexnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 11, 4, 2),
        nn.ReLU(),
        nn.LocalResponseNorm(5),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(392, 10),
    )


def shufflenet() -> nn.Module:
    class Shuffle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(conv(4, 4, 1), conv(4, 4, 3, act=nn.Identity(), groups=4), conv(4, 4, 1))

        def forward(self, x: Tensor) -> Tensor:
            kept, left = x.chunk(2, 1)
            y = torch.cat([kept, self.body(left)], 1)
            n, c, h, w = y.shape
            return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    return nn.Sequential(conv(3, 8, 3, 2), Shuffle(), Shuffle(), *head(8))


def convnext() -> nn.Module:
    last = Do(lambda x: x.permute(0, 3, 1, 2))
    body = nn.Sequential(
        nn.Conv2d(8, 8, 7, padding=3, groups=8),
        Do(lambda x: x.permute(0, 2, 3, 1)),
        nn.LayerNorm(8),
        nn.Linear(8, 32),
        nn.GELU(),
        nn.Linear(32, 8),
        last,
    )
    return nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), Add(body), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(8), nn.Linear(8, 10)
    )


class UNet(nn.Module):
    """Two levels; `up` doubles the size."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.up = conv(3, 8), conv(8, 16), up
        self.last = nn.Sequential(conv(24, 8), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        high = self.first(x)
        low = self.second(F.max_pool2d(high, 2))
        return self.last(torch.cat([high, self.up(low)], 1))


def unet_transposed() -> nn.Module:
    return UNet(nn.ConvTranspose2d(16, 16, 2, 2))


def unet_bilinear() -> nn.Module:
    return UNet(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))


def unet_half_pixels() -> nn.Module:
    return UNet(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))


def fpn() -> nn.Module:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.mid, self.high = conv(3, 8, 3, 2), conv(8, 8, 3, 2), conv(8, 8, 3, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            low = self.low(x)
            mid = self.mid(low)
            high = self.high(mid)
            mid = mid + F.interpolate(high, scale_factor=2.0, mode="nearest")
            return low + F.interpolate(mid, size=low.shape[-2:], mode="nearest"), mid, high

    return Pyramid()


def deeplab() -> nn.Module:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = conv(3, 8, 3, 2)
            rates = [nn.Conv2d(8, 4, 3, padding=r, dilation=r) for r in (1, 2, 4)]
            self.rates, self.whole = Cat(*rates), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 4, 1))
            self.last = nn.Conv2d(16, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            whole = F.interpolate(self.whole(y), size=y.shape[-2:], mode="bilinear", align_corners=False)
            y = self.last(torch.cat([self.rates(y), whole], 1))
            return F.interpolate(y, size=x.shape[-2:], mode="bilinear", align_corners=False)

    return Pyramid()


def espcn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 27, 3, padding=1), nn.PixelShuffle(3), nn.Sigmoid()
    )


def srgan() -> nn.Module:
    block = Add(nn.Sequential(conv(8, 8, act=nn.PReLU(8)), conv(8, 8, act=nn.Identity())))
    return nn.Sequential(
        nn.Conv2d(3, 8, 9, padding=4),
        nn.PReLU(),
        block,
        nn.Conv2d(8, 32, 3, padding=1),
        nn.PixelShuffle(2),
        nn.PReLU(),
        nn.Conv2d(8, 3, 3, padding=1),
    )


def unshuffled() -> nn.Module:
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 12, 3, padding=1), nn.LeakyReLU(0.1), nn.PixelShuffle(2))


def dcgan() -> nn.Module:
    def up(i: int, o: int, s: int, p: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(i, o, 4, s, p, bias=False), nn.BatchNorm2d(o), nn.ReLU()]

    return nn.Sequential(
        *up(16, 8, 1, 0), *up(8, 8, 2, 1), nn.ConvTranspose2d(8, 3, 3, 2, 1, output_padding=1), nn.Tanh()
    )


def style_transfer() -> nn.Module:
    norm = nn.InstanceNorm2d(8, affine=True)
    return nn.Sequential(
        nn.ReflectionPad2d(4),
        nn.Conv2d(3, 8, 9),
        norm,
        nn.ReLU(),
        nn.ReplicationPad2d(1),
        nn.Conv2d(8, 3, 3),
        nn.InstanceNorm2d(3),
    )


def group_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.GroupNorm(4, 8),
        nn.ELU(),
        nn.Conv2d(8, 8, 3),
        nn.GroupNorm(1, 8),
        nn.Hardtanh(),
        *head(8),
    )


def yolo() -> nn.Module:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.deep = conv(3, 8, 3, 2, nn.SiLU()), conv(8, 16, 3, 2, nn.SiLU())
            self.pool = nn.MaxPool2d(5, 1, 2)
            self.near, self.far = nn.Conv2d(40, 18, 1), nn.Conv2d(32, 18, 1)

        def cells(self, y: Tensor) -> Tensor:
            n, _, h, w = y.shape
            y = y.view(n, 3, 6, h, w).permute(0, 1, 3, 4, 2).sigmoid()
            grid = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1).float()
            place, rest = y[..., :2] * 2 - 0.5 + grid, (y[..., 2:4] * 2) ** 2
            return torch.cat([place, rest, y[..., 4:]], -1).reshape(n, -1, 6)

        def forward(self, x: Tensor) -> Tensor:
            low = self.stem(x)
            high = self.deep(low)
            high = torch.cat([high, self.pool(high)], 1)
            wide = torch.cat([F.interpolate(high, scale_factor=2, mode="nearest"), low], 1)
            return torch.cat([self.cells(self.near(wide)), self.cells(self.far(high))], 1)

    return Detector()


def video() -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1),
        nn.BatchNorm3d(8),
        nn.ReLU(),
        nn.MaxPool3d(2),
        nn.Conv3d(8, 8, (1, 3, 3)),
        nn.AvgPool3d((2, 1, 1)),
        nn.Flatten(),
        nn.Linear(200, 4),
    )


def spatial_transformer() -> nn.Module:
    class Warp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Sequential(
                nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 6)
            )
            self.net = nn.Conv2d(1, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            theta = self.place(x).view(1, 2, 3)
            return self.net(
                F.grid_sample(x, F.affine_grid(theta, [1, 1, 16, 16], align_corners=True), align_corners=True)
            )

    return Warp()


def flow_warp() -> nn.Module:
    class Warp(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flow = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            grid = self.flow(x).permute(0, 2, 3, 1).tanh() * 1.2
            return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)

    return Warp()
