//! As `core.rs`, of the C interface.

use super::kinds::Handle;
use crate::bucket::BucketServer;
use crate::handle_table::Kind;

/// Takes an inbox for a bucket.
pub(crate) struct Mistaken;

// E0200: requires an `unsafe impl` declaration
impl Handle for Mistaken { // wrong
unsafe impl Handle for Mistaken { // right
    const KIND: Kind = Kind::Inbox;
    type Object = BucketServer;
}
