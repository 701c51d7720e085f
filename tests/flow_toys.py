"""The small FlowTok whose outputs and losses the official module's were noted of."""

from __future__ import annotations

import json
from pathlib import Path

from released import filled

from modalities.common.checkpoint import Checkpoint
from modalities.common.weights import load_weights
from modalities.image.flow.net import FlowNet
from modalities.image.flow.released import released

GOLDEN = json.loads((Path(__file__).parent / "golden" / "flowtok.json").read_text())
SHAPES = {key: tuple(shape) for key, shape in GOLDEN["tiny"]["shapes"].items()}


def tiny() -> FlowNet:
    """The network, with four heads, which no shape tells."""
    config, state = released(Checkpoint(filled(SHAPES)))
    text = config.text.model_copy(update={"heads": 4})
    net = FlowNet(config.model_copy(update={"heads": 4, "text": text}))
    load_weights(net, state)
    return net.eval().requires_grad_(False)
