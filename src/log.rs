//! Log events: said to who subscribed. Nothing is printed, unless the environment
//! variable `KVREG_LOG` names a level (error, warn, info, debug) when the library is first used.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Weak};

use crate::error::Error;
use crate::memory;
use crate::reason::{Exit, Reason};
use crate::runtime::platform;
use crate::sync::lock;

/// How important a log event is. The numbers are those of the C interface.
///
/// ```
/// use kvreg::{Inbox, Level};
///
/// let logs = Inbox::open()?;
/// logs.subscribe_logs(Level::Warn)?;
/// assert!(Level::Error < Level::Debug);
/// # Ok::<(), kvreg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[non_exhaustive]
pub enum Level {
    /// A server ended abnormally, or something was lost.
    Error = 0,
    /// Something that should be looked at.
    Warn = 1,
    /// What happened, as a restart.
    Info = 2,
    /// What helps to find a fault.
    Debug = 3,
}

impl Level {
    /// The level of a number of the C interface.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug]
            .get(number as usize)
            .copied()
    }

    fn name(self) -> &'static str {
        ["error", "warn", "info", "debug"][self as usize]
    }

    fn from_name(name: &str) -> Option<Level> {
        (0..4)
            .filter_map(Level::from_number)
            .find(|level| level.name() == name)
    }
}

/// A text that came from users, for a line of a log: what could end the line, command a
/// terminal or turn the order of what is read is written as a code. The rest is as it was. Nothing
/// is left of it if there is no memory.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(forges) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(memory::written(format_args!("{}", Escaped(text))).unwrap_or_default())
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\n' => f.write_str("\\n"),
                '\r' => f.write_str("\\r"),
                '\t' => f.write_str("\\t"),
                _ if forges(character) => write!(f, "\\u{{{:x}}}", u32::from(character)),
                _ => f.write_char(character),
            }?;
        }
        Ok(())
    }
}

fn forges(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            // The ends of lines and paragraphs, and what changes the direction.
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// One line, by one write.
fn print(level: Level, name: Option<&str>, message: &str) {
    let colon = if name.is_some() { ": " } else { "" };
    let (level, name) = (level.name(), name.unwrap_or_default());
    let line = memory::written(format_args!("kvreg {level}: {name}{colon}{message}\n"));
    platform::write_to_stderr(line.unwrap_or_default().as_bytes());
}

/// Who gets log events. Told by whoever logs; must not block.
pub(crate) trait LogSink: Send + Sync {
    fn log(&self, level: Level, name: Option<&str>, message: &str);
}

pub(crate) struct Logs {
    sinks: Mutex<Vec<(Level, Weak<dyn LogSink>)>>,
    /// Up to this level to stderr too, because the environment says so.
    printed: Option<Level>,
    /// One more than the highest level anybody wants: 0 is nobody, and costs one load.
    wanted: AtomicU32,
}

impl Logs {
    pub(crate) fn new() -> Logs {
        let printed = std::env::var("KVREG_LOG").ok();
        let printed = printed.and_then(|name| Level::from_name(&name));
        Logs {
            sinks: Mutex::new(Vec::new()),
            printed,
            wanted: AtomicU32::new(printed.map_or(0, |level| level as u32 + 1)),
        }
    }

    /// From now on the sink gets what is said at `max` or a more important level. A second
    /// subscription of one sink replaces the first.
    pub(crate) fn subscribe(&self, sink: Weak<dyn LogSink>, max: Level) -> Result<(), Error> {
        let mut sinks = lock(&self.sinks);
        memory::without_reserve(|| sinks.try_reserve(1)).map_err(|_| Error::NoMemory)?;
        sinks.retain(|(_, other)| other.strong_count() > 0 && !other.ptr_eq(&sink));
        sinks.push((max, sink));
        self.note_wanted(&sinks);
        Ok(())
    }

    pub(crate) fn unsubscribe(&self, sink: &Weak<dyn LogSink>) {
        let mut sinks = lock(&self.sinks);
        sinks.retain(|(_, other)| other.strong_count() > 0 && !other.ptr_eq(sink));
        self.note_wanted(&sinks);
    }

    fn note_wanted(&self, sinks: &[(Level, Weak<dyn LogSink>)]) {
        let levels = sinks.iter().map(|(level, _)| *level);
        let highest = levels.chain(self.printed).max();
        let wanted = highest.map_or(0, |level| level as u32 + 1);
        self.wanted.store(wanted, Ordering::Relaxed);
    }

    /// The end of a server, as OTP tells it: an abnormal one is an error, any other is not
    /// logged.
    pub(crate) fn end(&self, kind: &str, name: Option<&str>, exit: &Exit) {
        let is_error = matches!(exit.reason, Reason::Killed | Reason::Crashed);
        if is_error && self.wants(Level::Error) {
            let colon = if exit.detail.is_empty() { "" } else { ": " };
            let (reason, detail) = (exit.reason, &exit.detail);
            self.error_of(name, format_args!("{kind} {reason}{colon}{detail}"));
        }
    }

    pub(crate) fn error(&self, name: Option<&str>, message: &str) {
        self.say(Level::Error, name, message);
    }

    /// As `error`, of a text that is to be made; it is left out if there is no memory.
    pub(crate) fn error_of(&self, name: Option<&str>, message: fmt::Arguments<'_>) {
        if self.wants(Level::Error) {
            self.error(name, &memory::written(message).unwrap_or_default());
        }
    }

    pub(crate) fn warn(&self, name: Option<&str>, message: &str) {
        self.say(Level::Warn, name, message);
    }

    pub(crate) fn info(&self, name: Option<&str>, message: &str) {
        self.say(Level::Info, name, message);
    }

    pub(crate) fn debug(&self, name: Option<&str>, message: &str) {
        self.say(Level::Debug, name, message);
    }

    /// Whether anybody listens: a text need not be made for nobody.
    pub(crate) fn wants(&self, level: Level) -> bool {
        self.wanted.load(Ordering::Relaxed) > level as u32
    }

    fn say(&self, level: Level, name: Option<&str>, message: &str) {
        if !self.wants(level) {
            return;
        }
        // Here, so that whatever is said has gone through it.
        let (name, message) = (name.map(escaped), escaped(message));
        let (name, message) = (name.as_deref(), message.as_ref());
        if self.printed.is_some_and(|max| level <= max) {
            print(level, name, message);
        }
        let sinks: Vec<_> = lock(&self.sinks)
            .iter()
            .filter(|(max, _)| level <= *max)
            .filter_map(|(_, sink)| sink.upgrade())
            .collect();
        for sink in sinks {
            sink.log(level, name, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_a_line_is_written_as_a_code() {
        for (text, wanted) in [
            ("a\r\nkvreg error: b", "a\\r\\nkvreg error: b"),
            ("\x1b[2K\x07\0\t", "\\u{1b}[2K\\u{7}\\u{0}\\t"),
            ("\u{85}\u{9b}\x7f", "\\u{85}\\u{9b}\\u{7f}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
        ] {
            assert_eq!(escaped(text), wanted);
        }
    }

    #[test]
    fn any_other_text_is_left_as_it_is() {
        for text in [
            "",
            "shopping",
            "Gr\u{fc}\u{df}e, \u{5927}",
            "C:\\new",
            "\"100 %s\"",
        ] {
            assert!(matches!(escaped(text), Cow::Borrowed(same) if same == text));
        }
    }
}
