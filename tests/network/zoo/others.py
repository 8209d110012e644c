"""Networks of public libraries at small size, built from their configurations, untrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def images(count: int = 4, size: int = 32) -> Tensor:
    return torch.empty(count, 3, size, size).normal_(generator=torch.Generator().manual_seed(0))


def tokens(count: int = 4, length: int = 12, vocabulary: int = 96) -> Tensor:
    return torch.randint(3, vocabulary, (count, length), generator=torch.Generator().manual_seed(0))


def timm(name: str, size: int = 32, **options: Any) -> tuple[Callable[[], nn.Module], Any]:
    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, num_classes=10, **options)

    return make, images(size=size)


def torchvision(name: str, size: int = 64, **options: Any) -> tuple[Callable[[], nn.Module], Any]:
    def make() -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, **({"num_classes": 10} | options))

    return make, images(size=size)


def hugging(config: str, model: str, inputs: Any = None, **options: Any) -> tuple[Callable[[], nn.Module], Any]:
    def make() -> nn.Module:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return make, {"input_ids": tokens()} if inputs is None else inputs


def segmentation(name: str, encoder: str) -> tuple[Callable[[], nn.Module], Any]:
    # the last stages are the widest: without them the same kinds of layers are there, with few of the parameters
    depth = {"Unet": {"encoder_depth": 3, "decoder_channels": (64, 32, 16)}, "FPN": {"encoder_depth": 4}}

    def make() -> nn.Module:
        import segmentation_models_pytorch as smp

        return getattr(smp, name)(encoder, encoder_weights=None, classes=4, **depth.get(name, {}))

    return make, images(size=64)


_SMALL = {
    "vocab_size": 96,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
_VIT = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 10,
}

OTHERS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    # timm
    "timm/vit": timm("vit_tiny_patch16_224", img_size=32, patch_size=8, depth=2),
    "timm/deit": timm("deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, depth=2),
    "timm/swin": timm(
        "swin_tiny_patch4_window7_224",
        size=64,
        img_size=64,
        window_size=4,
        depths=(1, 1),
        embed_dim=32,
        num_heads=(2, 4),
    ),
    "timm/convnext": timm("convnext_atto", size=64, depths=(1, 1, 1, 1), dims=(16, 32, 32, 64)),
    "timm/resnet": timm("resnet18", layers=(1, 1, 1, 1), channels=(32, 64, 96, 128)),
    "timm/resnext": timm("resnext50_32x4d", layers=(1, 1, 1, 1), channels=(32, 64, 96, 128)),
    "timm/efficientnet": timm("efficientnet_lite0"),
    "timm/mobilenetv3": timm("mobilenetv3_small_050"),
    "timm/regnet": timm("regnetx_002"),
    "timm/nfnet": timm("nf_resnet26"),
    "timm/mixer": timm("mixer_s32_224", size=64, img_size=64),
    "timm/gmlp": timm("gmlp_ti16_224", size=64, img_size=64),
    "timm/densenet": timm("densenet121", block_config=(2, 2)),
    "timm/eva": timm("eva02_tiny_patch14_224", size=28, img_size=28, depth=2),
    # transformers
    "transformers/gpt2": hugging(
        "GPT2Config", "GPT2LMHeadModel", vocab_size=96, n_positions=32, n_embd=64, n_layer=2, n_head=4
    ),
    "transformers/bert": hugging("BertConfig", "BertForSequenceClassification", num_labels=10, **_SMALL),
    "transformers/roberta": hugging(
        "RobertaConfig", "RobertaForMaskedLM", pad_token_id=1, max_position_embeddings=40, **_SMALL
    ),
    "transformers/distilbert": hugging(
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        vocab_size=96,
        dim=64,
        n_layers=2,
        n_heads=4,
        hidden_dim=128,
        num_labels=10,
    ),
    "transformers/llama": hugging("LlamaConfig", "LlamaForCausalLM", num_key_value_heads=2, **_SMALL),
    "transformers/mistral": hugging("MistralConfig", "MistralForCausalLM", num_key_value_heads=2, **_SMALL),
    "transformers/qwen2": hugging("Qwen2Config", "Qwen2ForCausalLM", num_key_value_heads=2, **_SMALL),
    "transformers/gemma": hugging("GemmaConfig", "GemmaForCausalLM", num_key_value_heads=2, head_dim=16, **_SMALL),
    "transformers/opt": hugging(
        "OPTConfig",
        "OPTForCausalLM",
        vocab_size=96,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=128,
        max_position_embeddings=64,
        word_embed_proj_dim=64,
    ),
    "transformers/gpt_neox": hugging("GPTNeoXConfig", "GPTNeoXForCausalLM", **_SMALL),
    "transformers/bloom": hugging(
        "BloomConfig", "BloomForCausalLM", vocab_size=96, hidden_size=64, n_layer=2, n_head=4
    ),
    "transformers/t5": hugging(
        "T5Config",
        "T5ForConditionalGeneration",
        {"input_ids": tokens(), "decoder_input_ids": tokens(length=8)},
        vocab_size=96,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
    ),
    "transformers/vit": hugging("ViTConfig", "ViTForImageClassification", {"pixel_values": images()}, **_VIT),
    "transformers/wav2vec2": hugging(
        "Wav2Vec2Config",
        "Wav2Vec2ForSequenceClassification",
        {"input_values": torch.randn(4, 2000, generator=torch.Generator().manual_seed(0))},
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(32, 32),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        num_labels=10,
        classifier_proj_size=32,
    ),
    # torchvision
    "torchvision/resnet18": torchvision("resnet18"),
    "torchvision/mobilenet_v2": torchvision("mobilenet_v2", width_mult=0.5),
    "torchvision/googlenet": torchvision("googlenet", aux_logits=False, init_weights=False),
    "torchvision/squeezenet": torchvision("squeezenet1_1", size=96),
    "torchvision/shufflenet": torchvision("shufflenet_v2_x0_5"),
    "torchvision/efficientnet": torchvision("efficientnet_b0"),
    "torchvision/swin": torchvision("swin_t"),
    "torchvision/deeplab": torchvision("lraspp_mobilenet_v3_large", weights_backbone=None),
    "torchvision/retinanet": torchvision(
        "retinanet_resnet50_fpn", size=64, weights_backbone=None, min_size=128, max_size=128
    ),
    # segmentation-models-pytorch
    "smp/unet": segmentation("Unet", "resnet18"),
    "smp/fpn": segmentation("FPN", "resnet18"),
}
