"""A forest of all species beside the networks: every leaf of a tree holds the share of its surveys that has each species.

Trees are arrays: no pickle, the same file as the networks' weights. Growing them is `inference.training.forest`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from cube.storage.leaves import SPECIES_PER_SHARD

BLOCK: Final = SPECIES_PER_SHARD  # species whose shares lie together: what prediction takes at a time
STEPS: Final = 65_535  # of a share: the smallest one, of a leaf of a thousand surveys, is kept to 2 %
# What a probability has of the species' prevalence: that no survey of a leaf has the species is no proof of absence.
PREVALENCE_SHARE: Final = 0.02
LOW_BITS: Final = np.uint32(9)  # bits of a value that are rounded away, so that a last digit does not decide at a split
CERTAIN: Final = 0.999
FOREST_SHARE: Final = 0.5  # of the forest in the mean intensity of networks and forest, of a common species
HALF_AT: Final = 100  # surveys of a species at which the forest has half of that: it ranks rare species badly


@dataclass(frozen=True)
class ForestSizes:
    """What the arrays of a forest are as long as."""

    species: int
    columns: int
    trees: int
    nodes: int
    leaves: int
    entries: int  # species and leaf pairs with a share

    def __post_init__(self) -> None:
        """Refuse what no array is as long as. Raises: TypeError."""
        for name, value in asdict(self).items():
            if type(value) is not int or value < 0:
                raise TypeError(f"forest.{name} is {value!r}, expected a whole number")

    def to_json(self) -> dict[str, int]:
        """A dictionary of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Tree:
    """One tree: `feature` (nodes,) -1 at a leaf, `child` (nodes, 2) left and right, of a leaf its number twice.

    Left is where the value of `feature` is at most `threshold` (nodes,); `share` (leaves, S) of the surveys of each leaf.
    """

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    child: NDArray[np.int32]
    share: csr_array


class Forest(nn.Module):
    """Trees of several folds, one fold after the other, read from columns (n, C) that `rounded` has passed over."""

    centre: Tensor
    feature: Tensor
    threshold: Tensor
    child: Tensor
    root: Tensor
    start: Tensor
    member: Tensor
    share: Tensor
    prevalence: Tensor
    weight: Tensor

    def __init__(self, sizes: ForestSizes) -> None:
        """Arrays of `sizes` without values, to be filled by `load_state_dict`."""
        super().__init__()
        self.sizes = sizes
        blocks = -(-sizes.species // BLOCK)
        for name, shape, kind in (
            ("centre", (sizes.columns,), torch.float32),  # what stands for a missing value
            ("feature", (sizes.nodes,), torch.int16),
            ("threshold", (sizes.nodes,), torch.float32),
            ("child", (sizes.nodes, 2), torch.int32),
            ("root", (sizes.trees,), torch.int32),
            ("start", (blocks, sizes.leaves + 1), torch.int64),  # entries of a block of species, leaf by leaf
            ("member", (sizes.entries,), torch.uint8),  # species within its block
            ("share", (sizes.entries,), torch.uint16),
            ("prevalence", (sizes.species,), torch.float32),
            ("weight", (sizes.species,), torch.float32),  # of the forest beside the networks
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=kind))

    @classmethod
    def from_trees(
        cls, trees: Sequence[Tree], centre: NDArray[np.floating[Any]], counts: NDArray[np.integer[Any]], surveys: int
    ) -> Forest:
        """The forest of `trees`, `centre` (C,) for missing values, of species that `counts` (S,) of the `surveys` have."""
        node_counts, leaf_counts = ([len(t.feature) for t in trees], [t.share.shape[0] for t in trees])
        node_at, leaf_at = (np.concatenate([[0], np.cumsum(counts)]) for counts in (node_counts, leaf_counts))
        child = [
            t.child + np.where(t.feature < 0, leaf, node)[:, None]
            for t, node, leaf in zip(trees, node_at[:-1], leaf_at[:-1], strict=True)
        ]
        start, member, share, entries = [], [], [], 0
        species = len(counts)
        for first in range(0, species, BLOCK):
            lengths = []
            for tree in trees:
                part = csr_array(tree.share[:, first : first + BLOCK])
                lengths.append(np.diff(part.indptr))
                member.append(part.indices.astype(np.uint8))
                share.append(np.rint(part.data * STEPS).astype(np.uint16))
            ends = entries + np.cumsum(np.concatenate(lengths), dtype=np.int64)
            start.append(np.concatenate([[entries], ends]))
            entries = int(ends[-1])
        sizes = ForestSizes(species, len(centre), len(trees), int(node_at[-1]), int(leaf_at[-1]), entries)
        forest = cls(sizes)
        values = {
            "centre": np.asarray(centre, np.float32),
            "feature": np.concatenate([t.feature for t in trees]),
            "threshold": np.concatenate([t.threshold for t in trees]),
            "child": np.concatenate(child).astype(np.int32),
            "root": node_at[:-1].astype(np.int32),
            "start": np.stack(start),
            "member": np.concatenate(member),
            "share": np.concatenate(share),
            "prevalence": ((counts + 0.5) / (surveys + 1.0)).astype(np.float32),
            "weight": (FOREST_SHARE * counts / (counts + HALF_AT)).astype(np.float32),
        }
        forest.load_state_dict({name: torch.from_numpy(array) for name, array in values.items()})
        return forest

    def of_part(self, part: int, parts: int) -> Forest:
        """The trees of one of `parts` equal groups of trees, in order; arrays are shared."""
        trees = self.sizes.trees // parts
        forest = Forest(ForestSizes(**{**self.sizes.to_json(), "trees": trees}))
        for name, values in self.named_buffers():
            setattr(forest, name, values[part * trees : (part + 1) * trees] if name == "root" else values)
        return forest

    def of_species(self, species: Tensor) -> Forest:
        """The same trees with the shares of some species (w,) alone, ascending numbers."""
        new = torch.full((len(self.start) * BLOCK,), -1, dtype=torch.int64, device=species.device)
        new[species] = torch.arange(len(species), device=species.device)
        block = torch.repeat_interleave(
            torch.arange(len(self.start), device=species.device), self.start[:, -1] - self.start[:, 0]
        )
        member = new[block * BLOCK + self.member.long()]
        leaf = torch.arange(self.sizes.leaves, device=species.device).repeat(len(self.start))
        leaf = torch.repeat_interleave(leaf, self.start.diff().flatten())
        entries = torch.nonzero(member >= 0).flatten()
        # in the order that `from_trees` puts them: by block, leaf and species
        order = torch.argsort((member[entries] // BLOCK * self.sizes.leaves + leaf[entries]) * BLOCK + member[entries] % BLOCK)
        entries = entries[order]
        blocks = -(-len(species) // BLOCK)
        counts = torch.bincount(
            member[entries] // BLOCK * self.sizes.leaves + leaf[entries], minlength=blocks * self.sizes.leaves
        )
        ends = counts.cumsum(0).reshape(blocks, -1)
        first = torch.cat([ends.new_zeros(1), ends[:-1, -1]])[:, None]
        sizes = {**self.sizes.to_json(), "species": len(species), "entries": len(entries)}
        forest = Forest(ForestSizes(**sizes))
        for name, values in self.named_buffers():
            setattr(forest, name, values)
        forest.start, forest.member = torch.cat([first, ends], 1), (member[entries] % BLOCK).to(torch.uint8)
        forest.share, forest.prevalence, forest.weight = self.share[entries], self.prevalence[species], self.weight[species]
        return forest

    def leaves(self, columns: Tensor) -> Tensor:
        """(n, trees) the leaf of every tree that each place lies in, from its columns (n, C), NaN where missing.

        Whole numbers of 32 bits that pass for float32, so that they stand in one array with embeddings: above 16 million float32
        itself would round them.
        """
        values = rounded(columns.cpu().numpy(), self.centre.cpu().numpy())
        out = np.empty((len(values), self.sizes.trees), np.int32)
        feature, threshold, child, root = (a.cpu().numpy() for a in (self.feature, self.threshold, self.child, self.root))
        _descend(values, feature, threshold, child, root, out)
        return torch.from_numpy(out).view(torch.float32).to(self.root.device)

    def rate(self, leaves: Tensor, species: slice = slice(None)) -> Tensor:
        """(n, s) intensities -log(1 - p) at places in `leaves` (n, trees), of a slice of the species; never 0."""
        first, stop, _ = species.indices(self.sizes.species)
        blocks = [self._block(leaves, b) for b in range(first // BLOCK, -(-stop // BLOCK))]
        at = first // BLOCK * BLOCK
        share = torch.cat(blocks, 1)[:, first - at : stop - at]
        p = share * ((1 - PREVALENCE_SHARE) / (STEPS * self.sizes.trees)) + PREVALENCE_SHARE * self.prevalence[first:stop]
        return -torch.log1p(-p.clamp(max=CERTAIN))

    def _block(self, leaves: Tensor, block: int) -> Tensor:
        """(n, width) sums of shares over trees, in steps, of one block of species."""
        on_processor = leaves.device.type == "cpu"
        return self.block_on_processor(leaves, block) if on_processor else self.block_on_device(leaves, block)

    def block_on_processor(self, leaves: Tensor, block: int) -> Tensor:
        """Entry by entry, in compiled code."""
        total = np.zeros((len(leaves), self._width(block)), np.int32)
        _add_up(leaves.view(torch.int32).numpy(), self.start[block].numpy(), self.member.numpy(), self.share.numpy(), total)
        return torch.from_numpy(total).float()

    def block_on_device(self, leaves: Tensor, block: int) -> Tensor:
        """By a table of all leaves: a GPU reads it faster than it follows entries."""
        start = self.start[block]
        entries = slice(int(start[0]), int(start[-1]))
        leaf = torch.repeat_interleave(torch.arange(len(start) - 1, device=start.device), start.diff())
        table = torch.zeros(len(start) - 1, self._width(block), device=leaves.device)
        table[leaf, self.member[entries].long()] = self.share[entries].float()
        return nn.functional.embedding_bag(leaves.view(torch.int32).long(), table, mode="sum")

    def _width(self, block: int) -> int:
        return min(BLOCK, self.sizes.species - block * BLOCK)


def beside_forest(scores: Tensor, rate: Tensor, weight: Tensor) -> Tensor:
    """log of the weighted mean of the networks' intensity, exp(scores), and the forest's `rate`, (n, s); `weight` (s,) of it."""
    return torch.logaddexp(scores + torch.log1p(-weight), torch.log(rate * weight))


def rounded(columns: NDArray[np.float32], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns (n, C) without gaps, kept to 14 binary digits: the same from a window and from a survey's place."""
    complete = np.where(np.isfinite(columns), columns, centre).astype(np.float32)
    bits = complete.view(np.uint32) + np.uint32(1 << (int(LOW_BITS) - 1))
    return np.asarray((bits >> LOW_BITS << LOW_BITS).view(np.float32))


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _descend(
    values: NDArray[np.float32],
    feature: NDArray[np.int16],
    threshold: NDArray[np.float32],
    child: NDArray[np.int32],
    root: NDArray[np.int32],
    out: NDArray[np.int32],
) -> None:
    """Fill `out` (n, trees) with the leaves of places `values` (n, C)."""
    for t in range(len(root)):
        for i in range(len(values)):
            node = root[t]
            while feature[node] >= 0:
                node = child[node, 0] if values[i, feature[node]] <= threshold[node] else child[node, 1]
            out[i, t] = child[node, 0]


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _add_up(
    leaves: NDArray[np.int32],
    start: NDArray[np.int64],
    member: NDArray[np.uint8],
    share: NDArray[np.uint16],
    total: NDArray[np.int32],
) -> None:
    """Add the shares of the leaves (n, trees) of each place to `total` (n, width); whole numbers, so their order is no matter."""
    for i in range(len(leaves)):
        row = total[i]
        for t in range(leaves.shape[1]):
            leaf = leaves[i, t]
            for e in range(start[leaf], start[leaf + 1]):
                row[member[e]] += share[e]
