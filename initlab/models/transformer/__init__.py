"""Transformers: a decoder for texts and an encoder for images and spectrograms."""

from initlab.models.transformer.gpt import GPT, gpt
from initlab.models.transformer.vit import ViT, vit

#: model's name → the activation that is usual for it
DEFAULT_ACTIVATIONS = {"gpt": "gelu", "vit": "gelu"}

__all__ = ["DEFAULT_ACTIVATIONS", "GPT", "ViT", "gpt", "vit"]
