"""What models learn from: predictors at places, surveys and records, and the blocks that hold some of them out."""
