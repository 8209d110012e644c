"""In-place initialisers of single tensors, in the manner of `torch.nn.init`, and of modules for `nn.Module.apply`.

The laws and their formulas are those of the catalogue (`initlab.inits`). Gains come from the activation by quadrature,
so that any activation has one. Fans are right for transposed (`transposed=True`, `stride=`) and grouped (`groups=`)
convolutions, which `torch.nn.init` cannot know from a tensor's shape alone.

Every function writes to its tensor, outside of autograd, and returns it. Values are drawn on the CPU in float32 from
`generator`, by default torch's global one, and then cast: the same seed gives the same values on every device. A
complex tensor gets values whose E|w|² is that of the real law. For a whole network `initlab.initialize` knows more:
which layer is the head, which activation each layer follows, which branches add up.
"""

from initlab.init.modules import for_module
from initlab.init.tensors import (
    constant_,
    dirac_,
    edge_of_chaos_,
    he_,
    identity_,
    lecun_,
    normal_,
    orthogonal_,
    sparse_,
    truncated_normal_,
    uniform_,
    xavier_,
    zeros_,
)

__all__ = [
    "constant_",
    "dirac_",
    "edge_of_chaos_",
    "for_module",
    "he_",
    "identity_",
    "lecun_",
    "normal_",
    "orthogonal_",
    "sparse_",
    "truncated_normal_",
    "uniform_",
    "xavier_",
    "zeros_",
]
