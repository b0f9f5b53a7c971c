"""Tokenizers: byte-level BPE trained on one's own text, and loading any tokenizer by folder or hub id."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
