//! All that is kept, a part at a time.
//!
//! # The argument
//!
//! A consumer gives each key's last message, and then what changes meanwhile: a key that is changed
//! before it was given has its only message there, so the scan goes on until there is no more. A key
//! that was told is not told again; those that are asked about are numbers made of the keys, as
//! the keys themselves might fill the memory.
//!
//! The consumer may be at a server that is behind the leader. So when it has no more, the leader is
//! asked whether there is another one up to the sequence that was the last when the scan began: if
//! there is, the consumer gets it soon.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::{Kind, Stored};
use crate::failure::Failure;
use crate::feed::{Fed, Feed, From};
use crate::store::Core;

/// Before a consumer that is behind is asked again.
const BEHIND: Duration = Duration::from_millis(5);
/// How many entries are handed to the calling thread at a time.
const PART: usize = 256;

pub(crate) struct Scan {
    core: Arc<Core>,
    subjects: String,
    keys_only: bool,
    feed: Option<Feed>,
    /// All up to here was given.
    given: u64,
    /// All up to here is to be given.
    last: u64,
    is_complete: bool,
    hasher: RandomState,
    told: HashSet<u64>,
}

impl Scan {
    pub(crate) async fn start(
        core: Arc<Core>,
        subjects: String,
        keys_only: bool,
    ) -> Result<Scan, Failure> {
        let last = core.info().await?.state.last_seq;
        Ok(Scan {
            core,
            subjects,
            keys_only,
            feed: None,
            given: 0,
            last,
            is_complete: last == 0,
            hasher: RandomState::new(),
            told: HashSet::new(),
        })
    }

    /// Some more entries. Empty: that was all.
    pub(crate) async fn part(&mut self) -> Result<Vec<Stored>, Failure> {
        let mut entries = Vec::new();
        while entries.len() < PART && !self.is_complete {
            if let Some(stored) = self.step().await? {
                if stored.kind() == Kind::Put && self.told.insert(self.number(&stored)) {
                    entries.push(stored);
                }
            }
        }
        Ok(entries)
    }

    /// How many keys there are, and the last revision.
    pub(crate) async fn count(mut self) -> Result<(u64, u64), Failure> {
        while !self.is_complete {
            if let Some(stored) = self.step().await? {
                let number = self.number(&stored);
                match stored.kind() {
                    Kind::Put if self.core.names.key(&stored.subject).is_none() => {}
                    Kind::Put => drop(self.told.insert(number)),
                    Kind::Delete | Kind::Expire => drop(self.told.remove(&number)),
                }
            }
        }
        Ok((self.told.len() as u64, self.last.max(self.given)))
    }

    fn number(&self, stored: &Stored) -> u64 {
        self.hasher.hash_one(&stored.subject)
    }

    async fn step(&mut self) -> Result<Option<Stored>, Failure> {
        let feed = match &mut self.feed {
            Some(feed) => feed,
            None => {
                let feed = Feed::start(&self.core, &self.subjects, From::Present, self.keys_only);
                match feed.await? {
                    Some(feed) => self.feed.insert(feed),
                    None => return Ok(None),
                }
            }
        };
        match feed.next(false).await {
            Fed::Message(stored) => {
                self.given = stored.sequence;
                return Ok(Some(stored));
            }
            Fed::Broken => {
                self.feed = None;
                self.core.suspicion.notify_one();
            }
            Fed::NoMore => {
                let next = self.core.first_from(&self.subjects, self.given + 1).await?;
                match next {
                    Some(next) if next.sequence <= self.last => tokio::time::sleep(BEHIND).await,
                    _ => {
                        self.is_complete = true;
                        if let Some(feed) = self.feed.take() {
                            feed.end().await;
                        }
                    }
                }
            }
        }
        Ok(None)
    }
}
