"""Vector quantization: van den Oord et al., arXiv:1711.00937, with an EMA codebook, a start from data,
dead codes revived from the batch (Dhariwal et al., arXiv:2005.00341, section 3.2), and on request an
entropy constraint (Chou, Lookabaugh and Gray, Entropy-constrained vector quantization, 1989).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from .base import Quantized, Quantizer

MIN_SHARE = 0.05
"""Of a fair share: no code is priced as if it were rarer than this."""


class VQ(Quantizer):
    """Vector quantization with an EMA codebook, one for all positions or one for each.

    The codebook is a buffer moved by running averages rather than a trained parameter: a partitioned
    optimizer (ZeRO) writes parameters back after each step and would undo the start from data and revivals.
    In a distributed run every rank applies the same update.

    Args:
        size: codes.
        dim: channels of a code.
        books: 1, or the number of positions K: each position then has its own `size` codes (a product
            code, Jegou et al. 2011), and a shorter z uses the first ones.
        l2: compare on the unit sphere: latents and codes are normalised, and so is `z_q`.
        commitment: weight of the pull of latents to their codes.
        decay: of the running averages.
        rate: price of a nat in squared distance: a latent takes the code with the least distance + rate *
            (-log of the code's share). Codes then carry less information for nearly the same error, which
            leaves less for a language model to predict. With a price `inverse` need not hold: a rare code
            can lose its own centre to a frequent neighbour.
        revive_below: codes used less than this share of a fair 1/size are moved onto latents of the batch;
            0 never revives.
    """

    codebook: Tensor  # [books, size, D]
    count: Tensor  # [books, size], running average of uses per batch
    total: Tensor  # [books, size, D], running average of the sum of latents per batch
    price: Tensor  # [books, size], rate * nats of each code
    ready: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        books: int = 1,
        l2: bool = False,
        commitment: float = 0.25,
        decay: float = 0.99,
        rate: float = 0.0,
        revive_below: float = 0.02,
    ) -> None:
        super().__init__()
        if size < 2 or dim < 1 or books < 1:
            raise ValueError(
                f"VQ of {books} x {size} codes in {dim} channels: need at least 1 x 2 codes and 1"
            )
        self.size, self.dim, self.books, self.l2 = size, dim, books, l2
        self.commitment, self.decay, self.rate, self.revive_below = commitment, decay, rate, revive_below
        self.register_buffer("codebook", self._normal(torch.randn(books, size, dim)))
        self.register_buffer("count", torch.ones(books, size), persistent=False)
        self.register_buffer("total", self.codebook.clone(), persistent=False)
        self.register_buffer("price", torch.zeros(books, size), persistent=rate > 0)
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def _normal(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.l2 else x

    def _books(self, count: int) -> Tensor:
        """The codebooks of `count` positions: [1, size, D] or [count, size, D]."""
        if self.books > 1 and count > self.books:
            raise ValueError(f"{count} positions, but this VQ has codebooks for {self.books}")
        return self.codebook if self.books == 1 else self.codebook[:count]

    def _cost(self, latents: Tensor) -> Tensor:
        """What each code costs, [B, K, size], up to a constant of each position; latents [B, K, D]."""
        books = self._books(latents.shape[1])
        price = self.price[: len(books)]
        dots = latents @ books[0].t() if self.books == 1 else torch.einsum("bkd,knd->bkn", latents, books)
        return books.square().sum(-1) - 2 * dots + price

    def forward(self, z: Tensor) -> Quantized:
        """Quantise z [B, K, D]; ids [B, K]. In training mode this also moves the codebook."""
        latents = self._normal(z.float())
        if self.training and not bool(self.ready):
            self.start(latents.detach())
        ids = self._cost(latents.detach()).argmin(-1)
        codes = self.lookup(ids)
        if self.training:
            self._update(latents.detach(), ids)
        loss = self.commitment * F.mse_loss(latents, codes)
        return Quantized((latents + (codes - latents).detach()).to(z.dtype), ids, loss)

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
        near = self._cost(self._normal(z.float())).topk(2, dim=-1, largest=False)
        first, second = (self.lookup(ids) for ids in near.indices.unbind(-1))
        gap = near.values[..., 1] - near.values[..., 0]
        apart = (first - second).square().sum(-1).sqrt()
        return gap / (2 * apart).clamp(min=1e-12)

    @torch.no_grad()
    def start(self, z: Tensor, rounds: int = 0) -> None:
        """Put the codes onto latents z [B, K, D], then improve them by `rounds` rounds of k-means."""
        latents = self._normal(z.float())
        book = torch.arange(self.books, device=z.device).repeat_interleave(self.size)
        self.codebook.copy_(self._draw(latents, book).view_as(self.codebook))
        count = torch.ones_like(self.count)
        for _ in range(rounds):
            count, total = self._sums(latents, self._cost(latents).argmin(-1))
            mean = self._normal(total / count.clamp(min=1).unsqueeze(-1))
            dead = count == 0
            self.codebook.copy_(torch.where(dead.unsqueeze(-1), self.codebook, mean))
            self.codebook[dead] = self._draw(latents, dead.nonzero()[:, 0])
            self._set_price(count)
        self.count.copy_(count.clamp(min=1) / count.mean(-1, keepdim=True))
        self.total.copy_(self.codebook * self.count.unsqueeze(-1))
        self.ready.fill_(True)

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
        count = torch.bincount(flat, minlength=self.count.numel()).to(latents.dtype)
        total = torch.zeros_like(self.codebook).view(-1, self.dim)
        total.index_add_(0, flat, latents.reshape(-1, self.dim))
        if dist.is_initialized() and dist.get_world_size() > 1:
            dist.all_reduce(count)
            dist.all_reduce(total)
        return count.view_as(self.count), total.view_as(self.codebook)

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
        mean = self._normal(self.total / self.count.clamp(min=1e-6).unsqueeze(-1))
        self.codebook.copy_(torch.where(self.count.unsqueeze(-1) > 1e-6, mean, self.codebook))
        fair = self.count.sum(-1, keepdim=True) / self.size
        dead = self.count < self.revive_below * fair
        if self.revive_below > 0 and bool(dead.any()):
            book = dead.nonzero()[:, 0]
            fresh, share = self._draw(latents, book), fair[book]
            self.codebook[dead], self.total[dead], self.count[dead] = fresh, fresh * share, share.squeeze(-1)
        self._set_price(self.count)
