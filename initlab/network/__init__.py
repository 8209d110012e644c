"""Reading any `nn.Module`: the graph of a forward pass, the role of each parameter, hooks, recurrence, padding."""
