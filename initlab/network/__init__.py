"""Reads any `nn.Module`: graph of a forward pass, role of each parameter, hooks, recurrence, padding."""
