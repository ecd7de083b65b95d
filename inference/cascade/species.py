"""Embeddings to species, block by block: probabilities summed, ranked, quantised and handed to the writer.

Two ways with the same results: compiled loops over tiles of cells on the processor (`kernels`), torch on a GPU. Memory does not
grow with the number of species: of a block there are its bytes, of a cell its sums and its best 64.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cube.layers import PROBABILITY_STEPS, RANKS
from cube.storage.leaves import SPECIES_PER_SHARD
from inference.cascade.cells import Cells, blur
from inference.cascade.clock import Clock
from inference.cascade.device import Device
from inference.cascade.kernels import pack, rank_block, store_block, take_block
from inference.cascade.sums import ELEMENTWISE, SumPlan
from inference.cascade.writing import Buffers, Writer
from inference.network.ensemble import Ensemble, log_mean_intensity
from inference.network.forest import Forest
from inference.training.likelihood import cloglog_probability

Floats = NDArray[np.float32]
Within = Callable[[int], NDArray[np.bool_] | None]  # species: (n,) cells where it may be; None: in all of them
BLOCK_BYTES: Final = 128 * 2**20  # bytes of one block of species that is filled while others are written


def no_range(species: int) -> None:
    """No species has a range."""


@dataclass(frozen=True)
class Head:
    """What turns embeddings into stored species, see `Ensemble.member_heads` and `Ensemble.eta`."""

    weight: Tensor  # (members, S, d)
    bias: Tensor  # (members, S)
    slope: Tensor  # (S,) of the calibration
    intercept: Tensor  # (S,)
    scale: Floats  # (S,) probability of one stored step
    sums: Tensor  # (rows, S) weights of the plan's linear sums
    sensitive_km: NDArray[np.int64]  # (S,) resolution that a species is kept at; 0 none
    forest: Forest | None = None  # beside the networks: its leaves stand behind their embeddings

    @classmethod
    def from_ensemble(cls, ensemble: Ensemble, plan: SumPlan, sensitive_km: NDArray[np.floating[Any]], area_m2: float) -> Head:
        """The head of a model for plots of `area_m2`, on the model's device."""
        weight, bias = ensemble.member_heads(area_m2)
        if ensemble.forest is not None:
            bias = bias + torch.log1p(-ensemble.forest.weight)  # the networks' share of the mean intensity
        sums = torch.from_numpy(plan.weights).to(weight.device)
        slope = ensemble.slope.expand(len(ensemble.intercept)).contiguous()  # one for all species, or one each
        km = np.nan_to_num(sensitive_km).astype(np.int64)
        return cls(weight, bias, slope, ensemble.intercept, ensemble.scale, sums, km, ensemble.forest)

    def __len__(self) -> int:
        return len(self.intercept)

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """Embeddings (n, D) of a member each, without the leaves of a forest."""
        members, _, d = self.weight.shape
        return z[:, : members * d].split(d, 1)

    def forest_rate(self, z: Tensor, first: int, stop: int) -> Tensor:
        """(n, stop - first) the forest's share of the mean intensity of species at embeddings z (n, D)."""
        assert self.forest is not None
        members, _, d = self.weight.shape
        return self.forest.rate(z[:, members * d :], slice(first, stop)) * self.forest.weight[first:stop]


def predict_species(
    head: Head,
    cells: Cells,
    z: Tensor,
    device: Device,
    block: int,
    threads: Executor,
    clock: Clock,
    writer: Writer | None = None,
    path: str = "",
    within: Within = no_range,
) -> None:
    """Meet all species: fills the sums and ranks of `cells`, and writes `occurrence` at `path` where a `writer` is given.

    `within` says where a species may be; elsewhere its probability is 0.
    """
    way = Compiled(head, cells, z, device, threads, clock) if device.compiled else OnDevice(head, cells, z, device, clock)
    # whole shards, as many at a time as asked for and as fit
    side = cells.side
    size = max(1, min(block, BLOCK_BYTES // side**2) // SPECIES_PER_SHARD) * SPECIES_PER_SHARD
    buffers = Buffers((min(size, len(head)), side * side), 255, pinned=device.copies is not None)
    for start in range(0, len(head), size):
        stop = min(start + size, len(head))
        out = buffers.take() if writer is not None else None
        for first in range(start, stop, SPECIES_PER_SHARD):
            part = slice(first, min(first + SPECIES_PER_SHARD, stop))
            replacements, which = _replacements(head, cells, way, part, within)
            way.block(part, replacements, which, None if out is None else out[first - start : part.stop - start])
        if writer is not None and out is not None:
            values = out[: stop - start].reshape(-1, side, side)
            free = partial(buffers.give_back, out)
            writer.put(f"species {start}", path, values, slice(start, stop), free, device.finish_copies)
    way.finish()


def _replacements(
    head: Head, cells: Cells, way: Compiled | OnDevice, block: slice, within: Within
) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities (k, n) of the species of a block that are sensitive or end within the unit, and where each is (-1: nowhere).

    First cut to the range, then blurred: a range cut after it would show within a square where the species is not.
    """
    km = head.sensitive_km[block]
    inside = {i: mask for i in range(len(km)) if (mask := within(block.start + i)) is not None}
    which = np.full(len(km), -1, np.int64)
    at = np.union1d(np.flatnonzero(km), np.fromiter(inside, np.int64, len(inside)))
    if not len(at):
        return np.zeros((0, len(cells.index)), np.float32), which
    which[at] = np.arange(len(at))
    replacements = way.probability(block.start + at)
    for p, i in zip(replacements, at.tolist(), strict=True):
        if i in inside:
            p *= inside[i]
        if km[i]:
            p[:] = blur(p, cells.index, cells.side, int(km[i]))
    return replacements, which


class Compiled:
    """On the processor: tiles of `CELLS` cells, padded, each computed by one thread."""

    def __init__(self, head: Head, cells: Cells, z: Tensor, device: Device, threads: Executor, clock: Clock) -> None:
        """`z` (n, D) are the embeddings of the cells."""
        self.head, self.cells, self.z, self.threads, self.clock = head, cells, z, threads, clock
        self.constants = tuple(part.numpy() for part in (head.bias, head.slope, head.intercept))
        n, size = len(z), device.batch.cells
        self.size = size
        self.tiles = [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _scores(self, weight: Tensor, tile: slice) -> Tensor:
        """(members, s, CELLS) scores without bias; a tile that is not full is padded, so that every product has one shape."""
        z = self.z[tile]
        if len(z) < self.size:
            z = torch.cat([z, z.new_zeros(self.size - len(z), z.shape[1])])
        scores = torch.empty(*weight.shape[:2], self.size)
        for member_scores, of_member, part in zip(scores, weight, self.head.split(z), strict=True):
            torch.mm(of_member, part.T, out=member_scores)
        return scores

    def _forest(self, block: slice, tile: slice) -> Floats:
        """(s, CELLS) a forest's share of the mean intensity of a block of species; no row without one."""
        if self.head.forest is None:
            return np.zeros((0, self.size), np.float32)
        rate = self.head.forest_rate(self.z[tile], block.start, block.stop)
        shares = np.zeros((rate.shape[1], self.size), np.float32)
        shares[:, : len(rate)] = rate.numpy().T
        return shares

    def probability(self, species: NDArray[np.int64]) -> Floats:
        """(k, n) probabilities of some species of one block, in ascending order."""
        weight = self.head.weight[:, torch.from_numpy(species)]
        bias, slope, intercept = (np.ascontiguousarray(values[..., species]) for values in self.constants)
        none, which = np.zeros((0, self.size), np.float32), np.full(len(species), -1, np.int64)

        def tile_probability(tile: slice) -> Floats:
            scores = self._scores(weight, tile).numpy()
            rate = self._forest(slice(int(species[0]), int(species[-1]) + 1), tile)
            rate = np.ascontiguousarray(rate[species - species[0]]) if len(rate) else rate
            take_block(scores, bias, slope, intercept, none, which, rate, np.zeros((2, self.size)))
            return scores[0, :, : tile.stop - tile.start]

        return np.concatenate(list(self.threads.map(tile_probability, self.tiles)), 1)

    def block(self, block: slice, replacements: Floats, which: NDArray[np.int64], out: NDArray[np.uint8] | None) -> None:
        """Enter a block of species, at most a shard's, into sums, ranks and bytes.

        `replacements` (k, n) are probabilities of the species i with `which[i]` = 0..k-1 (else -1), `out` (s, U^2).
        """
        for clipped in self.threads.map(lambda tile: self._tile(block, tile, replacements, which, out), self.tiles):
            if clipped is not None:
                self.cells.count_clipped(block.start, clipped)

    def _tile(
        self, block: slice, tile: slice, replacements: Floats, which: NDArray[np.int64], out: NDArray[np.uint8] | None
    ) -> NDArray[np.int64] | None:
        cells, clock = self.cells, self.clock
        n = tile.stop - tile.start
        with clock("head"):
            scores = self._scores(self.head.weight[:, block], tile)
            rate = self._forest(block, tile)
        p = scores[0].numpy()
        with clock("probabilities and indicator sums"):
            tile_scores = np.zeros((len(replacements), self.size), np.float32)
            tile_scores[:, :n] = replacements[:, tile]
            elementwise = np.zeros((len(ELEMENTWISE), self.size))
            bias, slope, intercept = (np.ascontiguousarray(values[..., block]) for values in self.constants)
            take_block(scores.numpy(), bias, slope, intercept, tile_scores, which, rate, elementwise)
            linear = self.head.sums[:, block] @ scores[0]
            cells.sums[: len(linear), tile] += linear.numpy()[:, :n]
            cells.sums[len(linear) :, tile] += elementwise[:, :n]
        with clock("rank"):
            rank_block(p, block.start, cells.keys[tile], cells.last_rank_probability[tile])
        if out is None:
            return None
        with clock("quantise"):
            clipped: NDArray[np.int64] = store_block(p, self.head.scale[block], cells.index[tile], PROBABILITY_STEPS, out)
            return clipped

    def finish(self) -> None:
        """Everything is in the cells already."""


class OnDevice:
    """In torch, wherever the embeddings are: only bytes leave the device, and at the end sums and ranks."""

    def __init__(self, head: Head, cells: Cells, z: Tensor, device: Device, clock: Clock) -> None:
        """`z` (n, D) are the embeddings of the cells."""
        self.head, self.cells, self.z, self.device, self.clock = head, cells, z, device, clock
        self.scale = torch.from_numpy(head.scale).to(z.device)[:, None]
        n, size = len(z), device.batch.cells
        self.tiles = [slice(start, min(start + size, n)) for start in range(0, n, size)]
        self.index = torch.from_numpy(cells.index).to(z.device)
        self.sums = torch.zeros(cells.sums.shape, dtype=torch.float64, device=z.device)
        self.ranked = torch.full(cells.keys.shape, -1.0, device=z.device)  # probabilities, best first; -1: an empty rank
        self.species = torch.full(cells.keys.shape, -1, dtype=torch.int32, device=z.device)
        self.clipped = torch.zeros(len(head), dtype=torch.int64, device=z.device)

    def _probability(self, species: slice | Tensor, tile: slice) -> Tensor:
        """(s, cells) probabilities."""
        head, z = self.head, self.z[tile]
        parts = head.split(z)
        weights, biases = head.weight[:, species], head.bias[:, species]
        f = log_mean_intensity([torch.addmm(b, part, w.T) for w, b, part in zip(weights, biases, parts, strict=True)])
        if head.forest is not None:
            if isinstance(species, slice):
                rate = head.forest_rate(z, species.start, species.stop)
            else:
                first, last = int(species[0]), int(species[-1])
                rate = head.forest_rate(z, first, last + 1)[:, species - first]
            f = torch.logaddexp(f, rate.log())
        return cloglog_probability((head.slope[species] * f + head.intercept[species]).T)

    def probability(self, species: NDArray[np.int64]) -> Floats:
        """See `Compiled.probability`."""
        at = torch.from_numpy(species).to(self.z.device)
        parts = [self._probability(at, tile).cpu() for tile in self.tiles]
        return np.asarray(torch.cat(parts, 1).numpy())

    def block(self, block: slice, replacements: Floats, which: NDArray[np.int64], out: NDArray[np.uint8] | None) -> None:
        """See `Compiled.block`; `out` is filled once the device has finished its copies."""
        device, clock = self.z.device, self.clock
        stored_block = None if out is None else torch.full(out.shape, 255, dtype=torch.uint8, device=device)
        for tile in self.tiles:
            with clock("head"):
                p = self._probability(block, tile)
                for i in np.flatnonzero(which >= 0):
                    p[i] = torch.from_numpy(replacements[which[i], tile]).to(device)
            with clock("probabilities and indicator sums"):
                linear = self.head.sums[:, block] @ p
                self.sums[: len(linear), tile] += linear
                self.sums[len(linear), tile] += torch.xlogy(p, p).sum(0)
                self.sums[len(linear) + 1, tile] += p.square().sum(0)
            with clock("rank"):
                ranks = merged_ranks(self.ranked[tile], self.species[tile], p, block.start)
                self.ranked[tile], self.species[tile] = ranks
            if stored_block is not None:
                with clock("quantise"):
                    steps = p / self.scale[block]
                    self.clipped[block] += (steps > PROBABILITY_STEPS + 0.5).sum(1)
                    stored_block[:, self.index[tile]] = steps.round().clamp(max=PROBABILITY_STEPS).to(torch.uint8)
        if stored_block is not None and out is not None:
            self.device.download(stored_block, out)

    def finish(self) -> None:
        """Sums and ranks to the cells."""
        self.cells.sums += self.sums.cpu().numpy()
        self.cells.keys[:] = pack(self.ranked.cpu().numpy(), self.species.cpu().numpy())
        self.cells.count_clipped(0, self.clipped.cpu().numpy())


def merged_ranks(best_p: Tensor, species: Tensor, p: Tensor, first: int) -> tuple[Tensor, Tensor]:
    """(probabilities, species) (n, RANKS), best first, of `best_p` until now and of `p` (s, n), species from `first` on.

    An empty rank is probability -1 of species -1. A stable sort of floats leaves the earlier of equal species first, as
    `kernels.rank_block` does, since ranked ones come before those of the block; a GPU needs half the passes of 64-bit keys.
    """
    sorted_p, at = torch.sort(torch.cat([best_p, p.T], 1), dim=1, descending=True, stable=True)
    at = at[:, :RANKS]
    before = species.gather(1, at.clamp(max=RANKS - 1))
    return sorted_p[:, :RANKS], torch.where(at < RANKS, before, (at + (first - RANKS)).to(torch.int32))
