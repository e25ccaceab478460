"""How fast a round is, beside centralised training and the machine's own limits."""
