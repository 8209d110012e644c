"""`initlab.inspect` on transformers: blocks beside layers, sentences and what is not given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import initlab
from tests.theory.transformer.test_read import WrittenOut


class Decoder(nn.Module):
    """A decoder of somebody else: embedding, blocks, head."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Linear(32, 50, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.table(tokens)
        for block in self.blocks:
            h = block(h)
        return self.head(h)


TOKENS = torch.randint(50, (8, 20), generator=torch.Generator().manual_seed(0))


def test_somebody_elses_decoder() -> None:
    torch.manual_seed(0)
    found = initlab.inspect(
        Decoder(WrittenOut(), WrittenOut()),
        (TOKENS, TOKENS),
        loss=lambda out, y: nn.functional.cross_entropy(out.flatten(0, 1), y.flatten()),
    )
    assert found.stream is not None
    assert found.stream.unknown == ()
    rows = found.stream.rows()
    assert [r["block"] for r in rows] == ["start", "blocks.0", "blocks.1"]
    for row in rows:
        assert row["predicted_mean_square"] == pytest.approx(row["measured_mean_square"], rel=0.25)
        assert row["predicted_cosine"] == pytest.approx(row["measured_cosine"], abs=0.08)
        assert row["predicted_gradient"] == pytest.approx(row["measured_gradient"], rel=0.5)
    assert "blocks.1" in str(found)
    assert "blocks.1" in found._repr_html_()


def test_what_is_not_given_is_said() -> None:
    found = initlab.inspect(
        Decoder(WrittenOut(window=2)),
        (TOKENS, TOKENS),
        loss=lambda out, y: nn.functional.cross_entropy(out.flatten(0, 1), y.flatten()),
    )
    assert found.stream is not None
    assert "stream: theory does not cover a mask" in str(found)
    assert all(r["predicted_cosine"] != r["predicted_cosine"] for r in found.stream.rows())


def test_networks_without_attention_have_no_stream() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert initlab.inspect(model, (torch.randn(16, 4), torch.randint(3, (16,)))).stream is None


def test_timms_vision_transformer() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, depth=3, img_size=64, num_classes=10, class_token=False,
        global_pool="avg",
    )  # fmt: skip
    found = initlab.inspect(model, (torch.randn(8, 3, 64, 64), torch.randint(10, (8,))))
    assert found.stream is not None and found.stream.unknown == ()
    rows = found.stream.rows()
    assert [r["block"] for r in rows] == ["start", "blocks.0", "blocks.1", "blocks.2"]
    for row in rows:
        assert row["predicted_mean_square"] == pytest.approx(row["measured_mean_square"], rel=0.1)
        assert row["predicted_cosine"] == pytest.approx(row["measured_cosine"], abs=0.05)
