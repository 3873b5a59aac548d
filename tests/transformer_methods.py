"""Methods that take transformers alone, by name: what they are tried on is in tiny_transformers."""

MIXTURES = ("m3vit", "mod-squad", "taskexpert", "mlore")
TRANSFORMERS_ONLY = MIXTURES
