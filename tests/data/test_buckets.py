"""Clips go to a shape near their own, and every batch is of one shape."""

import pytest

from lite_sora.data.buckets import Bucket, MixedDataset, MixedOrder, bucket_of, find_buckets, parse_bucket

WIDE, SQUARE, TALL, SHORT = Bucket(8, 24, 40), Bucket(8, 32, 32), Bucket(8, 40, 24), Bucket(4, 32, 32)
ALL = [SQUARE, WIDE, TALL, SHORT]


def test_a_bucket_is_written_as_frames_height_width():
    assert parse_bucket("8x24x40") == WIDE and str(WIDE) == "8x24x40"
    for text in ("8x24", "8x24x0", "8x24x-4", "axbxc", ""):
        with pytest.raises(ValueError, match="is no bucket; write frames x height x width"):
            parse_bucket(text)


def test_a_clip_goes_to_the_nearest_shape_that_is_not_longer():
    assert bucket_of(20, 720, 1280, ALL, 0.0) == WIDE
    assert bucket_of(20, 1280, 720, ALL, 0.0) == TALL
    assert {bucket_of(20, 90, 100, ALL, chance) for chance in (0.0, 0.99)} == {SQUARE, SHORT}
    assert bucket_of(7, 720, 1280, ALL, 0.5) == SHORT
    assert bucket_of(3, 720, 1280, ALL, 0.5) is None


def test_buckets_are_found_from_the_clips():
    sizes = [(720, 1280)] * 50 + [(512, 512)] * 30 + [(1280, 720)] * 20
    found = find_buckets(sizes, SQUARE, (8, 8))
    assert found[0] == SQUARE and {WIDE, TALL} <= set(found) <= {SQUARE, WIDE, TALL}
    assert find_buckets([(100, 100)] * 9, SQUARE, (8, 8)) == [SQUARE]
    for bucket in find_buckets([(h, 100) for h in range(30, 300, 7)], Bucket(8, 64, 64), (16, 8)):
        assert bucket.height % 16 == 0 and bucket.width % 8 == 0
        assert 0.6 < bucket.height * bucket.width / 64**2 < 1.6


COUNTS, SIZES = [37, 10, 3], [8, 4, 8]


def order(start=0, stop=40, **more):
    return list(MixedOrder(COUNTS, SIZES, seed=1, start=start, stop=stop, **more))


def test_every_batch_is_of_one_bucket_and_every_clip_comes_in_every_epoch():
    steps = 5 + 3 + 1  # batches of an epoch
    for epoch in range(3):
        batches = [[index for index, _ in batch] for batch in order()[epoch * steps : (epoch + 1) * steps]]
        assert {index for batch in batches for index in batch} == set(range(50))
        for batch in batches:
            bucket = 0 if batch[0] < 37 else 1 if batch[0] < 47 else 2
            assert len(batch) == SIZES[bucket]
            assert all(sum(COUNTS[:bucket]) <= index < sum(COUNTS[: bucket + 1]) for index in batch)
    first, second = order()[:steps], order()[steps : 2 * steps]
    assert first != second
    assert len({seed for batch in order() for _, seed in batch}) == sum(map(len, order()))


def test_the_order_depends_on_the_seed_alone_and_can_be_taken_up_anywhere():
    assert order()[13:] == order(start=13)
    assert order() != list(MixedOrder(COUNTS, SIZES, seed=2, start=0, stop=40))
    parts = [order(rank=rank, world=2) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == order()


def test_a_mixed_dataset_is_its_parts_one_after_another():
    class Part:
        def __init__(self, name, count):
            self.name, self.count = name, count

        def __len__(self):
            return self.count

        def __getitem__(self, key):
            return self.name, *key

    mixed = MixedDataset([Part("a", 3), Part("b", 0), Part("c", 2)])
    assert len(mixed) == 5
    assert [mixed[index, 9] for index in range(5)] == [*(("a", i, 9) for i in range(3)), ("c", 0, 9), ("c", 1, 9)]
