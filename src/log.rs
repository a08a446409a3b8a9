//! Log events: said to the inboxes that subscribed, and to nobody else. Nothing is printed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Weak};

use crate::inbox::InboxCore;
use crate::sync::lock;

/// How important a log event is. The numbers are those of the C interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Level {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
}

impl Level {
    pub fn from_number(number: u32) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug]
            .get(number as usize)
            .copied()
    }
}

pub(crate) struct Logs {
    subscribers: Mutex<Vec<(Level, Weak<InboxCore>)>>,
    /// One more than the highest level anybody wants: 0 is nobody, and costs one load.
    wanted: AtomicU32,
}

impl Logs {
    pub(crate) fn new() -> Logs {
        Logs {
            subscribers: Mutex::new(Vec::new()),
            wanted: AtomicU32::new(0),
        }
    }

    /// From now on the inbox gets what is said at `max` or a more important level. A second
    /// subscription of the same inbox replaces the first.
    pub(crate) fn subscribe(&self, inbox: Weak<InboxCore>, max: Level) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|(_, other)| other.strong_count() > 0 && !other.ptr_eq(&inbox));
        subscribers.push((max, inbox));
        self.note_wanted(&subscribers);
    }

    pub(crate) fn unsubscribe(&self, inbox: &Weak<InboxCore>) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.retain(|(_, other)| other.strong_count() > 0 && !other.ptr_eq(inbox));
        self.note_wanted(&subscribers);
    }

    fn note_wanted(&self, subscribers: &[(Level, Weak<InboxCore>)]) {
        let highest = subscribers.iter().map(|(level, _)| *level as u32 + 1).max();
        self.wanted.store(highest.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn error(&self, name: Option<&str>, message: &str) {
        self.say(Level::Error, name, message);
    }

    pub(crate) fn debug(&self, name: Option<&str>, message: &str) {
        self.say(Level::Debug, name, message);
    }

    fn say(&self, level: Level, name: Option<&str>, message: &str) {
        if self.wanted.load(Ordering::Relaxed) <= level as u32 {
            return;
        }
        let inboxes: Vec<_> = lock(&self.subscribers)
            .iter()
            .filter(|(max, _)| level <= *max)
            .filter_map(|(_, inbox)| inbox.upgrade())
            .collect();
        for inbox in inboxes {
            inbox.log(level, name, message);
        }
    }
}
