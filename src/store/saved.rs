//! Entries in a file: written, and read again. The format is told in `docs/snapshot-format.md`.
//!
//! What is read may be anything, whoever wrote it: nothing is believed before the checksum of its
//! block was right, and no more memory is asked for than the file has bytes.

use std::io::{ErrorKind, Read, Write};

use super::checksum::checksum;
use super::contents::Pair;
use super::items::{Item, NO_TTL};
use super::key::{Key, KEY_LIMIT};
use super::plan::{Op, What};
use super::reading::read;
use super::ttl::{Ttl, TTL_LIMIT};
use crate::error::Error;
use crate::memory;
use crate::value::{ValueRef, VALUE_LIMIT};

const MAGIC: &[u8; 8] = b"kvregsav";
const VERSION: u32 = 1;

/// Bytes that a block has at most, between its length and its checksum.
const BLOCK: usize = 64 << 10;

/// Of an entry, in front of its key and its value.
const HEAD: usize = 1 + 4 + 4 + 8 + 8;

/// The deadline of a key that stays.
const NO_DEADLINE: i64 = -1;

const NIL: u8 = 0;
const BOOL: u8 = 1;
const INT: u8 = 2;
const FLOAT: u8 = 3;
const STRING: u8 = 4;
const BYTES: u8 = 5;

/// An entry that was saved, ready to be stored.
pub(crate) struct Saved {
    pub(super) pair: Pair,
    /// When its key goes, in milliseconds since 1970; `None`: it stays.
    pub(super) deadline: Option<i64>,
}

impl Saved {
    /// Gives the change that stores it at this time of the wall clock to `make`.
    pub(crate) fn with_op<R>(
        &self,
        now: i64,
        make: impl FnOnce(&Op<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let view = self.pair.0.view();
        let value = read(&view)?;
        make(&Op {
            key: Key::new(view.key()),
            what: What::Put(value.as_ref()),
            expected: None,
            ttl: self.ttl(now),
        })
    }

    /// What its key is given at this time of the wall clock, in milliseconds since 1970, whatever
    /// that was set to since it was saved. One that is over goes in a moment.
    pub(super) fn ttl(&self, now: i64) -> Ttl {
        let longest = TTL_LIMIT.as_millis() as u64;
        match self.deadline {
            None => Ttl::Never,
            Some(deadline) if deadline <= now => Ttl::Millis(1),
            Some(deadline) => Ttl::Millis(deadline.abs_diff(now).min(longest)),
        }
    }
}

fn damaged() -> Error {
    Error::Io {
        what: "the file is damaged, or no saved bucket",
        code: None,
    }
}

/// Writes blocks.
struct Blocks<W> {
    to: W,
    /// The length, and what was not written yet.
    block: Vec<u8>,
}

impl<W: Write> Blocks<W> {
    fn new(to: W) -> Result<Blocks<W>, Error> {
        let mut block = Vec::new();
        memory::reserve(&mut block, 4 + BLOCK + 4)?;
        block.extend_from_slice(&[0; 4]);
        Ok(Blocks { to, block })
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let room = 4 + BLOCK - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == 4 + BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let len = self.block.len() - 4;
        if len == 0 {
            return Ok(());
        }
        self.block[..4].copy_from_slice(&(len as u32).to_le_bytes());
        self.end_block()
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let sum = checksum(0, &self.block);
        self.block.extend_from_slice(&sum.to_le_bytes());
        let written = self.to.write_all(&self.block);
        self.block.truncate(4);
        written.map_err(|error| Error::io("writing a saved bucket", &error))
    }

    /// A block of length 0 with the number of entries.
    fn finish(mut self, count: usize) -> Result<(), Error> {
        self.flush()?;
        self.block[..4].copy_from_slice(&[0; 4]);
        self.block.extend_from_slice(&(count as u64).to_le_bytes());
        self.end_block()
    }
}

/// Writes all of them, in the order of their revisions; `now` is the wall clock's at their instant,
/// in milliseconds since 1970.
pub(crate) fn write_saved(
    to: &mut impl Write,
    entries: &mut [Item],
    now: i64,
) -> Result<(), Error> {
    entries.sort_unstable_by_key(|entry| entry.revision); // takes no memory
    let mut head = [0; 20];
    head[..8].copy_from_slice(MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let sum = checksum(0, &head[..16]);
    head[16..].copy_from_slice(&sum.to_le_bytes());
    let written = to.write_all(&head);
    written.map_err(|error| Error::io("writing a saved bucket", &error))?;
    let mut blocks = Blocks::new(to)?;
    for entry in &*entries {
        write_entry(&mut blocks, entry, now)?;
    }
    blocks.finish(entries.len())
}

fn write_entry(blocks: &mut Blocks<impl Write>, entry: &Item, now: i64) -> Result<(), Error> {
    let word;
    let value = entry.value.as_ref();
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Nil => (NIL, &[]),
        ValueRef::Bool(value) => (BOOL, if value { &[1] } else { &[0] }),
        ValueRef::Int(value) => {
            word = value.to_le_bytes();
            (INT, &word)
        }
        ValueRef::Float(value) => {
            word = value.to_bits().to_le_bytes();
            (FLOAT, &word)
        }
        ValueRef::String(text) => (STRING, text.as_bytes()),
        ValueRef::Bytes(bytes) => (BYTES, bytes),
    };
    let key = entry.key.as_bytes();
    let mut head = [0; HEAD];
    head[0] = kind;
    head[1..5].copy_from_slice(&(key.len() as u32).to_le_bytes());
    head[5..9].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    head[9..17].copy_from_slice(&entry.revision.to_le_bytes());
    let deadline = match entry.ttl_ms {
        NO_TTL => NO_DEADLINE,
        left => now.saturating_add(left),
    };
    head[17..].copy_from_slice(&deadline.to_le_bytes());
    blocks.write(&head)?;
    blocks.write(key)?;
    blocks.write(bytes)
}

/// Reads blocks.
struct Source<R> {
    from: R,
    /// Of the file.
    left: u64,
    block: Vec<u8>,
    /// What of it was read.
    at: usize,
    /// The number of entries, once the last block was read.
    count: Option<u64>,
}

impl<R: Read> Source<R> {
    fn exactly(&mut self, to: &mut [u8]) -> Result<(), Error> {
        let len = to.len() as u64;
        self.left = self.left.checked_sub(len).ok_or_else(damaged)?;
        self.from
            .read_exact(to)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => damaged(),
                _ => Error::io("reading a saved bucket", &error),
            })
    }

    fn number(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];
        self.exactly(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn next_block(&mut self) -> Result<(), Error> {
        let len = self.number()?;
        let is_last = len == 0;
        let size = if is_last { 8 } else { len as usize };
        if size > BLOCK {
            return Err(damaged());
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(size, 0); // it has room for any
        self.exactly(&mut block)?;
        let sum = checksum(checksum(0, &len.to_le_bytes()), &block);
        if self.number()? != sum {
            return Err(damaged());
        }
        (self.block, self.at) = (block, 0);
        if is_last {
            let mut count = [0; 8];
            count.copy_from_slice(&self.block);
            (self.count, self.at) = (Some(u64::from_le_bytes(count)), self.block.len());
        }
        Ok(())
    }

    /// Whether more entries follow.
    fn has_more(&mut self) -> Result<bool, Error> {
        if self.count.is_none() && self.at == self.block.len() {
            self.next_block()?;
        }
        Ok(self.at < self.block.len())
    }

    fn take(&mut self, mut to: &mut [u8]) -> Result<(), Error> {
        while !to.is_empty() {
            if !self.has_more()? {
                return Err(damaged());
            }
            let len = to.len().min(self.block.len() - self.at);
            let (now, later) = to.split_at_mut(len);
            now.copy_from_slice(&self.block[self.at..self.at + len]);
            self.at += len;
            to = later;
        }
        Ok(())
    }

    /// So many bytes, if there can be so many.
    fn take_bytes(&mut self, to: &mut Vec<u8>, len: u32, limit: usize) -> Result<(), Error> {
        let (len, here) = (len as usize, (self.block.len() - self.at) as u64);
        if len > limit || len as u64 > here + self.left {
            return Err(damaged());
        }
        to.clear();
        memory::reserve(to, len)?;
        to.resize(len, 0);
        self.take(to)
    }
}

fn value_of(kind: u8, bytes: &[u8]) -> Option<ValueRef<'_>> {
    let word = || <[u8; 8]>::try_from(bytes).ok().map(u64::from_le_bytes);
    Some(match (kind, bytes) {
        (NIL, []) => ValueRef::Nil,
        (BOOL, [0]) => ValueRef::Bool(false),
        (BOOL, [1]) => ValueRef::Bool(true),
        (INT, _) => ValueRef::Int(word()? as i64),
        (FLOAT, _) => ValueRef::Float(f64::from_bits(word()?)),
        (STRING, text) => ValueRef::String(std::str::from_utf8(text).ok()?),
        (BYTES, bytes) => ValueRef::Bytes(bytes),
        _ => return None,
    })
}

/// Reads all entries of a file of so many bytes, those that are over left out: ready to be stored,
/// in the order of their revisions. Refuses a value of more than `max_value` bytes.
pub(crate) fn read_saved(
    from: impl Read,
    len: u64,
    now: i64,
    max_value: usize,
) -> Result<Vec<Saved>, Error> {
    let mut block = Vec::new();
    memory::reserve(&mut block, BLOCK)?;
    let mut source = Source {
        from,
        left: len,
        block,
        at: 0,
        count: None,
    };
    let mut head = [0; 16];
    source.exactly(&mut head)?;
    if head[..8] != *MAGIC || source.number()? != checksum(0, &head) {
        return Err(damaged());
    }
    match u32::from_le_bytes([head[8], head[9], head[10], head[11]]) {
        0 => return Err(damaged()),
        VERSION if head[12..] == [0; 4] => {}
        _ => return Err(Error::Unsupported("a saved bucket of a newer version")),
    }
    let (mut pairs, mut count, mut last) = (Vec::new(), 0u64, 0u64);
    let (mut key, mut value) = (Vec::new(), Vec::new());
    while source.has_more()? {
        let mut head = [0; HEAD];
        source.take(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|byte| head[at + byte]));
        let long =
            |at: usize| u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| head[at + byte]));
        source.take_bytes(&mut key, number(1), KEY_LIMIT)?;
        source.take_bytes(&mut value, number(5), VALUE_LIMIT)?;
        let (revision, deadline) = (long(9), long(17) as i64);
        let stored = value_of(head[0], &value).ok_or_else(damaged)?;
        if revision <= last || deadline < NO_DEADLINE {
            return Err(damaged());
        }
        (count, last) = (count + 1, revision);
        let deadline = match deadline {
            NO_DEADLINE => None,
            deadline if deadline <= now => continue,
            deadline => Some(deadline),
        };
        if value_len(stored) > max_value {
            return Err(Error::Limit("bytes of a value"));
        }
        memory::without_reserve(|| pairs.try_reserve(1)).map_err(|_| Error::NoMemory)?;
        let pair = Pair::with_room(Key::new(&key), stored, deadline.is_some())?;
        pairs.push(Saved { pair, deadline });
    }
    match source.count == Some(count) && source.left == 0 {
        true => Ok(pairs),
        false => Err(damaged()),
    }
}

fn value_len(value: ValueRef<'_>) -> usize {
    value.text().len()
}
