//! What waits in an inbox, and what it is promised.
//!
//! Each monitor has a place from the moment it is made until its DOWN was received or it was taken
//! back, and each log event has one as long as it waits. The places lie in one array, and those of
//! events that wait are linked in the order in which they came. So to deliver a DOWN takes no
//! memory: its place is there, and what it says was made once for all who monitored the server. A
//! place is found by its reference, through a table that is grown with the array.
//!
//! The first place is that of LOST, of which there is one at most.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Weak};

use super::Event;
use crate::error::Error;
use crate::log::Level;
use crate::memory;
use crate::server::{AnyServer, Ended};

/// No place.
const NONE: u32 = u32::MAX;
/// That of LOST.
const LOST: u32 = 0;

pub(super) struct Waiting {
    places: Vec<Place>,
    /// Each leads to the next, as in a chain.
    free: u32,
    first: u32,
    last: u32,
    /// The places of monitors.
    by_reference: HashMap<u64, u32, ByNumber>,
    /// How many log events wait.
    logs: usize,
}

struct Place {
    /// Of a monitor.
    reference: u64,
    before: u32,
    after: u32,
    what: What,
}

enum What {
    Free,
    /// Its server has not ended.
    Watching(Weak<dyn AnyServer>),
    Down(Arc<Ended>),
    Log(Box<Log>),
    /// How many events did not fit.
    Lost(u64),
}

pub(super) struct Log {
    pub(super) level: Level,
    pub(super) name: Option<String>,
    pub(super) message: String,
}

impl Default for Waiting {
    fn default() -> Waiting {
        let lost = Place {
            reference: 0,
            before: NONE,
            after: NONE,
            what: What::Lost(0),
        };
        Waiting {
            places: vec![lost],
            free: NONE,
            first: NONE,
            last: NONE,
            by_reference: HashMap::default(),
            logs: 0,
        }
    }
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    pub(super) fn monitors(&self) -> usize {
        self.by_reference.len()
    }

    pub(super) fn logs(&self) -> usize {
        self.logs
    }

    /// A place for the DOWN of this server.
    pub(super) fn promise(
        &mut self,
        reference: u64,
        server: Weak<dyn AnyServer>,
    ) -> Result<(), Error> {
        memory::without_reserve(|| self.by_reference.try_reserve(1))
            .map_err(|_| Error::NoMemory)?;
        let place = self.take_place(reference, What::Watching(server))?;
        self.by_reference.insert(reference, place);
        Ok(())
    }

    /// Whether the monitor is neither received nor taken back.
    pub(super) fn knows(&self, reference: u64) -> bool {
        self.by_reference.contains_key(&reference)
    }

    /// The DOWN has come; `false` if nobody waits for it any more.
    pub(super) fn deliver(&mut self, reference: u64, ended: &Arc<Ended>) -> bool {
        let Some(&number) = self.by_reference.get(&reference) else {
            return false;
        };
        let place = &mut self.places[number as usize];
        if !matches!(place.what, What::Watching(_)) {
            return false;
        }
        place.what = What::Down(Arc::clone(ended));
        self.link(number);
        true
    }

    /// Takes a monitor back, and with `flush` its DOWN too if it waits. Gives the server that is
    /// still monitored.
    pub(super) fn take_back(&mut self, reference: u64, flush: bool) -> Option<Weak<dyn AnyServer>> {
        let number = *self.by_reference.get(&reference)?;
        match self.places[number as usize].what {
            What::Watching(_) => match self.give_place(number) {
                What::Watching(server) => Some(server),
                _ => None,
            },
            _ => {
                if flush {
                    self.unlink(number);
                    self.give_place(number);
                }
                None
            }
        }
    }

    /// All servers that are still monitored, with their references.
    pub(super) fn watched(&self) -> impl Iterator<Item = (u64, &Weak<dyn AnyServer>)> {
        self.places.iter().filter_map(|place| match &place.what {
            What::Watching(server) => Some((place.reference, server)),
            _ => None,
        })
    }

    pub(super) fn log(&mut self, log: Log) -> Result<(), Error> {
        let number = self.take_place(0, What::Log(Box::new(log)))?;
        self.logs += 1;
        self.link(number);
        Ok(())
    }

    /// Counts an event that does not fit, in the place where the first such one would be.
    pub(super) fn lose_one(&mut self) {
        let lost = &mut self.places[LOST as usize];
        if let What::Lost(count) = &mut lost.what {
            *count += 1;
            if *count == 1 {
                self.link(LOST);
            }
        }
    }

    /// The next event. It stays where it is if there is no memory for it.
    pub(super) fn take(&mut self) -> Result<Option<Event>, Error> {
        let number = self.first;
        let Some(place) = self.places.get_mut(number as usize) else {
            return Ok(None);
        };
        let event = match &mut place.what {
            What::Down(ended) => Event::Down {
                reference: place.reference,
                reason: ended.exit.reason,
                name: ended.name.as_deref().map(copy).transpose()?,
                detail: copy(&ended.exit.detail)?,
            },
            What::Log(log) => Event::Log {
                level: log.level,
                name: log.name.take(),
                message: std::mem::take(&mut log.message),
            },
            What::Lost(count) => Event::Lost {
                count: std::mem::take(count),
            },
            What::Free | What::Watching(_) => return Ok(None),
        };
        self.unlink(number);
        if number != LOST {
            let what = self.give_place(number);
            self.logs -= usize::from(matches!(what, What::Log(_)));
        }
        Ok(Some(event))
    }

    fn take_place(&mut self, reference: u64, what: What) -> Result<u32, Error> {
        let place = Place {
            reference,
            before: NONE,
            after: NONE,
            what,
        };
        if let Some(free) = self.places.get_mut(self.free as usize) {
            let number = self.free;
            self.free = free.after;
            *free = place;
            return Ok(number);
        }
        let number = u32::try_from(self.places.len()).ok();
        let number = number.filter(|number| *number != NONE);
        let number = number.ok_or(Error::Limit("places of one inbox"))?;
        memory::without_reserve(|| self.places.try_reserve(1)).map_err(|_| Error::NoMemory)?;
        self.places.push(place);
        Ok(number)
    }

    /// It is not linked any more.
    fn give_place(&mut self, number: u32) -> What {
        let place = &mut self.places[number as usize];
        let what = std::mem::replace(&mut place.what, What::Free);
        place.after = self.free;
        self.free = number;
        if !matches!(what, What::Log(_)) {
            self.by_reference.remove(&place.reference);
        }
        what
    }

    fn link(&mut self, number: u32) {
        let place = &mut self.places[number as usize];
        (place.before, place.after) = (self.last, NONE);
        match self.places.get_mut(self.last as usize) {
            Some(last) => last.after = number,
            None => self.first = number,
        }
        self.last = number;
    }

    fn unlink(&mut self, number: u32) {
        let place = &self.places[number as usize];
        let (before, after) = (place.before, place.after);
        match self.places.get_mut(before as usize) {
            Some(place) => place.after = after,
            None => self.first = after,
        }
        match self.places.get_mut(after as usize) {
            Some(place) => place.before = before,
            None => self.last = before,
        }
    }
}

fn copy(text: &str) -> Result<String, Error> {
    match text {
        "" => Ok(String::new()),
        text => memory::text(text).ok_or(Error::NoMemory),
    }
}

/// References are kvreg's own, and given in order: neighbours lie side by side, and differ in the
/// seven bits by which the table tells them apart.
#[derive(Default)]
struct ByNumber;

struct Number(u64);

impl BuildHasher for ByNumber {
    type Hasher = Number;

    fn build_hasher(&self) -> Number {
        Number(0)
    }
}

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 << 57
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bucket::BucketServer;
    use crate::reason::{Exit, Reason};

    fn ended(name: &str) -> Arc<Ended> {
        Ended::new(Arc::new(Exit::new(Reason::Normal, "")), Some(name))
    }

    fn nobody() -> Weak<dyn AnyServer> {
        Weak::<BucketServer>::new()
    }

    fn references(waiting: &mut Waiting) -> Vec<u64> {
        std::iter::from_fn(|| waiting.take().unwrap())
            .map(|event| match event {
                Event::Down { reference, .. } => reference,
                Event::Lost { count } => 1000 + count,
                Event::Log { .. } => 2000,
            })
            .collect()
    }

    #[test]
    fn events_come_in_order_and_places_are_used_again() {
        let mut waiting = Waiting::default();
        for round in 0..3 {
            for reference in 1..=5 {
                waiting.promise(round * 10 + reference, nobody()).unwrap();
            }
            let down = ended("b");
            for reference in [3, 1, 5, 2] {
                assert!(waiting.deliver(round * 10 + reference, &down));
                assert!(!waiting.deliver(round * 10 + reference, &down));
            }
            assert!(waiting.take_back(round * 10 + 5, true).is_none());
            assert!(waiting.take_back(round * 10 + 1, false).is_none());
            assert!(waiting.take_back(round * 10 + 4, false).is_some());
            assert_eq!(waiting.monitors(), 3);
            let wanted = [3, 1, 2].map(|reference| round * 10 + reference);
            assert_eq!(references(&mut waiting), wanted);
            assert_eq!((waiting.monitors(), waiting.places.len()), (0, 6));
            assert!(waiting.is_empty());
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_where_the_first_would_be() {
        let mut waiting = Waiting::default();
        let log = || Log {
            level: Level::Info,
            name: None,
            message: String::new(),
        };
        waiting.log(log()).unwrap();
        waiting.lose_one();
        waiting.log(log()).unwrap();
        waiting.lose_one();
        assert_eq!(waiting.logs(), 2);
        assert_eq!(references(&mut waiting), [2000, 1002, 2000]);
        waiting.lose_one();
        assert_eq!(references(&mut waiting), [1001]);
        assert_eq!(waiting.logs(), 0);
    }
}
