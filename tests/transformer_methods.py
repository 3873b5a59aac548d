"""Methods that take transformers alone, by name: what they are tried on is in tiny_transformers."""

SWIN_ONLY = ("mtlora", "mtlora+")
IN_BLOCKS = (
    *("bitfit", "lora", "lora-shared", "adapter", "vl-adapter", "compacter", "compacter++"),
    *("vpt-shallow", "vpt-deep", "hyperformer", "polyhistor", "tssbn-lora"),
)
TRANSFORMERS_ONLY = (*IN_BLOCKS, *SWIN_ONLY)
