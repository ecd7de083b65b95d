"""Species read as sentences: plots train a small BERT (Leblanc et al., Pl@ntBERT), assemblages become habitats."""
