"""What one would write by hand: a perceptron on digits, one epoch, validation and test accuracy printed."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 1

x, y = (torch.tensor(a) for a in load_digits(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, val, test = order[:1294], order[1294:1438], order[1438:]
x = ((x - x[train].mean()) / x[train].std()).float()
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10))
for layer in model:
    if isinstance(layer, nn.Linear):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
for epoch in range(EPOCHS):
    model.train()
    for index in train[torch.randperm(len(train))].split(64):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x[index]), y[index])
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x[val]).argmax(1) == y[val]).float().mean().item()
    print(f"epoch {epoch}: loss {loss.item():.3f}, validation accuracy {accuracy:.3f}")
with torch.no_grad():
    print(f"test accuracy {(model(x[test]).argmax(1) == y[test]).float().mean().item():.3f}")
