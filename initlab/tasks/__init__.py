"""Tasks: data sets with a loss and metrics. Each factory here can be named in the configuration."""

from initlab.tasks.catalog import listing
from initlab.tasks.entry import Entry
from initlab.tasks.image import ImageData, ImageTask
from initlab.tasks.sources.cifar10 import cifar10
from initlab.tasks.sources.hf_folder import hf_folder
from initlab.tasks.sources.idx import fashion_mnist, mnist
from initlab.tasks.sources.image_folder import image_folder
from initlab.tasks.sources.npz import npz
from initlab.tasks.sources.packaged import digits, mnist_mini
from initlab.tasks.sources.table import table

__all__ = [
    "Entry",
    "ImageData",
    "ImageTask",
    "cifar10",
    "digits",
    "fashion_mnist",
    "hf_folder",
    "image_folder",
    "listing",
    "mnist",
    "mnist_mini",
    "npz",
    "table",
]
