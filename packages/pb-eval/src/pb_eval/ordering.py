"""The non-zero values of two groups of cells in rising order, gene by gene, in blocks of genes.

The zeros of a gene are left out. Gene, value and cell of each value are packed into one integer, and these are sorted
gene by gene: that took half the time of sorting a block at once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pb_eval.matrix import Matrix

__all__ = ["Block", "Runs", "kept_blocks", "ordered_blocks"]

_KEYS = 2**18  # values of a block, zeros included
_KEPT = 2**23  # values, kept in 5 to 8 bytes each, in double precision with 8 more for each that is distinct
_CODE = np.uint64(32)  # bits of a value's code
_LOW = np.uint64(2**32 - 1)
_SIGN = np.uint32(2**31)
_NO_KEYS, _NO_CELLS = np.empty(0, np.uint64), np.empty(0, np.intp)


class Runs(NamedTuple):
    """Runs of equal values, gene after gene in rising order, each ``(runs,)``.

    Attributes
    ----------
    lengths
        Number of values.
    from_first
        How many of them are of the first group.
    gene
        Gene within the block.
    positive
        Whether the value is above 0.
    """

    lengths: NDArray[np.intp]
    from_first: NDArray[np.intp]
    gene: NDArray[np.intp]
    positive: NDArray[np.bool_]


class Block(NamedTuple):
    """Values of a block of genes that are not zero, gene after gene in rising order, each ``(values,)``.

    Attributes
    ----------
    keys
        Gene and order-preserving code of the value, equal for equal values of a gene.
    cells
        Cell, those of the second group numbered after those of the first.
    genes
        Which genes.
    zero
        Code that zero would have.
    decode
        Values of codes.
    """

    keys: NDArray[np.uint64]
    cells: NDArray[np.intp]
    genes: slice
    zero: np.uint64
    decode: Callable[[NDArray[np.uint64]], NDArray[np.float64]]

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.genes.stop - self.genes.start)

    @property
    def gene(self) -> NDArray[np.intp]:
        """Gene of each value, from 0."""
        return (self.keys >> _CODE).astype(np.intp)

    @property
    def values(self) -> NDArray[np.float64]:
        """The values."""
        return self.decode(self.keys & _LOW)

    def of(self, chosen: NDArray[np.bool_]) -> Block:
        """Take the values that are chosen."""
        places = np.flatnonzero(chosen)
        return self._replace(keys=self.keys.take(places), cells=self.cells.take(places))

    def runs(self, n_first: int) -> Runs:
        """Find runs of equal values; the first group are the cells below ``n_first``."""
        new = np.ones(self.keys.size, dtype=bool)
        np.not_equal(self.keys[1:], self.keys[:-1], out=new[1:])
        starts = np.flatnonzero(new)
        own = (self.cells < n_first).astype(np.intp)
        from_first = np.add.reduceat(own, starts) if starts.size else own
        keys = self.keys[starts]
        lengths, gene = np.diff(starts, append=self.keys.size), (keys >> _CODE).astype(np.intp)
        return Runs(lengths, from_first, gene, keys & _LOW > self.zero)


def ordered_blocks(first: Matrix, second: Matrix) -> list[Callable[[], Block]]:
    """Functions that sort a block of genes each, all genes together.

    Parameters
    ----------
    first, second
        ``(cells, genes)``, dense or CSR, of the same genes.

    Examples
    --------
    >>> [block] = ordered_blocks(np.array([[0.0], [2.0]]), np.array([[1.0], [2.0]]))
    >>> block().cells, block().runs(2).lengths
    (array([2, 1, 3]), array([1, 2]))
    """
    readers = _reader(first), _reader(second)
    n_first, n_genes = (int(length) for length in first.shape)
    n_cells = n_first + int(second.shape[0])
    step = min(max(1, _KEYS // n_cells), 2**16)

    def block(start: int) -> Block:
        genes = slice(start, min(start + step, n_genes))
        parts = [read(genes) for read in readers]
        values, gene = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        cells = np.concatenate([parts[0].cells, parts[1].cells + n_first])
        codes, zero, decode = _codes(values)
        by_gene = np.argsort(gene.astype(np.uint16), kind="stable")  # of 16 bits, by counting
        keys = gene.astype(np.uint64) << _CODE | codes
        keys, cells = _sorted(keys[by_gene], cells[by_gene], np.bincount(gene), n_cells)
        return Block(keys, cells, genes, zero, decode)

    return [partial(block, start) for start in range(0, n_genes, step)]


def kept_blocks(first: Matrix, second: Matrix) -> list[Callable[[], Block]] | None:
    """As :func:`ordered_blocks`, each block sorted once only and kept; None where they would take too much memory.

    Examples
    --------
    >>> [block] = kept_blocks(np.array([[0.0], [2.0]]), np.array([[1.0], [2.0]]))
    >>> block().cells, block().values
    (array([2, 1, 3]), array([1., 2., 2.]))
    """
    if sum(int(getattr(matrix, "nnz", matrix.size)) for matrix in (first, second)) > _KEPT:
        return None
    n_cells = int(first.shape[0] + second.shape[0])
    return [_Kept(make, n_cells) for make in ordered_blocks(first, second)]


class _Packed(NamedTuple):
    """A block in less memory: codes without genes, how many values each gene has, cells as small integers."""

    codes: NDArray[np.uint32]
    of_gene: NDArray[np.intp]
    cells: NDArray[np.unsignedinteger[Any]]
    block: Block  # without its values


class _Kept:
    """Sorts a block when first asked for it; what it was sorted from is then forgotten."""

    def __init__(self, make: Callable[[], Block], n_cells: int) -> None:
        self.make: Callable[[], Block] | None = make
        self.n_cells = n_cells
        self.packed: _Packed

    def __call__(self) -> Block:
        make = self.make
        if make is not None:
            self.packed, self.make = self._pack(make()), None
        codes, of_gene, cells, block = self.packed
        gene = np.repeat(np.arange(of_gene.size, dtype=np.uint64), of_gene)
        return block._replace(keys=gene << _CODE | codes, cells=cells.astype(np.intp))

    def _pack(self, block: Block) -> _Packed:
        of_gene = np.bincount(block.gene, minlength=block.n_genes)
        codes, cells = (block.keys & _LOW).astype(np.uint32), block.cells.astype(np.min_scalar_type(self.n_cells))
        return _Packed(codes, of_gene, cells, block._replace(keys=_NO_KEYS, cells=_NO_CELLS))


class _Values(NamedTuple):
    """Values of a block of genes that are not zero, gene after gene, with gene and cell of each."""

    values: NDArray[Any]
    gene: NDArray[np.intp]
    cells: NDArray[np.intp]


def _reader(matrix: Matrix) -> Callable[[slice], _Values]:
    """Return what reads the values of some genes."""
    if isinstance(matrix, np.ndarray):

        def read_dense(genes: slice) -> _Values:
            block = np.ascontiguousarray(matrix[:, genes].T)
            gene, cells = np.nonzero(block)
            return _Values(block[gene, cells], gene, cells)

        return read_dense
    columns = matrix.tocsc()
    columns.eliminate_zeros()

    def read_sparse(genes: slice) -> _Values:
        bounds = columns.indptr[genes.start : genes.stop + 1]
        part = slice(bounds[0], bounds[-1])
        gene = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
        return _Values(columns.data[part], gene, columns.indices[part].astype(np.intp))

    return read_sparse


def _sorted(
    keys: NDArray[np.uint64], cells: NDArray[np.intp], of_gene: NDArray[np.intp], n_cells: int
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Sort so many keys of each gene, and cells with them, as one integer each."""
    bits = np.uint64(n_cells.bit_length())
    packed = keys << bits | cells.astype(np.uint64)
    for values in np.split(packed, np.cumsum(of_gene)[:-1]):
        values.sort()
    return packed >> bits, (packed & (np.uint64(1) << bits) - np.uint64(1)).astype(np.intp)


def _codes(
    values: NDArray[Any],
) -> tuple[NDArray[np.uint64], np.uint64, Callable[[NDArray[np.uint64]], NDArray[np.float64]]]:
    """Order-preserving integers below 2^32 of non-zero values, that of zero, and what turns them back."""
    if values.dtype == np.float32:
        bits = values.view(np.uint32)
        return np.where(bits & _SIGN, ~bits, bits | _SIGN).astype(np.uint64), np.uint64(_SIGN), _floats
    distinct, codes = np.unique(values, return_inverse=True)
    filled = np.append(distinct, 0.0)  # odd codes, that of zero between them

    def decode(codes: NDArray[np.uint64]) -> NDArray[np.float64]:
        return np.where(codes & np.uint64(1), filled[codes >> np.uint64(1)], 0.0)

    zero = np.uint64(2 * np.searchsorted(distinct, 0.0))
    return (2 * codes.ravel() + 1).astype(np.uint64), zero, decode


def _floats(codes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Single-precision values of their codes."""
    bits = codes.astype(np.uint32)
    return np.where(bits & _SIGN, bits & ~_SIGN, ~bits).view(np.float32).astype(np.float64)
