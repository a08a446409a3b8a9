//! kvreg's engine of `nats:` URLs: a bucket is a stream of a NATS JetStream cluster, laid out as
//! NATS' own key-value buckets are (ADR-8), so that other clients see the same. It knows kvreg by
//! `kvreg_engine.h` alone.
//!
//! `calls.rs` has the functions that kvreg calls; a thread in one of them waits (`waiting.rs`) for
//! what the engine's runtime (`world.rs`) does. A store (`store.rs`) is one bucket's. The stores of
//! one URL share a cluster (`cluster.rs`), which has a session (`session.rs`) as long as there is a
//! connection. A change (`change.rs`) is applied (`apply.rs`) until it is settled; those that
//! nobody waits for go through a queue (`queue.rs`). What is read comes by one request (`api.rs`)
//! or by a consumer (`feed.rs`): a scan (`scan.rs`) or a watch (`watch.rs`).

mod abi;
mod api;
mod apply;
mod calls;
mod change;
mod cluster;
mod credentials;
mod entry;
mod failure;
mod feed;
mod health;
mod keys;
mod location;
mod panics;
mod queue;
mod replies;
mod scan;
mod session;
mod store;
mod stream;
mod times;
mod value;
mod waiting;
mod watch;
mod world;

#[cfg(test)]
mod tests;

use std::ffi::c_char;

/// The engine of `nats:` URLs, for a program that links it.
#[no_mangle]
pub extern "C" fn kvreg_nats_engine() -> *const abi::Engine {
    panics::install_hook();
    &calls::ENGINE
}

/// What kvreg calls in a shared object that it loads.
///
/// # Safety
/// `add` is kvreg's, as `kvreg_engine.h` describes it.
#[no_mangle]
pub unsafe extern "C" fn kvreg_engine_init(abi: u32, add: abi::AddFn) -> abi::Status {
    if abi != abi::ABI {
        return abi::UNSUPPORTED;
    }
    let scheme = location::SCHEME;
    // SAFETY: by contract; the engine stays for ever.
    unsafe {
        add(
            scheme.as_ptr().cast::<c_char>(),
            scheme.len(),
            kvreg_nats_engine(),
        )
    }
}
