//! Values that tell which write, or which additions, they come from, of sizes on either side of each limit, and whether
//! a reader saw one whole.

use super::search::Word;

/// A value as it is handed over.
#[derive(Clone, Debug)]
pub enum Shown {
    Nil,
    Int(i64),
    Bytes(Vec<u8>),
}

/// All nils are alike; the other words are those of one write each.
pub const NIL: Word = 1;

/// The first word of a write of its own.
pub const WRITES: Word = 2;

/// From here on words are sums: numbers that came about by additions. Several may be alike.
const SUMS: Word = 1 << 40;

/// Bytes of a value; none: it is a number.
const SIZES: [Option<usize>; 16] = [
    None,
    Some(8),
    Some(9),
    Some(64),
    Some(65),
    Some(128),
    None,
    Some(129),
    Some(512),
    Some(513),
    Some(16),
    Some(4096),
    Some(4097),
    None,
    Some(65_536),
    Some(65_537),
];

/// The larger ones come last, so a limit below all of them leaves the small ones.
pub const KINDS: u64 = SIZES.len() as u64;

/// The word of the write of this number, of a kind of value.
pub fn word(number: u64, kind: u64) -> Word {
    WRITES + number * KINDS + kind % KINDS
}

/// What the addition of this number adds: the sum of a word and additions is no word of a write.
pub fn delta(number: u64) -> i64 {
    (SUMS * number) as i64
}

/// Whether only one write has this word.
pub fn is_of_one_write(word: Word) -> bool {
    (WRITES..SUMS).contains(&word)
}

pub fn is_int(word: Word) -> bool {
    word >= WRITES && size_of(word).is_none()
}

fn size_of(word: Word) -> Option<usize> {
    if word >= SUMS {
        return None;
    }
    SIZES[((word - WRITES) % KINDS) as usize]
}

/// Eight bytes that tell the word, and then others that depend on it.
fn bytes_of(word: Word, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 8);
    let mut part = word;
    while bytes.len() < size {
        bytes.extend_from_slice(&part.to_le_bytes());
        part = part.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(7);
    }
    bytes.truncate(size);
    bytes
}

pub fn shown(word: Word) -> Shown {
    if word == NIL {
        return Shown::Nil;
    }
    match size_of(word) {
        None => Shown::Int(word as i64),
        Some(size) => Shown::Bytes(bytes_of(word, size)),
    }
}

pub fn of_int(number: i64) -> Word {
    let word = number as Word;
    assert!(is_int(word), "a number that nobody put: {number}");
    word
}

/// Panics if the bytes are not those of one write.
pub fn of_bytes(bytes: &[u8]) -> Word {
    let first = bytes.first_chunk().expect("no value is so short");
    let word = Word::from_le_bytes(*first);
    let whole = word >= WRITES
        && size_of(word) == Some(bytes.len())
        && bytes_of(word, bytes.len()) == bytes;
    assert!(
        whole,
        "a torn value: {} bytes that begin with {word}",
        bytes.len()
    );
    word
}
