"""Any2Point here and in its own repository, side by side: `python tools/bench_pointcloud.py PATH/Any2Point`.

PATH is a checkout of github.com/Ivan-Tang-3D/Any2Point. Its compiled operators (pointnet2_ops, torch_scatter,
torch_geometric) are replaced by plain torch ones, so that it runs without a GPU; nothing else of it is changed.
Both sides get the same weights (drawn at random) and the same clouds, and run in turns on the same threads.
Printed are medians of clouds per CPU second (so that other work on the machine does not count) for training steps
(forward and backward of the loss) and for logits, their ratio, and how far logits and gradients are apart. Without PATH
only ours is measured; with --bf16 each side runs under autocast, too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring.timing import in_turns
from torch import Tensor, nn
from torch.nn import functional as F

from modalities.pointcloud.any2point import Any2Point
from modalities.pointcloud.any2point.project import VIEWS
from modalities.pointcloud.sample import farthest, unit_sphere
from unitok.command import command
from unitok.eval.provenance import provenance

TREES = {
    "language": "Any2Point_clip_lang_modelnet",
    "vision": "Any2Point_DINOV2_modelnet",
    "audio": "Any2Point_ImageBind_Modelnet",
}
TABLES = {"language": (77, 768), "vision": (1, 1370, 768), "audio": (1, 229, 768)}


class DropPath(nn.Module):
    """Stochastic depth as timm has it."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.drop_prob = rate

    def forward(self, x: Tensor) -> Tensor:
        """x [B, ...] -> the same, some rows zero while training."""
        if not self.training or self.drop_prob == 0:
            return x
        shape = (len(x),) + (1,) * (x.dim() - 1)
        return x * (torch.rand(shape) >= self.drop_prob) / (1 - self.drop_prob)


def _rows(index: Tensor, source: Tensor) -> Tensor:
    return index[:, None].expand_as(source)


def scatter_mean(source: Tensor, index: Tensor, dim: int = 0, dim_size: int = 0) -> Tensor:
    """Means of rows with one index, 0 where there are none."""
    total = source.new_zeros(dim_size, source.shape[1]).scatter_add(0, _rows(index, source), source)
    return total / index.bincount(minlength=dim_size).clamp(min=1)[:, None]


def scatter_max(source: Tensor, index: Tensor, dim: int = 0, dim_size: int = 0) -> tuple[Tensor, None]:
    """Largest of rows with one index, 0 where there are none; the places of the largest are not asked for."""
    empty = source.new_zeros(dim_size, source.shape[1])
    return empty.scatter_reduce(0, _rows(index, source), source, "amax", include_self=False), None


def segment_csr(source: Tensor, edges: Tensor, reduce: str) -> Tensor:
    """Reduce rows between edges."""
    return torch.segment_reduce(source, reduce, lengths=edges.diff(), axis=0, unsafe=True)


def voxel_grid(pos: Tensor, size: float, batch: Tensor, start: float) -> Tensor:
    """A number for each voxel of each cloud."""
    cell = torch.cat([(pos / size).floor().long(), batch[:, None]], 1)
    extent = cell.amax(0) + 1
    strides = torch.cat([extent.new_ones(1), extent.cumprod(0)[:-1]])
    return (cell * strides).sum(1)


def stubs() -> dict[str, types.ModuleType]:
    """Stand-ins for what the repository imports and cannot run on a CPU, or only its training needs."""
    made: dict[str, types.ModuleType] = {}

    def module(name: str, **members: Any) -> None:
        made[name] = types.ModuleType(name)
        for key, value in members.items():
            setattr(made[name], key, value)
        parent, _, last = name.rpartition(".")
        if parent in made:
            setattr(made[parent], last, made[name])

    registry = types.SimpleNamespace(register_module=lambda: lambda cls: cls)
    sampling = types.SimpleNamespace(
        furthest_point_sample=lambda xyz, count: farthest(xyz, count, first=0, ignored=1e-3)
    )
    nothing: Callable[..., None] = lambda *args, **kwargs: None  # noqa: E731
    module("ipdb")
    module("timm")
    module("timm.models")
    module("timm.models.layers", DropPath=DropPath, trunc_normal_=nn.init.trunc_normal_)
    module("sklearn")
    module("sklearn.metrics")
    module("sklearn.metrics.pairwise", cosine_similarity=nothing)
    module("torch_geometric")
    # its vision model throws the answer of this one away
    module(
        "torch_geometric.nn", fps=lambda pos, ratio: farthest(pos[None], max(1, round(len(pos) * ratio)))[0]
    )
    module("torch_geometric.nn.pool", voxel_grid=voxel_grid)
    module("torch_scatter", scatter_max=scatter_max, scatter_mean=scatter_mean, segment_csr=segment_csr)
    module("pointnet2_ops", pointnet2_utils=sampling)
    module("utils")
    module("utils.misc")
    module("utils.logger", print_log=nothing)
    module(
        "utils.checkpoint",
        get_missing_parameters_message=nothing,
        get_unexpected_parameters_message=nothing,
    )
    module("models")
    module("models.build", MODELS=registry)
    return made


def official(root: Path, source: str) -> tuple[nn.Module, Callable[[Tensor], Tensor], Tensor]:
    """The official module of a tree, how it is called, and the table of positions that it was given."""
    folder = root / TREES[source]
    if not (folder / "models" / "Point_MAE.py").is_file():
        raise FileNotFoundError(
            f"{folder} has no models/Point_MAE.py: give a checkout of Ivan-Tang-3D/Any2Point"
        )
    for name in [name for name in sys.modules if name.partition(".")[0] in ("models", "utils")]:
        del sys.modules[name]  # of another tree
    sys.modules.update(stubs())
    sys.modules["models"].__path__ = [str(folder / "models")]
    table = 0.02 * torch.randn(TABLES[source])
    held = {
        "positional_embedding": table,
        "pos_embed": table,
        "modality_preprocessors.audio.pos_embedding_helper.pos_embed": table,
    }
    ours = Any2Point(source).config  # type: ignore[arg-type]
    settings = types.SimpleNamespace(
        trans_dim=768, depth=12, drop_path_rate=ours.drop_path, cls_dim=40, num_heads=12, group_size=32, num_group=64,
        patchknn=ours.neighbours, adapter_dim=ours.rank, drop_rate_adapter=0.1, attn1d_dim=12, attn2d_dim=12,
        trans=ours.distance,
    )  # fmt: skip
    arguments = types.SimpleNamespace(
        scale_factor=ours.adapter_scale, coef_pro=ours.view_weight, coef_3dgird=ours.voxel, maxmean_1d=False,
        coef_1dgird=int(ours.bin), coef_2dgird=int(ours.bin), pos_cor=list(ours.direction), trans=ours.distance,
    )  # fmt: skip
    kept = torch.load, Tensor.cuda
    torch.load = lambda *args, **kwargs: _Held(held)  # its constructor reads a checkpoint that we replace
    try:
        Tensor.cuda = lambda self, *args, **kwargs: self  # type: ignore[method-assign,assignment]
        module = importlib.import_module("models.Point_MAE").PointTransformer(settings)
    finally:
        torch.load = kept[0]

    def call(points: Tensor) -> Tensor:
        logits: Tensor = module(points, arguments)
        return logits

    for name, parameter in module.named_parameters():
        parameter.requires_grad_(any(word in name for word in TRAINED))
    return module, call, table if source == "language" else table[0, 1:]


TRAINED = ("patch_embed", "cls_", "adapter", "out_transform", "attn1", "norm3", "head")
"""Words in the names of what the repository trains; its last norm is added below, for the word is in others too."""


class _Held(dict[str, Tensor]):
    """A checkpoint that is a mapping or gives one."""

    def state_dict(self) -> dict[str, Tensor]:
        """Itself."""
        return dict(self)


def compare(root: Path | None, source: str, batch: int, repeats: int, bf16: bool = False) -> dict[str, Any]:
    """Speed and agreement for one source; with `bf16` of each side under autocast, too."""
    torch.manual_seed(0)
    clouds = unit_sphere(torch.randn(batch, 1024, 3)).points
    labels = torch.randint(40, (batch,))
    sides: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]] = {}
    compat = "paper"
    if root is not None:
        theirs, call, table = official(root, source)
        dict(theirs.named_modules())["norm"].requires_grad_(True)
        sides["official"] = (theirs, call)
        compat = "official"
    net = Any2Point(source, compat=compat)  # type: ignore[arg-type]
    if root is not None:
        net.load_state_dict({**theirs.state_dict(), "source_positions": table})
    sides["ours"] = (net, net)
    if root is not None:
        paper = Any2Point(source)  # type: ignore[arg-type]
        paper.load_state_dict(net.state_dict())
        sides["ours, paper"] = (paper, paper)

    agreement = _agreement(sides, clouds, labels) if root is not None else {}
    if bf16:
        sides |= {f"{name}, bf16": (module, _halved(forward)) for name, (module, forward) in sides.items()}

    def step(name: str) -> None:
        module, forward = sides[name]
        module.train()
        F.cross_entropy(forward(clouds).float(), labels).backward()  # type: ignore[no-untyped-call]
        module.zero_grad()

    def logits(name: str) -> Tensor:
        module, forward = sides[name]
        module.eval()
        with torch.no_grad():
            return forward(clouds)

    training = in_turns({name: lambda name=name: step(name) for name in sides}, repeats)  # type: ignore[misc]
    telling = in_turns({name: lambda name=name: logits(name) for name in sides}, repeats)  # type: ignore[misc]
    found = {
        "source": source,
        "batch": batch,
        "views": VIEWS,
        "training clouds/CPU s": {name: batch / s.cpu for name, s in training.items()},
        "logits clouds/CPU s": {name: batch / s.cpu for name, s in telling.items()},
        **agreement,
    }
    if root is not None:
        found["training ratio"] = {
            n: training["official"].cpu / s.cpu for n, s in training.items() if n != "official"
        }
        found["logits ratio"] = {
            n: telling["official"].cpu / s.cpu for n, s in telling.items() if n != "official"
        }
    return found


def _halved(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The same under autocast to bfloat16, as `train.precision = "bf16"` has it."""

    def call(points: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return forward(points)

    return call


def _agreement(
    sides: dict[str, tuple[nn.Module, Callable[[Tensor], Tensor]]], clouds: Tensor, labels: Tensor
) -> dict[str, float]:
    """Largest differences between official and ours: logits, and gradients of a training step without dropout."""
    logits, gradients = {}, {}
    for name in ("official", "ours"):
        module, forward = sides[name]
        rates = {m: m.p for m in module.modules() if isinstance(m, nn.Dropout)}
        for each in rates:
            each.p = 0.0
        paths = {m: m.drop_prob for m in module.modules() if isinstance(m, DropPath)}
        for path in paths:
            path.drop_prob = 0.0
        config = module.config
        if name == "ours":
            module.config = config.model_copy(update={"drop_path": 0.0})  # type: ignore[operator,union-attr]
        module.eval()
        with torch.no_grad():
            logits[name] = forward(clouds)
        module.train()
        kept = {key: tensor.clone() for key, tensor in module.state_dict().items()}
        F.cross_entropy(forward(clouds), labels).backward()  # type: ignore[no-untyped-call]
        gradients[name] = {key: p.grad.clone() for key, p in _named(module) if p.grad is not None}
        module.zero_grad()
        module.load_state_dict(kept)  # running statistics as they were
        module.config = config
        for each, rate in rates.items():
            each.p = rate
        for path, rate in paths.items():
            path.drop_prob = rate
    scale = max(float(g.abs().max()) for g in gradients["official"].values())
    assert gradients["official"].keys() == gradients["ours"].keys()
    apart = max(float((g - gradients["ours"][key]).abs().max()) for key, g in gradients["official"].items())
    return {
        "logits apart": float((logits["official"] - logits["ours"]).abs().max()),
        "logits largest": float(logits["official"].abs().max()),
        "gradients apart": apart,
        "gradients largest": scale,
    }


def _named(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Parameters under the names of the state dict."""
    state = module.state_dict(keep_vars=True)
    return [(key, value) for key, value in state.items() if isinstance(value, nn.Parameter)]


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run, print and give back the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, nargs="?", help="checkout of the official repository")
    parser.add_argument("--sources", nargs="*", default=list(TREES), choices=list(TREES))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bf16", action="store_true", help="each side under autocast, too")
    parser.add_argument("--out", type=Path, help="write everything as JSON, too")
    options = parser.parse_args(arguments)
    found = [
        compare(options.root, name, options.batch, options.repeats, options.bf16) for name in options.sources
    ]
    for row in found:
        print(json.dumps(row, indent=2))
    if options.out:
        options.out.write_text(
            json.dumps({**provenance(), "threads": torch.get_num_threads(), "rows": found}, indent=2)
        )
    return found


if __name__ == "__main__":
    command(main)
