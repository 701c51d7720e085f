"""Vector quantization: van den Oord et al., arXiv:1711.00937.

The codebook follows the latents by running averages (EMA), with a start from data and dead codes revived from
the batch (Dhariwal et al., arXiv:2005.00341, section 3.2), or is learnt by gradient, as TiTok and GigaTok do.
Options: the unit sphere (Yu et al., arXiv:2110.04627), the rotation trick, CVQ, an entropy loss over soft
assignments (as in Yu et al., arXiv:2310.05737), an entropy constraint on the codes (Chou, Lookabaugh and Gray,
Entropy-constrained vector quantization, 1989), one codebook for each position (product code).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Quantized, Quantizer
from .gradient import rotated, straight
from .restart import restart

MIN_SHARE = 0.05
"""Of a fair share: no code is priced as if it were rarer than this."""


class VQ(Quantizer):
    """Vector quantization, with one codebook for all positions or one for each.

    learn="ema": the codebook is a buffer moved by running averages rather than a trained parameter: a
    partitioned optimizer (ZeRO) writes parameters back after each step and would undo the start from data and
    revivals. In a distributed run every rank applies the same update. learn="gradient": a parameter, pulled to
    its latents by a loss; what CVQ moves is a buffer beside it, `moved`, for the same reason. It starts in
    U(-1 / size, 1 / size), with l2 normalised, as GigaTok's. Stored [size, D] where books = 1: what others
    release as `quantize.embedding.weight` loads by renaming it to `codebook`.

    Args:
        size: codes.
        dim: channels of a code.
        books: 1, or the number of positions K: each position then has its own `size` codes (a product
            code, Jegou et al. 2011), and a shorter z uses the first ones.
        l2: compare on the unit sphere: latents and codes are normalised, and so is `z_q`.
        learn: how the codebook is learnt.
        commitment: weight of the pull of latents to their codes.
        pull: "gradient": weight of the pull of codes to their latents.
        rotation: pass gradients by the rotation trick instead of straight through.
        entropy: weight of the entropy loss: each latent sure of its code, all codes in even use; 0 = off.
        softness: temperature of the soft assignments in that loss.
        decay: of the running averages.
        rate: price of a nat in squared distance: a latent takes the code with the least distance + rate *
            (-log of the code's share). Codes then carry less information for nearly the same error, which
            leaves less for a language model to predict. With a price `inverse` need not hold: a rare code
            can lose its own centre to a frequent neighbour.
        revive_below: "ema": codes used less than this share of a fair 1/size are moved onto latents of the
            batch; 0 never revives.
        cvq: move little-used codes to the nearest latents, see `restart`; one codebook alone.
    """

    codebook: Tensor  # [size, D], or [books, size, D]
    count: Tensor  # [books, size], running average of uses per batch
    total: Tensor  # [books, size, D], running average of the sum of latents per batch
    price: Tensor  # [books, size], rate * nats of each code
    share: Tensor  # [size], running average of each code's share (cvq)
    moved: Tensor  # [size, D], what cvq has added to the learnt codebook
    ready: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        books: int = 1,
        l2: bool = False,
        learn: Literal["ema", "gradient"] = "ema",
        commitment: float = 0.25,
        pull: float = 1.0,
        rotation: bool = False,
        entropy: float = 0.0,
        softness: float = 0.01,
        decay: float = 0.99,
        rate: float = 0.0,
        revive_below: float = 0.02,
        cvq: bool = False,
    ) -> None:
        super().__init__()
        if size < 2 or dim < 1 or books < 1:
            raise ValueError(
                f"VQ of {books} x {size} codes in {dim} channels: need at least 1 x 2 codes and 1"
            )
        if cvq and (books > 1 or learn == "ema"):
            raise ValueError(
                "cvq moves one codebook that is learnt by gradient: books = 1, learn = 'gradient'"
            )
        if rate and learn == "gradient":
            raise ValueError(f"rate {rate} prices codes by their running averages: learn = 'ema'")
        self.size, self.dim, self.books, self.l2, self.learn = size, dim, books, l2, learn
        self.commitment, self.pull, self.rotation = commitment, pull, rotation
        self.entropy, self.softness, self.cvq = entropy, softness, cvq
        self.decay, self.rate, self.revive_below = decay, rate, revive_below
        shape = (size, dim) if books == 1 else (books, size, dim)
        if learn == "ema":
            self.register_buffer("codebook", self._normal(torch.randn(shape)))
        else:
            self.codebook = nn.Parameter(self._normal(torch.empty(shape).uniform_(-1 / size, 1 / size)))
        ema = learn == "ema"
        self.register_buffer("count", torch.ones(books, size) if ema else None, persistent=False)
        self.register_buffer("total", self._table.clone() if ema else None, persistent=False)
        self.register_buffer("price", torch.zeros(books, size) if ema else None, persistent=rate > 0)
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool), persistent=ema)
        self.register_buffer("share", torch.zeros(size) if cvq else None, persistent=cvq)
        self.register_buffer("moved", torch.zeros(size, dim) if cvq else None, persistent=cvq)

    @property
    def _table(self) -> Tensor:
        """The codebooks [books, size, D], as they are stored."""
        return self.codebook.view(self.books, self.size, self.dim)

    def _normal(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.l2 else x

    def _books(self, count: int) -> Tensor:
        """The codes of `count` positions: [1, size, D] or [count, size, D], on the sphere where that is asked."""
        if self.books > 1 and count > self.books:
            raise ValueError(f"{count} positions, but this VQ has codebooks for {self.books}")
        table = self._table + self.moved if self.cvq else self._table
        table = table if self.books == 1 else table[:count]
        return self._normal(table.float()) if self.learn == "gradient" else table  # averages are kept normal

    def _cost(self, latents: Tensor, books: Tensor) -> Tensor:
        """What each code costs, [B, K, size]: squared distance and price; latents [B, K, D].

        The terms are added in the order of the released tokenizers, so that ties fall as theirs.
        """
        dots = latents @ books[0].t() if self.books == 1 else torch.einsum("bkd,knd->bkn", latents, books)
        cost = latents.square().sum(-1, keepdim=True) + books.square().sum(-1) - 2 * dots
        return cost + self.price[: len(books)] if self.learn == "ema" else cost

    @property
    def _moves(self) -> bool:
        return self.training and not self.frozen

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]. In training mode this also moves an averaged codebook."""
        with torch.autocast(z.device.type, enabled=False):
            latents = self._normal(z.float())
            if self._moves and self.learn == "ema" and not bool(self.ready):
                self.start(latents.detach())
            books = self._books(z.shape[1])
            ids = self._cost(latents.detach(), books.detach()).argmin(-1)
            codes = books[self._book_of(ids), ids]
            losses = self._losses(latents, codes, books)
            if self._moves and self.learn == "ema":
                codes = codes.clone()  # before the codebook moves
                self._update(latents.detach(), ids)
            if self._moves and self.cvq:
                codes_now = self.codebook.detach().float() + self.moved
                flat = z.detach().float().reshape(-1, self.dim)
                self.moved += restart(codes_now, self.share, flat, ids.reshape(-1), l2=self.l2)
            passed = rotated if self.rotation and self.training else straight
            return Quantized(passed(latents, codes.detach()).to(z.dtype), ids, losses)

    @torch.no_grad()
    def encode(self, z: Tensor) -> Tensor:
        """The codes [B, K] of z; unlike `forward` this never moves the codebook."""
        with torch.autocast(z.device.type, enabled=False):
            return self._cost(self._normal(z.float()), self._books(z.shape[1])).argmin(-1)

    @torch.no_grad()
    def nearest(self, z: Tensor, count: int) -> Tensor:
        """The `count` nearest codes [B, K, count] of z [B, K, D], the nearest first; all codes if there are fewer."""
        with torch.autocast(z.device.type, enabled=False):
            cost = self._cost(self._normal(z.float()), self._books(z.shape[1]))
            return cost.topk(min(count, self.size), dim=-1, largest=False).indices

    def _losses(self, latents: Tensor, codes: Tensor, books: Tensor) -> dict[str, Tensor]:
        found = {"commitment": self.commitment * F.mse_loss(latents, codes.detach())}
        if self.learn == "gradient":
            found["codebook"] = self.pull * F.mse_loss(codes, latents.detach())
        if self.entropy:
            found["entropy"] = self.entropy * self._entropy(latents, books)
        return found

    def _entropy(self, latents: Tensor, books: Tensor) -> Tensor:
        """Mean entropy of the soft assignments less the entropy of their mean (per codebook)."""
        logits = -self._cost(latents, books) / self.softness  # [B, K, size]
        logs = logits.log_softmax(-1)
        share = logs.exp()
        sure = -(share * logs).sum(-1).mean()
        mean = share.mean((0, 1), keepdim=True) if self.books == 1 else share.mean(0, keepdim=True)
        even = -(mean * (mean + 1e-5).log()).sum(-1).mean()
        return sure - even

    def lookup(self, ids: Tensor) -> Tensor:
        """The latents [B, K, D] of codes [B, K]."""
        books = self._books(ids.shape[1])
        return books[self._book_of(ids), ids]

    def _book_of(self, ids: Tensor) -> Tensor:
        """Which codebook each position uses: [K]."""
        book = torch.arange(ids.shape[1], device=ids.device)
        return book if self.books > 1 else torch.zeros_like(book)

    def margin(self, z: Tensor) -> Tensor:
        """Distance [B, K] from each latent to the plane between its nearest code and the second-nearest."""
        with torch.autocast(z.device.type, enabled=False):
            cost = self._cost(self._normal(z.float()), self._books(z.shape[1]))
        near = cost.topk(2, dim=-1, largest=False)
        first, second = (self.lookup(ids) for ids in near.indices.unbind(-1))
        gap = near.values[..., 1] - near.values[..., 0]
        apart = (first - second).square().sum(-1).sqrt()
        return gap / (2 * apart).clamp(min=1e-12)

    @torch.no_grad()
    def start(self, z: Tensor, rounds: int = 0) -> None:
        """Put the codes onto latents z [B, K, D], then improve them by `rounds` rounds of k-means."""
        latents = self._normal(z.float())
        book = torch.arange(self.books, device=z.device).repeat_interleave(self.size)
        table = self._table.data  # shares memory with the codebook
        table.copy_(self._draw(latents, book).view_as(table))
        count = table.new_ones(self.books, self.size)
        for _ in range(rounds):
            books = self._books(z.shape[1])  # in pieces: all distances at once may take gigabytes
            ids = torch.cat([self._cost(part, books).argmin(-1) for part in latents.split(2048)])
            count, total = self._sums(latents, ids)
            mean = self._normal(total / count.clamp(min=1).unsqueeze(-1))
            dead = count == 0
            table.copy_(torch.where(dead.unsqueeze(-1), table, mean))
            table[dead] = self._draw(latents, dead.nonzero()[:, 0])
            self._set_price(count)
        self.ready.fill_(True)
        if self.cvq:
            self.moved.zero_()
        if self.learn == "ema":
            self.count.copy_(count.clamp(min=1) / count.mean(-1, keepdim=True))
            self.total.copy_(table * self.count.unsqueeze(-1))

    def _draw(self, latents: Tensor, book: Tensor) -> Tensor:
        """One latent of the batch for each entry of book [n], with a little noise: [n, D].

        The same on every rank: rank 0 draws.
        """
        batch, positions, _ = latents.shape
        row = torch.randint(batch, book.shape, device=latents.device)
        position = book if self.books > 1 else torch.randint(positions, book.shape, device=latents.device)
        pick = latents[row, position.clamp(max=positions - 1)]
        pick = self._normal(pick + 0.01 * latents.std() * torch.randn_like(pick)).contiguous()
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.broadcast(pick, src=0)
        return pick

    def _sums(self, latents: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """How often each code is used, [books, size], and the sum of its latents, over all ranks."""
        flat = (self._book_of(ids) * self.size + ids).reshape(-1)
        count = torch.bincount(flat, minlength=self.books * self.size).to(latents.dtype)
        total = latents.new_zeros(self.books * self.size, self.dim)
        total.index_add_(0, flat, latents.reshape(-1, self.dim))
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(count)
            dist.all_reduce(total)
        return count.view(self.books, self.size), total.view(self.books, self.size, self.dim)

    def _set_price(self, count: Tensor) -> None:
        """The price of each code from how often it is used, count [books, size]; a rare code keeps a chance."""
        if self.rate > 0:
            share = (count / count.sum(-1, keepdim=True)).clamp(min=MIN_SHARE / self.size)
            self.price.copy_(-self.rate * share.log())

    @torch.no_grad()
    def _update(self, latents: Tensor, ids: Tensor) -> None:
        count, total = self._sums(latents, ids)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        table = self._table
        mean = self._normal(self.total / self.count.clamp(min=1e-6).unsqueeze(-1))
        table.copy_(torch.where(self.count.unsqueeze(-1) > 1e-6, mean, table))
        fair = self.count.sum(-1, keepdim=True) / self.size
        dead = self.count < self.revive_below * fair
        if self.revive_below > 0 and bool(dead.any()):
            book = dead.nonzero()[:, 0]
            fresh, share = self._draw(latents, book), fair[book]
            table[dead], self.total[dead], self.count[dead] = fresh, fresh * share, share.squeeze(-1)
        self._set_price(self.count)
