"""Names of the decoding methods that :mod:`agents.baselines.decoders` makes."""

DECODERS = ("temperature", "top-k", "top-p", "min-p", "typical", "top-n-sigma", "edt", "adapt", "mirostat")
