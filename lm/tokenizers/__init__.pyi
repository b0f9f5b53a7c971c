from .tokenization import load_tokenizer as load_tokenizer, train_bpe as train_bpe
