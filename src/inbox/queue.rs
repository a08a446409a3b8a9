//! What waits in an inbox, and what it is promised.
//!
//! Each monitor has a place from the moment it is made until its DOWN was received or it was taken
//! back, and each log event has one as long as it waits. The places lie in one array, and those of
//! events that wait are linked in the order in which they came. So to deliver a DOWN takes no
//! memory: its place is there, and what it says was made once for all who monitored the server. A
//! place is found by its reference, through a table that is grown with the array.
//!
//! A watch has the place of a monitor, and in it a cursor: it is linked while it has something to
//! tell, and goes to the end of the line with each event, so that all get their turn.
//!
//! The first place is that of LOST, of which there is one at most.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Weak};

use super::promises::Asked;
use super::watches::event;
use super::Event;
use crate::error::Error;
use crate::log::Level;
use crate::memory;
use crate::server::{AnyServer, Ended};
use crate::store::{Cursor, Step};
use crate::value::Value;

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
    /// The places of monitors, and of other promises.
    by_reference: HashMap<u64, u32, ByNumber>,
    /// How many log events wait.
    logs: usize,
    /// How many cursors there are.
    watches: usize,
}

struct Place {
    /// Of a monitor.
    reference: u64,
    before: u32,
    after: u32,
    /// Of a watch, as long as it is somebody's.
    is_watch: bool,
    what: What,
}

/// Who is looked at, of those whose bucket is in the middle of a change, before others may get the
/// lock.
const BUSY: u32 = 8;

/// What there was to take.
pub(super) enum Taken {
    Event(Event),
    Nothing,
    /// To look again without the lock in between: at once, or soon.
    Again {
        is_soon: bool,
    },
}

pub(super) enum What {
    Free,
    /// Its server has not ended.
    Watching(Weak<dyn AnyServer>),
    /// And is watched.
    Watch(Watch),
    Down(Arc<Ended>),
    Log(Box<Log>),
    /// How many events did not fit.
    Lost(u64),
    /// That of MAIL, for as long as a server may be served: the server's key, and whether it waits.
    Mail(u64, bool),
    /// A request that is not answered yet.
    Asked(Arc<dyn Asked>),
    Reply(Box<Reply>),
}

/// The answer to a request, and what was said of a refusal.
pub(super) struct Reply {
    pub(super) answer: Result<Value, Error>,
    pub(super) detail: String,
}

pub(super) struct Watch {
    server: Weak<dyn AnyServer>,
    cursor: Box<Cursor>,
    is_linked: bool,
}

impl What {
    /// Who has not ended yet.
    pub(super) fn server(&self) -> Option<Arc<dyn AnyServer>> {
        match self {
            What::Watching(server) => server.upgrade(),
            What::Watch(watch) => watch.server.upgrade(),
            _ => None,
        }
    }
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
            is_watch: false,
            what: What::Lost(0),
        };
        Waiting {
            places: vec![lost],
            free: NONE,
            first: NONE,
            last: NONE,
            by_reference: HashMap::default(),
            logs: 0,
            watches: 0,
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

    #[cfg_attr(not(feature = "aio"), allow(dead_code))]
    pub(super) fn has_watches(&self) -> bool {
        self.watches > 0
    }

    /// A place for the DOWN of this server, and perhaps for a watch.
    pub(super) fn promise(
        &mut self,
        reference: u64,
        server: Weak<dyn AnyServer>,
        is_watch: bool,
    ) -> Result<(), Error> {
        memory::without_reserve(|| self.by_reference.try_reserve(1))
            .map_err(|_| Error::NoMemory)?;
        let place = self.take_place(reference, What::Watching(server))?;
        self.places[place as usize].is_watch = is_watch;
        self.by_reference.insert(reference, place);
        Ok(())
    }

    /// The watch has a cursor now, and something to tell. Gives it back if nobody waits for it, or
    /// the server has ended.
    pub(super) fn begin(&mut self, reference: u64, cursor: Box<Cursor>) -> Result<(), Box<Cursor>> {
        let Some(&number) = self.by_reference.get(&reference) else {
            return Err(cursor);
        };
        let place = &mut self.places[number as usize];
        let What::Watching(server) = &mut place.what else {
            return Err(cursor);
        };
        place.what = What::Watch(Watch {
            server: Weak::clone(server),
            cursor,
            is_linked: true,
        });
        self.watches += 1;
        self.link(number);
        Ok(())
    }

    /// The watch has something to tell; `false` if that was known, or nobody waits for it.
    pub(super) fn ready(&mut self, reference: u64) -> bool {
        let Some(&number) = self.by_reference.get(&reference) else {
            return false;
        };
        match &mut self.places[number as usize].what {
            What::Watch(watch) if !watch.is_linked => watch.is_linked = true,
            _ => return false,
        }
        self.link(number);
        true
    }

    /// Takes a watch back, and its DOWN too if it waits.
    pub(super) fn unwatch(&mut self, reference: u64) -> Option<What> {
        let number = *self.by_reference.get(&reference)?;
        let place = &self.places[number as usize];
        if !place.is_watch {
            return None;
        }
        if matches!(
            &place.what,
            What::Down(_)
                | What::Watch(Watch {
                    is_linked: true,
                    ..
                })
        ) {
            self.unlink(number);
        }
        Some(self.give_place(number))
    }

    /// Whether the monitor is neither received nor taken back.
    pub(super) fn knows(&self, reference: u64) -> bool {
        self.by_reference.contains_key(&reference)
    }

    /// The DOWN has come: gives what waited for it, unless nobody does any more.
    pub(super) fn deliver(&mut self, reference: u64, ended: &Arc<Ended>) -> Option<What> {
        let number = *self.by_reference.get(&reference)?;
        let place = &mut self.places[number as usize];
        let is_linked = match &place.what {
            What::Watching(_) => false,
            What::Watch(watch) => watch.is_linked,
            _ => return None,
        };
        let before = std::mem::replace(&mut place.what, What::Down(Arc::clone(ended)));
        self.watches -= usize::from(matches!(before, What::Watch(_)));
        if is_linked {
            self.unlink(number); // what was not received is dropped
        }
        self.link(number);
        Some(before)
    }

    /// Takes a monitor back, and with `flush` its DOWN too if it waits. Gives the server that is
    /// still monitored.
    pub(super) fn take_back(&mut self, reference: u64, flush: bool) -> Option<Weak<dyn AnyServer>> {
        let number = *self.by_reference.get(&reference)?;
        if self.places[number as usize].is_watch {
            return None;
        }
        match self.places[number as usize].what {
            What::Mail(..) | What::Asked(_) | What::Reply(_) => None,
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
            What::Watch(watch) => Some((place.reference, &watch.server)),
            _ => None,
        })
    }

    /// A place for what is told later, under this reference.
    pub(super) fn promise_other(&mut self, reference: u64, what: What) -> Result<(), Error> {
        memory::without_reserve(|| self.by_reference.try_reserve(1))
            .map_err(|_| Error::NoMemory)?;
        let place = self.take_place(reference, what)?;
        self.by_reference.insert(reference, place);
        Ok(())
    }

    /// Mail waits; `false` if that was known, or nobody wants to know.
    pub(super) fn mail(&mut self, reference: u64) -> bool {
        let Some(&number) = self.by_reference.get(&reference) else {
            return false;
        };
        match &mut self.places[number as usize].what {
            What::Mail(_, waits) if !*waits => *waits = true,
            _ => return false,
        }
        self.link(number);
        true
    }

    /// A request was answered. The answer is given back if nobody waits for it.
    pub(super) fn reply(&mut self, reference: u64, reply: Box<Reply>) -> Result<What, Box<Reply>> {
        let Some(&number) = self.by_reference.get(&reference) else {
            return Err(reply);
        };
        let place = &mut self.places[number as usize];
        if !matches!(place.what, What::Asked(_)) {
            return Err(reply);
        }
        let before = std::mem::replace(&mut place.what, What::Reply(reply));
        self.link(number);
        Ok(before)
    }

    /// Whether it is the place of a request, or of its answer.
    pub(super) fn is_request(&self, reference: u64) -> bool {
        let place = self.by_reference.get(&reference);
        place.is_some_and(|number| {
            let what = &self.places[*number as usize].what;
            matches!(what, What::Asked(_) | What::Reply(_))
        })
    }

    /// Gives up the place of a request, or of MAIL.
    pub(super) fn give_up(&mut self, reference: u64) -> Option<What> {
        let number = *self.by_reference.get(&reference)?;
        match &self.places[number as usize].what {
            What::Mail(_, waits) if *waits => self.unlink(number),
            What::Reply(_) => self.unlink(number),
            What::Mail(..) | What::Asked(_) => {}
            _ => return None,
        }
        Some(self.give_place(number))
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
    pub(super) fn take(&mut self) -> Result<Taken, Error> {
        let mut busy = 0;
        loop {
            let number = self.first;
            let Some(place) = self.places.get_mut(number as usize) else {
                return Ok(Taken::Nothing);
            };
            let What::Watch(watch) = &mut place.what else {
                let event = self.take_first()?;
                return Ok(event.map_or(Taken::Nothing, Taken::Event));
            };
            let (mut told, mut again) = (None, None);
            match watch.cursor.next()? {
                Step::Told(what) => told = Some(event(place.reference, what)),
                Step::Nothing | Step::Ended => watch.is_linked = false,
                Step::Again { is_soon } => again = Some(is_soon),
            }
            if told.is_some() && watch.cursor.rests() {
                watch.is_linked = false;
            }
            let is_linked = watch.is_linked;
            self.unlink(number);
            if is_linked {
                self.link(number); // others have their turn
            }
            if let Some(event) = told {
                return Ok(Taken::Event(event));
            }
            if let Some(is_soon) = again {
                busy += u32::from(is_soon);
                if !is_soon || busy == BUSY {
                    return Ok(Taken::Again { is_soon });
                }
            }
        }
    }

    fn take_first(&mut self) -> Result<Option<Event>, Error> {
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
            What::Mail(key, waits) => {
                *waits = false;
                Event::Mail { reference: *key }
            }
            What::Reply(reply) => Event::Reply {
                reference: place.reference,
                answer: std::mem::replace(&mut reply.answer, Ok(Value::Nil)),
                detail: std::mem::take(&mut reply.detail),
            },
            What::Free | What::Watching(_) | What::Watch(_) | What::Asked(_) => return Ok(None),
        };
        let stays = matches!(place.what, What::Mail(..));
        self.unlink(number);
        if number != LOST && !stays {
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
            is_watch: false,
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
        self.watches -= usize::from(matches!(what, What::Watch(_)));
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
        let take = || match waiting.take().unwrap() {
            Taken::Event(event) => Some(event),
            Taken::Nothing | Taken::Again { .. } => None,
        };
        std::iter::from_fn(take)
            .map(|event| match event {
                Event::Down { reference, .. } => reference,
                Event::Lost { count } => 1000 + count,
                Event::Log { .. } => 2000,
                other => unreachable!("nobody watches: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn events_come_in_order_and_places_are_used_again() {
        let mut waiting = Waiting::default();
        for round in 0..3 {
            for reference in 1..=5 {
                let reference = round * 10 + reference;
                waiting.promise(reference, nobody(), false).unwrap();
            }
            let down = ended("b");
            for reference in [3, 1, 5, 2] {
                assert!(waiting.deliver(round * 10 + reference, &down).is_some());
                assert!(waiting.deliver(round * 10 + reference, &down).is_none());
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
