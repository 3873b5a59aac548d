"""Methods that take transformers alone, by name: what they are tried on is in tiny_transformers."""

from torch import nn

SWIN_ONLY = ("mtlora", "mtlora+")
IN_BLOCKS = (
    *("bitfit", "lora", "lora-shared", "adapter", "vl-adapter", "compacter", "compacter++"),
    *("vpt-shallow", "vpt-deep", "hyperformer", "polyhistor", "tssbn-lora"),
)
MIXTURES = ("m3vit", "mod-squad", "taskexpert", "mlore")
TRANSFORMERS_ONLY = (*IN_BLOCKS, *SWIN_ONLY, *MIXTURES)

#: Those that start as the frozen trunk, with the options that a small one needs.
ALIKE = {
    "heads-only": {},
    "shared-norm": {},
    "bitfit": {},
    "lora": {},
    "lora-shared": {"rank": 2},
    "adapter": {},
    "vl-adapter": {},
    "compacter": {"products": 2},
    "compacter++": {"products": 2},
    "tsbn-frozen": {},
    "tssbn-frozen": {"affine": "preserve"},
    "tssbn-lora": {"affine": "preserve", "rank": 2},
    "shared-gates-frozen": {"affine": "preserve"},
}


def drawn(net):
    """The network, in evaluation and double precision, whose trunk is trained and drawn anew."""
    for value in net.trunk.parameters():
        if value.requires_grad:
            nn.init.normal_(value, std=0.3)
    return net.double().eval()
