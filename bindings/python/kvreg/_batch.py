"""Many keys in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import _abi
from ._values import Key, Value, as_pairs, decoded, encode_key, encoded, fill, take

if TYPE_CHECKING:
    from ._bucket import Bucket


def put_many(bucket: Bucket, other: Mapping[Any, Value] | Iterable[tuple[Key, Value]]) -> None:
    """Does what `Bucket.put_many` says."""
    chosen = as_pairs(other)
    batch = (_abi.Pair * len(chosen))()
    codec = bucket._codec
    for pair, (key, value) in zip(batch, chosen):
        data = encode_key(key)
        pair.key, pair.key_len = data, len(data)
        fill(pair.value, encoded(codec, value))
    bucket._call_blocking("kvreg_bucket_put_many", batch, len(batch))


def get_many(bucket: Bucket, keys: Iterable[Key]) -> list[Any]:
    """Does what `Bucket.get_many` says."""
    chosen = [encode_key(key) for key in keys]
    batch = (_abi.Pair * len(chosen))()
    for pair, data in zip(batch, chosen):
        pair.key, pair.key_len = data, len(data)
    bucket._call_blocking("kvreg_bucket_get_many", batch, len(batch))
    library, codec = bucket._library, bucket._codec
    values = [take(library, pair.value) for pair in batch]
    if codec is None:
        return values
    # None is for an absent key: what the codec made is bytes.
    return [None if value is None else decoded(codec, value) for value in values]
