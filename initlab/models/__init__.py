"""Networks as factories: each returns a `spec.ModelBuilder`. None of them initialises anything."""

from initlab.models.cnn import cnn
from initlab.models.convnet import convnet
from initlab.models.crnn import crnn
from initlab.models.m5 import m5
from initlab.models.mlp import mlp
from initlab.models.recurrent import gru, irnn, lstm, rnn
from initlab.models.resnet import resnet
from initlab.models.speech_cnn import speech_cnn
from initlab.models.tdnn import tdnn
from initlab.models.transformer import gpt, vit
from initlab.models.zoo import torchvision

__all__ = [
    "cnn",
    "convnet",
    "crnn",
    "gpt",
    "gru",
    "irnn",
    "lstm",
    "m5",
    "mlp",
    "resnet",
    "rnn",
    "speech_cnn",
    "tdnn",
    "torchvision",
    "vit",
]
