//! `kvreg_engine_*`: engines that programs bring, which `kvreg_engine.h` describes.

mod abi;
mod adapter;
pub(super) mod explanation;
mod loading;
mod shared;

use std::ffi::c_char;

use super::argument::{self, invalid};
use super::guard::guard;
use super::status::{kvreg_status, Failure, Status};
use crate::bucket::{Engines, Loader};
use crate::error::Error;
use crate::process::Process;
use crate::runtime;

use abi::kvreg_engine;
use adapter::Native;

/// @name Stores: engines
///
/// Registers an engine, which kvreg_engine.h describes, for the stores whose URLs begin with
/// `scheme` and a colon. The struct, and what it points to, stay as they are for ever. A scheme has
/// 1 to 15 bytes of a-z, 0-9 and -. KVREG_ALREADY_STARTED if it has an engine; KVREG_UNSUPPORTED for
/// an engine of another version. A child of a fork has the engines of its parent. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_engine_register(
    scheme: *const c_char,
    scheme_len: usize,
    engine: *const kvreg_engine,
) -> kvreg_status {
    guard("kvreg_engine_register", || {
        Process::starting()?;
        // SAFETY: the scheme is good for its length; the engine null, or good for ever.
        let scheme = unsafe { argument::text(scheme, scheme_len) }?;
        let engine = unsafe { checked(engine) }?;
        register(scheme, engine)
    })
}

/// Loads the engines of a shared object, by its path in UTF-8, and has it register them. Those that
/// come with kvreg need it only where they do not lie beside kvreg's own library. KVREG_IO if it
/// cannot be loaded, KVREG_UNSUPPORTED if it is no engine, or one of another version;
/// KVREG_ALREADY_STARTED if one is there for its scheme. It stays loaded. Blocks for the disk.
#[no_mangle]
pub unsafe extern "C" fn kvreg_engine_load(path: *const c_char, path_len: usize) -> kvreg_status {
    guard("kvreg_engine_load", || {
        Process::starting()?;
        // SAFETY: the path is good for its length.
        load(unsafe { argument::text(path, path_len) }?)
    })
}

fn load(path: &str) -> Result<(), Failure> {
    if path.is_empty() || path.contains('\0') {
        return Err(invalid("a path has 1 byte or more, and no NUL"));
    }
    loading::load(path)
}

/// The same for programs in Rust.
pub(crate) fn load_engine(path: &str) -> Result<(), Error> {
    are_loaded();
    Process::starting()?;
    load(path).map_err(|failure| match failure.status() {
        Status::AlreadyStarted => Error::AlreadyStarted,
        Status::NoMemory => Error::NoMemory,
        Status::InvalidArgument => Error::InvalidArgument("the path of an engine"),
        Status::Io => Error::Io {
            what: "loading an engine",
            code: None,
        },
        _ => Error::Unsupported("no engine, or one of another version"),
    })
}

/// From here on kvreg's own engines are loaded where a URL asks for them.
pub(super) fn are_loaded() {
    static LOADER: Loader = loading::load_own;
    Engines::set_loader(&LOADER);
}

/// # Safety
/// Null, or an engine of the size that it tells.
unsafe fn checked(engine: *const kvreg_engine) -> Result<kvreg_engine, Failure> {
    // SAFETY: by contract; its first two fields are in every version.
    let (size, abi) = unsafe {
        let engine = engine
            .as_ref()
            .ok_or_else(|| invalid("the engine is NULL"))?;
        (engine.size as usize, engine.abi)
    };
    if abi != abi::ABI || size < size_of::<kvreg_engine>() {
        let text = "the engine is of another version than this library";
        return Err(Failure::new(Status::Unsupported, text));
    }
    // SAFETY: by contract, and large enough.
    let engine = unsafe { *engine };
    if !is_whole(&engine) {
        let text = "the engine says that it can do what this library does not know, or lacks \
                    what it says";
        return Err(Failure::new(Status::Unsupported, text));
    }
    Ok(engine)
}

/// Whether it says what this library knows, and has what it says.
fn is_whole(engine: &kvreg_engine) -> bool {
    let has_store = engine.open.is_some()
        && engine.close.is_some()
        && engine.write.is_some()
        && engine.scan.is_some()
        && engine.destroy.is_some();
    let shares_it = engine.get.is_some()
        && engine.count.is_some()
        && engine.send.is_some()
        && engine.watch.is_some()
        && engine.unwatch.is_some()
        && engine.interrupt.is_some()
        && engine.abilities_of.is_some();
    let beside = abi::BATCHES | abi::TTL;
    match engine.abilities {
        abi::EXCLUSIVE => has_store,
        abilities => abilities & !beside == abi::SHARED && has_store && shares_it,
    }
}

fn register(scheme: &str, engine: kvreg_engine) -> Result<(), Failure> {
    Engines::register(scheme, Box::new(Native(engine)))?;
    if let Some(forked) = engine.forked {
        runtime::call_in_children(forked);
    }
    Ok(())
}

/// What a shared object is given to add its engines by.
unsafe extern "C" fn add(
    scheme: *const c_char,
    scheme_len: usize,
    engine: *const kvreg_engine,
) -> kvreg_status {
    // SAFETY: by the same contract.
    unsafe { kvreg_engine_register(scheme, scheme_len, engine) }
}
