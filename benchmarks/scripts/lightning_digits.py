"""The same perceptron and data as bare_digits.py, with Lightning and its MLflow logger on a local SQLite store."""

import sys

import lightning
import torch
from lightning.pytorch.loggers import MLFlowLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 1

x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, val, test = order[:1294], order[1294:1438], order[1438:]
x = ((x - x[train].mean()) / x[train].std()).float()


class Perceptron(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def training_step(self, batch, _index):
        loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def _score(self, batch, name):
        output = self.net(batch[0])
        self.log(f"{name}_loss", nn.functional.cross_entropy(output, batch[1]))
        self.log(f"{name}_accuracy", (output.argmax(1) == batch[1]).float().mean())

    def validation_step(self, batch, _index):
        self._score(batch, "val")

    def test_step(self, batch, _index):
        self._score(batch, "test")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), fused=True)


def loader(part, shuffle=False):
    return DataLoader(TensorDataset(x[part], y[part]), batch_size=64 if shuffle else 1024, shuffle=shuffle)


torch.manual_seed(0)
logger = MLFlowLogger(experiment_name="digits", tracking_uri="sqlite:///mlflow.db")
trainer = lightning.Trainer(max_epochs=EPOCHS, accelerator="cpu", logger=logger, log_every_n_steps=10)
model = Perceptron()
trainer.fit(model, loader(train, shuffle=True), loader(val))
trainer.test(model, loader(test))
