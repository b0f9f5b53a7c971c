"""Random grammars as data: sentences without end, and the best possible prediction of every token in them."""
