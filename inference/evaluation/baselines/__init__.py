"""What the network must beat, on the same inputs as a table: forests, boosting, MaxEnt, frequency by region."""
