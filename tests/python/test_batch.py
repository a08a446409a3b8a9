"""Several changes in one step, and buckets as files."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import kvreg
import pytest
from kvreg import aio


def test_all_changes_in_one_step(bucket: kvreg.Bucket) -> None:
    bucket.update({"goes": 1, "n": 40, "old": b"x"})
    old = bucket.entry("old").revision
    with bucket.batch() as batch:
        batch["new"] = "text"
        del batch["goes"]
        batch.put("old", 2.5, if_revision=old)
        batch.put(b"newer", None, if_absent=True)
        batch.add("n", 2)
        batch.add("n")
        assert len(batch) == 6
        assert dict(bucket) == {"goes": 1, "n": 40, "old": b"x"}
        assert batch.revisions == []
    assert dict(bucket) == {"new": "text", "old": 2.5, "newer": None, "n": 43}
    first = batch.revisions[0]
    assert batch.revisions == [*range(first, first + 6)] and first > old
    assert bucket.entry("n").revision == first + 5 == bucket.revision()


def test_each_change_has_its_time_to_live() -> None:
    with kvreg.Bucket(kvreg.BucketOptions(default_ttl=2000.0)) as bucket:
        once = bucket.put("once", 1)
        with bucket.batch() as batch:
            batch["default"] = 1
            batch.put("given", 1, ttl=1000.0)
            batch.put("given", 2, ttl=kvreg.KEEP)
            batch.put("stays", 1, ttl=None)
            batch.put("once", 2, ttl=1000, if_revision=once)
            batch.put("absent", 1, ttl=None, if_absent=True)
            for wrong in (0, -1.0, float("nan"), 2**60):
                with pytest.raises(ValueError):
                    batch.put("refused", 1, ttl=wrong)
            with pytest.raises(TypeError):
                batch.put("refused", 1, ttl=kvreg.REMOVE)
        left = {key: bucket.entry(key).ttl for key in bucket}
        assert left.keys() == {"default", "given", "stays", "once", "absent"}
        assert left["stays"] is None and left["absent"] is None
        assert 1000 < (left["default"] or 0) <= 2000
        assert 0 < (left["given"] or 0) <= 1000
        assert 0 < (left["once"] or 0) <= 1000
        assert bucket["given"] == bucket["once"] == 2


def test_a_key_of_a_batch_goes_when_its_time_is_over(bucket: kvreg.Bucket) -> None:
    with bucket.batch() as batch:
        batch.put("goes", 1, ttl=0.001)
        batch.put("stays", 1, ttl=1000.0)
    while "goes" in bucket:
        time.sleep(0)
    assert dict(bucket) == {"stays": 1}


def test_a_conflict_tells_the_key(bucket: kvreg.Bucket) -> None:
    revision = bucket.put("milk", 1)
    bucket["milk"] = 2
    with pytest.raises(kvreg.Conflict, match="milk") as caught, bucket.batch() as batch:
        batch["eggs"] = 12
        batch.put("milk", 3, if_revision=revision)
    assert caught.value.key == "milk"
    assert isinstance(caught.value, RuntimeError)
    with pytest.raises(kvreg.Conflict) as caught, bucket.batch() as batch:
        batch.remove(b"milk", if_revision=revision)
    assert caught.value.key == b"milk"
    with pytest.raises(KeyError) as absent, bucket.batch() as batch:
        batch["eggs"] = 12
        batch.remove("tea")
    assert absent.value.args == ("tea",)
    with pytest.raises(kvreg.WrongType, match="'text'"), bucket.batch() as batch:
        batch["text"] = "text"
        batch.add("text")
    assert dict(bucket) == {"milk": 2}


def test_an_exception_in_the_block_changes_nothing(bucket: kvreg.Bucket) -> None:
    with pytest.raises(ZeroDivisionError), bucket.batch() as batch:
        batch["milk"] = 1
        _ = 1 // 0
    assert dict(bucket) == {}
    with bucket.batch():
        pass
    assert bucket.revision() == 0


def test_what_cannot_be_is_told_at_once(bucket: kvreg.Bucket) -> None:
    with bucket.batch() as batch:
        for wrong in (2**63, object()):
            with pytest.raises((OverflowError, TypeError)):
                batch["milk"] = wrong
        with pytest.raises(ValueError):
            batch["x" * 65537] = 1
        with pytest.raises(ValueError):
            batch.put("milk", 1, if_revision=5, if_absent=True)
        with pytest.raises(ValueError):
            batch.remove("milk", if_revision=0)
        with pytest.raises(OverflowError):
            batch.add("milk", 2**63)
        assert len(batch) == 0
    assert dict(bucket) == {}


def test_a_codec_is_for_batches_too() -> None:
    with kvreg.Bucket(codec=kvreg.JSON) as bucket:
        with bucket.batch() as batch:
            batch["list"] = [1, 2]
            with pytest.raises(TypeError):
                batch.add("n")
        assert bucket["list"] == [1, 2]


def test_a_limit_is_asked_for_all() -> None:
    with kvreg.Bucket(kvreg.BucketOptions(max_keys=1)) as bucket:
        with pytest.raises(kvreg.LimitReached, match="'b'"), bucket.batch() as batch:
            batch["a"], batch["b"] = 1, 2
        with bucket.batch() as batch:
            batch["a"], batch["b"] = 1, 2
            del batch["a"]
        assert dict(bucket) == {"b": 2}


def test_tasks_have_batches_too() -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket:
            await bucket.put("goes", 1)
            async with bucket.batch() as batch:
                batch.put("new", 1, ttl=1000.0)
                del batch["goes"]
            assert await bucket.copy() == {"new": 1}
            assert 0 < ((await bucket.entry("new")).ttl or 0) <= 1000
            assert batch.revisions[1] == await bucket.revision()
            with pytest.raises(kvreg.Conflict) as caught:
                async with bucket.batch() as batch:
                    batch.put("new", 2, if_absent=True)
            assert caught.value.key == "new"
            with pytest.raises(ZeroDivisionError):
                async with bucket.batch() as batch:
                    batch["other"] = 1
                    _ = 1 // 0
            assert await bucket.copy() == {"new": 1}

    asyncio.run(main())


def test_a_bucket_is_saved_and_restored(bucket: kvreg.Bucket, tmp_path: Path) -> None:
    bucket.update({"a": 1, "b": "text", "c": b"\xff", "d": None, "e": 2.5, "\udcff": True})
    saved = tmp_path / "saved"
    bucket.save(saved)
    with kvreg.Bucket() as other:
        other.restore(str(saved))
        assert dict(other) == dict(bucket)
        with pytest.raises(kvreg.Conflict):
            other.restore(saved)
        other.clear()
        saved.write_bytes(saved.read_bytes()[:-1])
        with pytest.raises(OSError, match="damaged") as damaged:
            other.restore(saved)
        assert damaged.value.errno is None
        with pytest.raises(kvreg.IOFailed) as absent:
            other.restore(tmp_path / "none")
        assert absent.value.errno == 2
        with pytest.raises(kvreg.IOFailed):
            bucket.save(tmp_path / "none" / "saved")
        with pytest.raises(ValueError):
            bucket.save("")
        with pytest.raises(TypeError):
            bucket.save(5)  # type: ignore[arg-type]
        assert dict(other) == {}
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_tasks_save_and_restore(tmp_path: Path) -> None:
    async def main() -> None:
        async with aio.Bucket() as bucket, aio.Bucket() as other:
            await bucket.put("a", 1)
            await bucket.save(tmp_path / "saved")
            await other.restore(tmp_path / "saved")
            assert await other.copy() == {"a": 1}
            with pytest.raises(kvreg.Conflict):
                await other.restore(tmp_path / "saved")

    asyncio.run(main())
