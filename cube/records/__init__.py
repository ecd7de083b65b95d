"""Botanists' records: surveys, occurrences and traits, from tables as they are found."""
