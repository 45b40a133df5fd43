"""The pool: columns stay aligned, and the content hash tells training sets apart, wherever they come from."""

from __future__ import annotations

import numpy as np
import pytest

from entropick import Pool
from entropick.errors import InputError


@pytest.fixture
def pool():
    images = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2, 1)
    real = Pool.of(images[:4], source=0, labels=[3, 2, 1, 0])
    return Pool.concatenate([real, Pool.of(images[4:], source=2)])


def test_columns_are_aligned_through_concatenate_and_take(pool):
    assert len(pool) == 6
    taken = pool.take(np.array([5, 0, 3]))
    assert taken.images[:, 0, 0, 0].tolist() == [20, 0, 12]
    assert taken.source.tolist() == [2, 0, 0]
    assert taken.row.tolist() == [1, 0, 3]
    assert taken.labels.tolist() == [-1, 3, 0]


def test_the_hash_is_of_pixels_shape_labels_and_order_but_not_of_the_source(pool):
    images, labels = pool.images, pool.labels
    others = {
        "pixels": Pool.of(images ^ 1, source=0, labels=labels),
        "shape": Pool.of(images.reshape(6, 4, 1, 1), source=0, labels=labels),
        "labels": Pool.of(images, source=0, labels=labels + 1),
        "order": Pool.of(images[::-1], source=0, labels=labels[::-1]),
    }
    assert Pool.of(images, source=7, labels=labels).content_hash() == pool.content_hash()
    assert len({pool.content_hash(), *(other.content_hash() for other in others.values())}) == 5


def test_one_hash_is_of_the_images_alone(pool):
    images = pool.images
    relabelled = Pool.of(images, source=0, labels=pool.labels + 1)
    assert relabelled.images_hash() == pool.images_hash() != pool.content_hash()
    assert Pool.of(images ^ 1, source=0).images_hash() != pool.images_hash()
    # Whichever is asked for first.
    assert relabelled.content_hash() == Pool.of(images, source=0, labels=pool.labels + 1).content_hash()


def test_garbage_is_what_is_numbered_after_all_that_its_iteration_emitted():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    real, fresh = Pool.of(images, source=0, sha256="a"), Pool.of(images, source=0, first_row=4)
    emitted, planted = Pool.of(images[:3], source=2, sha256="b"), Pool.of(images[:2], source=2, first_row=3)
    pool = Pool.concatenate([real, emitted, planted, fresh])
    assert np.flatnonzero(pool.is_planted).tolist() == [7, 8]
    assert pool.take(np.array([8, 0, 6])).is_planted.tolist() == [True, False, False]


def test_images_of_two_shapes_do_not_make_a_pool(pool):
    with pytest.raises(InputError, match="images of one shape"):
        Pool.concatenate([pool, Pool.of(np.zeros((3, 4, 4, 1), np.uint8), source=1)])
