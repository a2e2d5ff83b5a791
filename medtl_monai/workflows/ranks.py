"""Which process of a training on several devices writes the files."""

from __future__ import annotations

import torch.distributed as dist


def is_main_process() -> bool:
    """Whether this process writes: rank 0 of a distributed training, or the only process of any other."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0
