//! kvreg's engine of `file:` URLs: the buckets of a registry are tables of one file, which redb
//! keeps. It knows kvreg by `kvreg_engine.h` alone.
//!
//! `calls.rs` has the functions that kvreg calls. A store (`store.rs`) is one bucket's; the stores
//! of a registry share a file (`file.rs`), which the table of open files has (`world.rs`). What is
//! to be stored is a batch (`batch.rs`) of records (`record.rs`); `contents.rs` writes it by redb,
//! to a backend (`backend.rs`) over a descriptor (`disk.rs`), and `recovery.rs` says what is stored
//! after that failed.

mod abi;
mod backend;
mod batch;
mod calls;
mod contents;
#[cfg(unix)]
mod descriptors;
mod disk;
mod failure;
mod file;
mod location;
mod panics;
mod record;
mod recovery;
mod store;
mod ticker;
mod world;

#[cfg(test)]
mod tests;

use std::ffi::c_char;

/// The engine of `file:` URLs, for a program that links it.
#[no_mangle]
pub extern "C" fn kvreg_file_engine() -> *const abi::Engine {
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
            kvreg_file_engine(),
        )
    }
}
