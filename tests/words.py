"""A small vocabulary for the tests of texts."""

WORDS = "[UNK] [CLS] [SEP] the cat sat on a mat dog ran far ##s in house".split()
WORDS += "goal ball team match won soup salt bread oven tasty".split()
