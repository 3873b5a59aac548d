"""Methods that take transformers alone, by name: what they are tried on is in tiny_transformers."""

SWIN_ONLY = ("mtlora", "mtlora+")
TRANSFORMERS_ONLY = ("hyperformer", "polyhistor", *SWIN_ONLY)
