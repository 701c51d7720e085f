"""Any2Point (Tang et al., arXiv:2404.07989): frozen models of language, vision or audio that classify point clouds."""

from .adapted import load_adapted
from .config import Any2PointConfig, SourceShape
from .model import Any2Point
from .project import virtual_projection_1d, virtual_projection_2d
from .sources import FrozenSource, load_source

__all__ = [
    "Any2Point",
    "Any2PointConfig",
    "FrozenSource",
    "SourceShape",
    "load_adapted",
    "load_source",
    "virtual_projection_1d",
    "virtual_projection_2d",
]
