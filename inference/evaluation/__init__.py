"""Skill: metrics, held-out blocks, and the baselines in the same run."""
