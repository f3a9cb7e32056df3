"""A network that ends its process when the first training step is done, and leaves the time of that.

It is the product's own; `python train.py model=module model.module=first_step:Network` trains it as any other.
"""

import os
import time
from pathlib import Path
from typing import Any

import torch

from class_sensitivity.models import cnn6

#: The environment variable that says where the time goes.
ANSWER = "FIRST_STEP_ANSWER"


class Network(cnn6.Network):
    """`cnn6`, until the second batch comes to be trained on."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._batches = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and torch.is_grad_enabled():
            self._batches += 1
        if self._batches == 2:
            Path(os.environ[ANSWER]).write_text(str(time.time()))
            os._exit(0)
        return super().forward(images)
