"""Names of torch's calls by what they do with a signal: move it, add, multiply, join, drop."""

from __future__ import annotations

#: calls that move numbers without changing them, as far as their moments are concerned
SHAPE_CALLS = frozenset((
    "flatten", "view", "reshape", "unflatten", "transpose", "permute", "squeeze", "unsqueeze", "contiguous", "to",
    "float", "double", "half", "bfloat16", "clone", "detach", "movedim", "swapaxes", "t", "T", "mT", "H", "data",
    "expand", "expand_as", "requires_grad_", "requires_grad", "channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    "alpha_dropout", "feature_alpha_dropout", "chunk", "split", "split_with_sizes", "tensor_split", "unbind", "select",
    "narrow", "__getitem__", "__iter__", "index_select", "roll", "flip", "repeat", "repeat_interleave", "tile",
    "view_as", "reshape_as", "type_as", "type", "cpu", "cuda", "ravel", "swapdims", "moveaxis", "copy_", "written",
    "__setitem__", "pack_padded_sequence",
    "_pack_padded_sequence", "pad_packed_sequence", "_pad_packed_sequence",
    "aten._pack_padded_sequence", "aten._pad_packed_sequence", "broadcast_to", "gather", "hsplit", "vsplit",
    "squeeze_", "unsqueeze_", "native_channel_shuffle",
))  # fmt: skip
SUMS = frozenset((
    "add", "sub", "subtract", "__add__", "__radd__", "__sub__", "__iadd__", "__isub__", "add_", "sub_", "__rsub__",
    "rsub",
))  # fmt: skip
FACTORS = frozenset((
    "mul", "multiply", "div", "divide", "__mul__", "__rmul__", "__truediv__", "true_divide", "__imul__",
    "__itruediv__", "mul_", "div_",
))  # fmt: skip
JOINS = frozenset(("cat", "concat", "concatenate", "stack", "vstack", "hstack", "dstack"))
DROPOUTS = frozenset(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"))
#: dropout that keeps mean 0 and variance 1
ALPHA_DROPOUTS = frozenset(("alpha_dropout", "feature_alpha_dropout"))
#: pooling by the largest number; their modules of any dimension
MAXIMA = frozenset(f"{a}max_pool{d}d{b}" for a in ("", "adaptive_") for d in (1, 2, 3) for b in ("", "_with_indices"))
