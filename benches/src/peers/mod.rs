//! What else a program could use. Maps have no isolation, order or monitors; actors have.

mod actors;
mod maps;
mod moka;
mod rust;
#[cfg(has_glib)]
mod shared_glib;
mod stores;

pub use actors::{Kameo, Ractor, Tokio};
pub use maps::{Dash, Locked, Papaya};
pub use moka::{Cache, Moka};
pub use rust::Rust;
#[cfg(has_glib)]
pub use shared_glib::Glib;
pub use stores::{Scc, Store};

use crate::keys::Keys;

/// Something with keys and values, which gives copies of its values out, as kvreg does.
pub trait Map: Send + Sync {
    /// Gets each key's value in an allocation of its own.
    fn get(&self, keys: &Keys) -> u64;

    /// Copies each key's value of 64 bytes into a buffer.
    fn get_into(&self, keys: &Keys) -> u64 {
        self.get(keys)
    }

    fn put(&self, keys: &Keys, value: &[u8]);
}

/// A map that is asked to delete too.
pub trait Delete: Map {
    /// Takes each key out, which gives the old value.
    fn delete(&self, keys: &Keys);
}
