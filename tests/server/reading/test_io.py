"""Windows put together from cached chunks equal slices of the array, and the cache keeps within its bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cube.storage.store import CubeStore
from server.errors import TooLargeError
from server.reading.io import ChunkCache, Reader


@pytest.fixture(scope="module")
def reader(cube: CubeStore) -> Reader:
    return Reader(cube, "r1", ChunkCache())


@settings(max_examples=60, deadline=None)
@given(
    step=st.sampled_from([1, 2, 4, 8, 16, 64]),
    top=st.integers(-20, 420),
    left=st.integers(-20, 620),
    height=st.integers(1, 300),
    width=st.integers(1, 300),
)
def test_window_equals_a_slice_of_the_array(reader: Reader, step: int, top: int, left: int, height: int, width: int) -> None:
    path = "products/indicators/v1/0/richness"
    array = reader.array(path)
    thin = np.asarray(array[1])[step // 2 :: step, step // 2 :: step]
    top, left = top // step, left // step
    found = reader.window(path, (1,), step, (top, top + height), (left, left + width))
    padded = np.full((thin.shape[0] + 800, thin.shape[1] + 1000), array.fill_value, array.dtype)
    padded[400 : 400 + thin.shape[0], 400 : 400 + thin.shape[1]] = thin
    np.testing.assert_array_equal(found, padded[top + 400 : top + 400 + height, left + 400 : left + 400 + width])


def test_whole_chunks_equal_slices_of_the_array_and_hold_fill_beyond_it(reader: Reader) -> None:
    path = "products/indicators/v1/1/richness"  # 200 x 300 cells in chunks of 200
    array = reader.array(path)
    whole = np.full((200, 400), array.fill_value, array.dtype)
    whole[:, :300] = array[2]
    left, right = reader.maps(path, (2,), [(0, 0), (0, 1)])
    np.testing.assert_array_equal(np.concatenate([left, right], axis=1), whole)


def test_cell_equals_the_array_at_that_cell(reader: Reader) -> None:
    array = reader.array("products/composition/v1/species_id")
    for row, col in ((0, 0), (57, 399), (399, 599), (200, 200)):
        np.testing.assert_array_equal(reader.cell("products/composition/v1/species_id", row, col), array[:, row, col])


def test_a_read_of_too_many_chunks_is_refused(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.reading.io.MAX_CHUNKS", 5)
    with pytest.raises(TooLargeError, match="zoom in"):
        reader.window("inputs/50m/elevation", (), 1, (0, 400), (0, 600))


def test_cache_forgets_the_least_recently_used_and_keeps_within_its_bytes() -> None:
    cache = ChunkCache(limit=3000)  # an entry counts for 200 bytes beside its values
    for key in range(10):
        cache.put((key,), np.zeros(100, np.uint8))
    assert cache.get((0,)) is not None
    cache.put((10,), np.zeros(100, np.uint8))
    assert cache.used_bytes == 3000
    assert cache.get((0,)) is not None
    assert cache.get((1,)) is None
    cache.put((11,), np.zeros(5000, np.uint8))
    assert (cache.get((11,)), cache.used_bytes) == (None, 3000)  # it is larger than the cache, and takes no other's place
