"""Preloaded by dask workers: one whose torch is for GPUs ends here where it finds none, instead of computing on the processor."""

import sys
from importlib.metadata import version

if not version("torch").endswith("+cpu"):
    import torch

    if not torch.cuda.is_available():
        sys.exit("This is the image for GPUs and torch finds none: give the container a GPU, or use the image for processors.")
