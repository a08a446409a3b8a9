//! The header's structs of information, filled as far as the caller knows them.

use super::argument::{invalid, WithSize};
use super::status::Failure;
use crate::bucket::{BucketInfo, Lacks, Order};
use crate::reason::Reason;
use crate::registry::RegistryInfo;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_registry_stats {
    size: u32,
    last_exit: i32,
    buckets: u64,
    keys: u64,
    bytes: u64,
    mailbox: u64,
    handled: u64,
    restarts: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_bucket_stats {
    size: u32,
    last_exit: i32,
    keys: u64,
    bytes: u64,
    mailbox: u64,
    handled: u64,
    restarts: u64,
    hits: u64,
    misses: u64,
    expired: u64,
    evicted: u64,
    order: u64,
    store: [u8; STORE],
    store_level: u32,
    lacks: u32,
}

const LACKS_BATCHES: u32 = 1;
const LACKS_TTL: u32 = 2;
const LACKS_WHOLE: u32 = 4;

fn bits(lacks: Lacks) -> u32 {
    let bit = |is_lacking, bit| if is_lacking { bit } else { 0 };
    bit(lacks.batches, LACKS_BATCHES) | bit(lacks.ttl, LACKS_TTL) | bit(lacks.whole, LACKS_WHOLE)
}

/// The longest scheme of a store, and its NUL.
const STORE: usize = 16;

// SAFETY of both: integers, bytes, and the first is a u32.
unsafe impl WithSize for kvreg_registry_stats {}
unsafe impl WithSize for kvreg_bucket_stats {}

#[cfg(test)]
laid_out_as_in_c!(kvreg_registry_stats {
    size,
    last_exit,
    buckets,
    keys,
    bytes,
    mailbox,
    handled,
    restarts
});
#[cfg(test)]
laid_out_as_in_c!(kvreg_bucket_stats {
    size,
    last_exit,
    keys,
    bytes,
    mailbox,
    handled,
    restarts,
    hits,
    misses,
    expired,
    evicted,
    order,
    store,
    store_level,
    lacks
});

/// -1 if there was none.
fn number(reason: Option<Reason>) -> i32 {
    reason.map_or(-1, |reason| reason as i32)
}

/// What a URL begins with.
fn scheme(url: Option<&str>) -> [u8; STORE] {
    let (scheme, _) = url.and_then(|url| url.split_once(':')).unwrap_or_default();
    let mut text = [0; STORE];
    let bytes = scheme.bytes().take(STORE - 1);
    text.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    text
}

impl From<RegistryInfo> for kvreg_registry_stats {
    fn from(info: RegistryInfo) -> kvreg_registry_stats {
        kvreg_registry_stats {
            size: size_of::<kvreg_registry_stats>() as u32,
            last_exit: number(info.last_exit),
            buckets: info.buckets as u64,
            keys: info.keys as u64,
            bytes: info.bytes as u64,
            mailbox: info.mailbox as u64,
            handled: info.handled,
            restarts: info.restarts,
        }
    }
}

impl From<BucketInfo> for kvreg_bucket_stats {
    fn from(info: BucketInfo) -> kvreg_bucket_stats {
        kvreg_bucket_stats {
            size: size_of::<kvreg_bucket_stats>() as u32,
            last_exit: number(info.last_exit),
            keys: info.keys as u64,
            bytes: info.bytes as u64,
            mailbox: info.mailbox as u64,
            handled: info.handled,
            restarts: info.restarts,
            hits: info.hits,
            misses: info.misses,
            expired: info.expired,
            evicted: info.evicted,
            order: match info.order {
                Order::Unordered => 0,
                Order::Ordered => 1,
            },
            store: scheme(info.store.as_deref()),
            store_level: info.is_away.into(),
            lacks: bits(info.lacks),
        }
    }
}

/// Fills a struct after its size, which stays the caller's; a failure leaves it as it was.
///
/// # Safety
/// `place` is null, or may be written for as many bytes as the size that it begins with.
pub(super) unsafe fn fill<T: WithSize>(
    place: *mut T,
    facts: impl FnOnce() -> Result<T, Failure>,
) -> Result<(), Failure> {
    if place.is_null() {
        return Err(invalid("an output is NULL"));
    }
    // SAFETY: by contract; plain bytes.
    unsafe {
        let len = (place.cast::<u32>().read_unaligned() as usize).min(size_of::<T>());
        let Some(len) = len.checked_sub(size_of::<u32>()).filter(|len| *len > 0) else {
            return Err(invalid("the size of the struct is not set"));
        };
        let facts = facts()?;
        let from = std::ptr::from_ref(&facts)
            .cast::<u8>()
            .add(size_of::<u32>());
        let to = place.cast::<u8>().add(size_of::<u32>());
        std::ptr::copy_nonoverlapping(from, to, len);
    }
    Ok(())
}
