from .tokenization import load_tokenizer as load_tokenizer
from .tokenization import train_bpe as train_bpe
