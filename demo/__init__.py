"""A generated landscape with known truth: terrain makes climate, soil and plants; these make what satellites and people see."""
