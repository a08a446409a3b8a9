//! Hashes that a scenario chooses: the first byte is the tag, the second the group.

pub(crate) fn hash(key: &[u8]) -> u64 {
    u64::from(key[0]) << 56 | u64::from(key[1])
}
