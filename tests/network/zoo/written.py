"""Networks as people write them: functions in forward(), and parameters, norms and activations of their own."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


# ------------------------------------------------------------------ language models
class NewGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class OwnLayerNorm(nn.Module):
    """A layer norm with an optional bias, through the function."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class CausalAttention(nn.Module):
    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(0.1)
        self.register_buffer("mask", torch.tril(torch.ones(64, 64)).view(1, 1, 64, 64))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.size()
        q, k, v = self.c_attn(x).split(c, dim=2)
        q, k, v = (h.view(b, t, self.heads, c // self.heads).transpose(1, 2) for h in (q, k, v))
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
            att = att.masked_fill(self.mask[:, :, :t, :t] == 0, float("-inf"))
            y = self.dropout(F.softmax(att, dim=-1)) @ v
        return self.c_proj(y.transpose(1, 2).contiguous().view(b, t, c))


class GPT(nn.Module):
    """A decoder with tied ends that computes its own loss."""

    def __init__(
        self, vocabulary: int = 96, width: int = 64, depth: int = 3, *, fused: bool = True, act: Any = None
    ) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(64, width)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            self.blocks.append(nn.ModuleDict({
                "ln_1": OwnLayerNorm(width, bias=False), "attn": CausalAttention(width, 4, fused=fused),
                "ln_2": OwnLayerNorm(width, bias=True), "c_fc": nn.Linear(width, 4 * width),
                "act": act or NewGELU(), "c_proj": nn.Linear(4 * width, width),
            }))  # fmt: skip
        self.ln_f, self.lm_head = OwnLayerNorm(width, bias=True), nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            x = x + block["attn"](block["ln_1"](x))
            x = x + block["c_proj"](block["act"](block["c_fc"](block["ln_2"](x))))
        logits = self.lm_head(self.ln_f(x))
        loss = None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss


class OwnRMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + 1e-6)).type_as(x) * self.gamma


class Gemma(nn.Module):
    """RMS norm whose parameter w stands for 1 + w."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * (1.0 + self.weight)


class Llama(nn.Module):
    """Rotary positions, grouped queries, a gated feed-forward layer, RMS norms of its own."""

    def __init__(self, vocabulary: int = 96, width: int = 64, depth: int = 3, norm: Any = OwnRMSNorm) -> None:
        super().__init__()
        self.tok, self.out = nn.Embedding(vocabulary, width), nn.Linear(width, vocabulary, bias=False)
        self.layers = nn.ModuleList(
            nn.ModuleDict({
                "n1": norm(width), "wq": nn.Linear(width, width, bias=False),
                "wk": nn.Linear(width, width // 2, bias=False),
                "wv": nn.Linear(width, width // 2, bias=False), "wo": nn.Linear(width, width, bias=False),
                "n2": norm(width), "w1": nn.Linear(width, 160, bias=False), "w3": nn.Linear(width, 160, bias=False),
                "w2": nn.Linear(160, width, bias=False),
            })
            for _ in range(depth)
        )  # fmt: skip
        self.norm = norm(width)
        angle = torch.outer(torch.arange(64.0), 1.0 / 10000 ** (torch.arange(0, 16, 2) / 16))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def _rotated(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        a, b = x[..., ::2], x[..., 1::2]
        cos, sin = self.cos[None, :t, None], self.sin[None, :t, None]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def forward(self, idx: Tensor) -> Tensor:
        x = self.tok(idx)
        b, t, c = x.shape
        for m in self.layers:
            y = m["n1"](x)
            q, k, v = m["wq"](y).view(b, t, 4, 16), m["wk"](y).view(b, t, 2, 16), m["wv"](y).view(b, t, 2, 16)
            q, k = self._rotated(q), self._rotated(k)
            k, v = k.repeat_interleave(2, 2), v.repeat_interleave(2, 2)
            y = F.scaled_dot_product_attention(*(h.transpose(1, 2) for h in (q, k, v)), is_causal=True)
            x = x + m["wo"](y.transpose(1, 2).reshape(b, t, c))
            y = m["n2"](x)
            x = x + m["w2"](F.silu(m["w1"](y)) * m["w3"](y))
        return self.out(self.norm(x))


# ------------------------------------------------------------------ images
class ViT(nn.Module):
    """Patches, a class token, a position table, attention by einsum over heads."""

    def __init__(self, classes: int = 10, width: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 17, width))
        self.qkv = nn.ParameterList(nn.Parameter(torch.empty(3, 4, width, 16)) for _ in range(depth))
        self.mix = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.gammas = nn.ParameterList(nn.Parameter(1e-1 * torch.ones(width)) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        for i, qkv in enumerate(self.qkv):
            q, k, v = torch.einsum("btd,chdk->cbhtk", self.norms[2 * i](x), qkv)
            y = torch.softmax(q @ k.mT / 4.0, -1) @ v
            x = x + self.gammas[i] * self.mix[i](y.transpose(1, 2).flatten(2))
            x = x + self.down[i](F.gelu(self.up[i](self.norms[2 * i + 1](x))))
        return self.head(self.norms[-1](x)[:, 0])


class Block(nn.Module):
    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.shortcut = nn.Sequential()
        if a != b or stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class CifarResNet(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.blocks = nn.ModuleList([Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)])
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.conv(x)))
        for block in self.blocks:
            x = block(x)
        return self.linear(F.avg_pool2d(x, x.shape[-1]).view(x.size(0), -1))


class UNet(nn.Module):
    """Two levels with skips by concatenation, transposed convolutions on the way up."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.d1, self.d2, self.mid = self._double(3, 48), self._double(48, 96), self._double(96, 192)
        self.up2, self.u2 = nn.ConvTranspose2d(192, 96, 2, 2), self._double(192, 96)
        self.up1, self.u1 = nn.ConvTranspose2d(96, 48, 2, 2), self._double(96, 48)
        self.out = nn.Conv2d(48, classes, 1)

    @staticmethod
    def _double(a: int, b: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(b, b, 3, padding=1), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        y = self.mid(F.max_pool2d(b, 2))
        y = self.u2(torch.cat([self.up2(y), b], 1))
        return self.out(self.u1(torch.cat([self.up1(y), a], 1)))


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(32, 64 * 4 * 4)
        self.main = nn.Sequential(
            nn.BatchNorm2d(64), nn.ReLU(True), nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32),
            nn.ReLU(True), nn.ConvTranspose2d(32, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.main(self.fc(z).view(-1, 64, 4, 4))


class Discriminator(nn.Module):
    """Spectral norm of both makes, leaky ReLU of slope 0.2, a flat output."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 32, 4, 2, 1))
        self.c2 = nn.Conv2d(32, 64, 4, 2, 1)
        self.fc = nn.Linear(64 * 4 * 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.c1(x), 0.2)
        x = F.leaky_relu(self.c2(x), 0.2)
        return self.fc(x.flatten(1)).squeeze(1)


class TimeUNet(nn.Module):
    """A denoiser: a time embedding is added in a residual block with group norm; the last convolution is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, 64))
        self.inp = nn.Conv2d(3, 32, 3, padding=1)
        self.n1, self.c1 = nn.GroupNorm(8, 32), nn.Conv2d(32, 64, 3, padding=1)
        self.emb, self.n2, self.c2 = nn.Linear(64, 64), nn.GroupNorm(8, 64), nn.Conv2d(64, 64, 3, padding=1)
        self.skip, self.no, self.out = nn.Conv2d(32, 64, 1), nn.GroupNorm(8, 64), nn.Conv2d(64, 3, 3, padding=1)
        nn.init.zeros_(self.c2.weight)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angle = t[:, None].float() * torch.exp(-math.log(1e4) * torch.arange(16, device=t.device) / 16)
        emb = self.time(torch.cat([angle.cos(), angle.sin()], 1))
        h = self.inp(x)
        y = self.c1(F.silu(self.n1(h))) + self.emb(F.silu(emb))[:, :, None, None]
        h = self.skip(h) + self.c2(F.silu(self.n2(y)))
        return self.out(F.silu(self.no(h)))


# ------------------------------------------------------------------ experts, fields, pairs, sequences
class Experts(nn.Module):
    """Every expert sees every token; a router weighs them."""

    def __init__(self, classes: int = 10, width: int = 48, experts: int = 4) -> None:
        super().__init__()
        self.inp = nn.Linear(16, width)
        self.router = nn.Linear(width, experts, bias=False)
        self.w1 = nn.Parameter(torch.empty(experts, width, 2 * width))
        self.w2 = nn.Parameter(torch.empty(experts, 2 * width, width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inp(x))
        weight = self.router(x).softmax(-1)
        h = F.relu(torch.einsum("bd,edf->ebf", x, self.w1))
        y = torch.einsum("ebf,efd->ebd", h, self.w2)
        return self.head(self.norm(x + torch.einsum("be,ebd->bd", weight, y)))


class Sine(nn.Module):
    def __init__(self, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * x)


class Field(nn.Module):
    """An implicit representation with sines."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 128), Sine(), nn.Linear(128, 128), Sine(), nn.Linear(128, 128), Sine(), nn.Linear(128, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(24, 64), nn.Linear(64, 64), nn.Linear(64, 2)

    def _embed(self, x: Tensor) -> Tensor:
        return F.elu(self.b(F.elu(self.a(x))))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.head(torch.abs(self._embed(first) - self._embed(second)))


class Tagger(nn.Module):
    """Padded tokens, a packed LSTM, a score for each step."""

    def __init__(self, tags: int = 7) -> None:
        super().__init__()
        self.emb, self.rnn = nn.Embedding(40, 32, padding_idx=0), nn.LSTM(32, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, tags)

    def forward(self, tokens: Tensor) -> Tensor:
        lengths = (tokens != 0).sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(tokens), lengths, batch_first=True, enforce_sorted=False)
        out, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=tokens.shape[1])
        return self.fc(out)


class LoRA(nn.Module):
    """A frozen linear layer with a low-rank update that starts at zero."""

    def __init__(self, base: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A, self.B = (
            nn.Parameter(torch.randn(rank, base.in_features) * 0.02),
            nn.Parameter(torch.zeros(base.out_features, rank)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + (x @ self.A.T) @ self.B.T * 2.0


class Adapted(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.one, self.two, self.head = LoRA(nn.Linear(32, 64)), LoRA(nn.Linear(64, 64)), nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.two(F.relu(self.one(x)))))


class StdConv(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) * w[0].numel() ** 0.5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


class Standardised(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.a, self.b, self.head = StdConv(3, 32, 3, padding=1), StdConv(32, 32, 3, padding=1), nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(x)))).mean((2, 3)))


class EqualLinear(nn.Module):
    """Equalised learning rate: the weight is multiplied with a constant when it is used."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.weight, self.bias, self.scale = nn.Parameter(torch.randn(b, a)), nn.Parameter(torch.zeros(b)), a**-0.5

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class Mapping(nn.Module):
    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.layers = nn.ModuleList([EqualLinear(32, 64), EqualLinear(64, 64), EqualLinear(64, classes)])

    def forward(self, z: Tensor) -> Tensor:
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers[:-1]:
            z = F.leaky_relu(layer(z), 0.2)
        return self.layers[-1](z)


class Attentive(nn.Module):
    """Squeeze and excitation by functions, ReLU6, hard swish."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem, self.dw = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 1, 1, groups=32)
        self.down, self.up = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.pw, self.head = nn.Conv2d(32, 64, 1), nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.dw(F.hardswish(self.stem(x))))
        x = x * torch.sigmoid(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))
        return self.head(F.hardswish(self.pw(x)).mean((2, 3)))


class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pi, self.v = nn.Linear(8, 64), nn.Linear(64, 64), nn.Linear(64, 4), nn.Linear(64, 1)
        self.log_std = nn.Parameter(torch.zeros(4))

    def forward(self, obs: Tensor) -> dict[str, Tensor]:
        h = torch.tanh(self.b(torch.tanh(self.a(obs))))
        return {"logits": self.pi(h), "value": self.v(h), "std": self.log_std.exp().expand(len(obs), -1)}


class WeightNormed(nn.Module):
    """A temporal network with weight norm, the old and the new one."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.a = nn.utils.weight_norm(nn.Conv1d(4, 32, 3, padding=1))
        self.b = nn.utils.parametrizations.weight_norm(nn.Conv1d(32, 32, 3, padding=2, dilation=2))
        self.head = nn.Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.b(F.relu(self.a(x)))).mean(-1))
