//! No thread of the model ends before a scenario lets it.

pub(crate) fn may_keep() -> bool {
    true
}
