"""Networks as factories: each returns a `spec.ModelBuilder`. None of them initialises anything."""

from initlab.models.cnn import cnn
from initlab.models.convnet import convnet
from initlab.models.mlp import mlp
from initlab.models.recurrent import gru, irnn, lstm, rnn
from initlab.models.resnet import resnet
from initlab.models.zoo import torchvision

__all__ = ["cnn", "convnet", "gru", "irnn", "lstm", "mlp", "resnet", "rnn", "torchvision"]
