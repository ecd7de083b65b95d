"""How work is done: what a build consists of, what it will take, who does it, and what became of it."""
