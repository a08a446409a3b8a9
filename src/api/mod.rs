//! The objects of Rust programs: handles that count, and calls with the handle's timeout.

mod bucket;
mod inbox;
mod listener;
mod registry;
mod update;

pub use bucket::Bucket;
pub use inbox::Inbox;
pub use listener::Listener;
pub use registry::Registry;
pub use update::Update;
