//! The calls, by the C interface: its short ways are the ones that most programs take.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::time::Instant;

#[path = "../common/c.rs"]
mod c;

use super::common::PATIENCE;
use super::search::{Ttl, Word, ABSENT};
use super::values::{self, Shown};
use c::*;

/// Why a call was not answered OK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotFound,
    /// It had ended before: not delivered.
    NoProcess,
    /// It ended while it had the request.
    ServerDown,
    /// It was not as expected.
    Conflict,
    WrongType,
    /// A cast that would have to wait found no room for its key.
    Limit,
}

pub type Answer<T> = Result<T, Refused>;

#[track_caller]
fn answer(status: i32) -> Answer<()> {
    match status {
        OK => Ok(()),
        NOT_FOUND => Err(Refused::NotFound),
        NO_PROCESS => Err(Refused::NoProcess),
        SERVER_DOWN => Err(Refused::ServerDown),
        WRONG_TYPE => Err(Refused::WrongType),
        CONFLICT => Err(Refused::Conflict),
        LIMIT => Err(Refused::Limit),
        other => panic!("a call answered the status {other}"),
    }
}

/// As the C interface has it.
fn millis(ttl: Ttl) -> i64 {
    match ttl {
        Ttl::Default => 0,
        Ttl::Never => -1,
        Ttl::Keep => -2,
        Ttl::Millis(ms) => ms as i64,
    }
}

/// The value of a write; `shown` keeps its bytes.
fn of(shown: &Shown) -> Value {
    match shown {
        Shown::Nil => Value::default(),
        Shown::Int(number) => Value::int(*number),
        Shown::Bytes(bytes) => Value::bytes(bytes),
    }
}

/// Which write it comes from. A torn one comes from none, and that is a fault.
///
/// # Safety
/// It was read, and not cleared.
unsafe fn word_of(value: &Value) -> Word {
    match value.kind {
        c::ABSENT => ABSENT,
        NIL => values::NIL,
        INT => values::of_int(value.word as i64),
        BYTES => {
            let data = value.word as *const u8;
            values::of_bytes(std::slice::from_raw_parts(data, value.len))
        }
        other => panic!("a value of the type {other}"),
    }
}

/// The same, and clears it.
unsafe fn taken(value: &mut Value) -> Word {
    let word = word_of(value);
    kvreg_value_clear(value);
    word
}

pub struct Registry(Handle);

// SAFETY: handles are tokens, which any thread may use.
unsafe impl Sync for Registry {}

pub struct Bucket(Handle);

// SAFETY: as above.
unsafe impl Send for Bucket {}
// SAFETY: as above.
unsafe impl Sync for Bucket {}

// SAFETY of all below: tokens are checked; what is passed is good for its length and outlives the
// call; what was read is cleared once.
impl Registry {
    pub fn find(name: &str) -> Registry {
        let mut token = null_mut();
        let status = unsafe { kvreg_registry_whereis(name.as_ptr(), name.len(), &mut token) };
        assert_eq!(answer(status), Ok(()));
        assert_eq!(
            answer(unsafe { kvreg_registry_set_timeout(token, -1) }),
            Ok(())
        );
        Registry(token)
    }

    pub fn create(&self, name: &str) -> Answer<Bucket> {
        let mut token = null_mut();
        let (name, len) = (name.as_ptr(), name.len());
        answer(unsafe { kvreg_registry_create(self.0, name, len, 0, &mut token) })?;
        Ok(Bucket::of(token))
    }

    pub fn lookup(&self, name: &str) -> Answer<Bucket> {
        let mut token = null_mut();
        answer(unsafe { kvreg_registry_lookup(self.0, name.as_ptr(), name.len(), &mut token) })?;
        Ok(Bucket::of(token))
    }

    pub fn remove(&self, name: &str) -> Answer<()> {
        answer(unsafe { kvreg_registry_remove(self.0, name.as_ptr(), name.len()) })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        unsafe { kvreg_registry_free(self.0) };
    }
}

/// What a callback saw, and what it stores, after how long.
struct Deciding {
    seen: Word,
    next: Option<Shown>,
    lingers: Lingers,
}

/// How long an update has the turn. While it does, casts wait, and others end what waits.
#[derive(Clone, Copy)]
pub enum Lingers {
    Not,
    Spins,
    Yields,
    Sleeps,
}

impl Lingers {
    pub fn while_others_run(self) {
        match self {
            Lingers::Not => {}
            Lingers::Spins => (0..500).for_each(|_| std::hint::spin_loop()),
            Lingers::Yields => std::thread::yield_now(),
            Lingers::Sleeps => std::thread::sleep(std::time::Duration::from_micros(20)),
        }
    }
}

unsafe extern "C" fn decide(data: *mut c_void, current: *const Value, next: *mut Value) -> i32 {
    let deciding = &mut *data.cast::<Deciding>();
    deciding.seen = current
        .as_ref()
        .map_or(ABSENT, |value| unsafe { word_of(value) });
    deciding.lingers.while_others_run();
    match &deciding.next {
        None => REMOVE,
        Some(shown) => {
            *next = of(shown);
            STORE
        }
    }
}

/// Of a batch: a key, what it gets, the revision that is expected of it, and for how long.
pub type Change<'k> = (&'k [u8], Option<Shown>, Option<u64>, Ttl);

impl Bucket {
    /// Its calls wait as long as it takes: that a machine is busy is no failure.
    fn of(token: Handle) -> Bucket {
        unsafe { kvreg_bucket_set_timeout(token, -1) };
        Bucket(token)
    }

    pub fn get(&self, key: &[u8]) -> Answer<Word> {
        let mut value = Value::default();
        answer(unsafe { kvreg_bucket_get(self.0, key.as_ptr(), key.len(), &mut value) })?;
        Ok(unsafe { taken(&mut value) })
    }

    /// Into a buffer, which has no room for the large ones.
    pub fn get_into(&self, key: &[u8]) -> Answer<Word> {
        let (mut value, mut buffer) = (Value::default(), [0; 600]);
        let (data, room) = (buffer.as_mut_ptr(), buffer.len());
        answer(unsafe {
            kvreg_bucket_get_into(self.0, key.as_ptr(), key.len(), data, room, &mut value)
        })?;
        Ok(unsafe { taken(&mut value) })
    }

    /// By the function of one type; `None` if it was of another, or too large.
    pub fn get_typed(&self, key: &[u8], is_number: bool) -> Answer<Option<Word>> {
        let (mut number, mut buffer, mut size) = (0, [0; 600], 0);
        let (data, len) = (key.as_ptr(), key.len());
        let status = if is_number {
            unsafe { kvreg_bucket_get_int(self.0, data, len, &mut number) }
        } else {
            let (to, room) = (buffer.as_mut_ptr(), buffer.len());
            unsafe { kvreg_bucket_get_bytes(self.0, data, len, to, room, &mut size) }
        };
        if matches!(status, WRONG_TYPE | TOO_SMALL) {
            return Ok(None);
        }
        answer(status)?;
        Ok(Some(match is_number {
            true => values::of_int(number),
            false => values::of_bytes(&buffer[..size]),
        }))
    }

    pub fn put(&self, key: &[u8], shown: &Shown) -> Answer<()> {
        let value = of(shown);
        answer(unsafe { kvreg_bucket_put(self.0, key.as_ptr(), key.len(), &value) })
    }

    /// By the function that takes this type.
    pub fn put_typed(&self, key: &[u8], shown: &Shown) -> Answer<()> {
        let (data, len) = (key.as_ptr(), key.len());
        match shown {
            Shown::Nil => self.put(key, shown),
            Shown::Int(number) => {
                answer(unsafe { kvreg_bucket_put_int(self.0, data, len, *number) })
            }
            Shown::Bytes(bytes) => answer(unsafe {
                kvreg_bucket_put_bytes(self.0, data, len, bytes.as_ptr(), bytes.len())
            }),
        }
    }

    /// What was there.
    pub fn delete(&self, key: &[u8]) -> Answer<Word> {
        let mut old = Value::default();
        answer(unsafe { kvreg_bucket_delete(self.0, key.as_ptr(), key.len(), &mut old) })?;
        Ok(unsafe { taken(&mut old) })
    }

    /// Without a wait; `None` deletes.
    pub fn cast(&self, key: &[u8], shown: Option<&Shown>) -> Answer<()> {
        let (data, len) = (key.as_ptr(), key.len());
        let begin = Instant::now();
        loop {
            let status = match shown {
                None => unsafe { kvreg_bucket_delete_cast(self.0, data, len) },
                Some(shown) => unsafe { kvreg_bucket_put_cast(self.0, data, len, &of(shown)) },
            };
            // Refused where readers that do not run hold much back: it is sent again.
            if status != NO_MEMORY || begin.elapsed() > PATIENCE {
                return answer(status);
            }
            std::thread::yield_now();
        }
    }

    /// What was there instead of what is stored now; `None` deletes.
    pub fn update(&self, key: &[u8], next: Option<Shown>, lingers: Lingers) -> Answer<Word> {
        let seen = ABSENT;
        let mut deciding = Deciding {
            seen,
            next,
            lingers,
        };
        let data = std::ptr::from_mut(&mut deciding).cast();
        answer(unsafe { kvreg_bucket_update(self.0, key.as_ptr(), key.len(), decide, data) })?;
        Ok(deciding.seen)
    }

    /// The same without a callback.
    pub fn update_in_two(&self, key: &[u8], next: Option<Shown>, lingers: Lingers) -> Answer<Word> {
        let (mut current, mut update) = (Value::default(), null_mut());
        let (data, len) = (key.as_ptr(), key.len());
        answer(unsafe { kvreg_bucket_update_begin(self.0, data, len, &mut current, &mut update) })?;
        let seen = unsafe { taken(&mut current) };
        lingers.while_others_run();
        let verdict = if next.is_some() { STORE } else { REMOVE };
        let value = next.as_ref().map_or_else(Value::default, of);
        answer(unsafe { kvreg_update_end(update, verdict, &value) })?;
        Ok(seen)
    }

    pub fn put_many(&self, pairs: &[(&[u8], Shown)]) -> Answer<()> {
        let pair = |(key, shown): &(&[u8], Shown)| Pair::new(key, of(shown));
        let pairs: Vec<Pair> = pairs.iter().map(pair).collect();
        answer(unsafe { kvreg_bucket_put_many(self.0, pairs.as_ptr(), pairs.len()) })
    }

    pub fn get_many(&self, keys: &[&[u8]]) -> Answer<Vec<Word>> {
        let pair = |key: &&[u8]| Pair::new(key, Value::default());
        let mut pairs: Vec<Pair> = keys.iter().map(pair).collect();
        answer(unsafe { kvreg_bucket_get_many(self.0, pairs.as_mut_ptr(), pairs.len()) })?;
        let words = pairs
            .iter_mut()
            .map(|pair| unsafe { taken(&mut pair.value) });
        Ok(words.collect())
    }

    /// All that is there under these keys, and how many keys there are.
    pub fn items(&self, keys: &[&[u8]]) -> Answer<(Vec<Word>, usize)> {
        let mut items = null_mut();
        answer(unsafe { kvreg_bucket_items(self.0, &mut items) })?;
        Ok(read_all(items, keys, |_, _| true))
    }

    /// The same in the order of the keys.
    pub fn scan(&self, keys: &[&[u8]]) -> Answer<Vec<Word>> {
        let mut items = null_mut();
        answer(unsafe { kvreg_bucket_scan(self.0, null_mut(), &mut items) })?;
        Ok(read_all(items, keys, |last, next| last < next).0)
    }

    /// The value with its revision, and what is left of its time.
    pub fn get_entry(&self, key: &[u8]) -> Answer<(Word, u64, i64)> {
        let mut entry = Entry::default();
        answer(unsafe { kvreg_bucket_get_entry(self.0, key.as_ptr(), key.len(), &mut entry) })?;
        let word = unsafe { taken(&mut entry.value) };
        Ok((word, entry.revision, entry.ttl_ms))
    }

    /// The revision of the put.
    pub fn put_entry(&self, key: &[u8], shown: &Shown, ttl: Ttl) -> Answer<u64> {
        let (value, ttl, mut revision) = (of(shown), millis(ttl), 0);
        let (data, len) = (key.as_ptr(), key.len());
        answer(unsafe { kvreg_bucket_put_entry(self.0, data, len, &value, ttl, &mut revision) })?;
        Ok(revision)
    }

    /// The revision of the put.
    pub fn put_if(&self, key: &[u8], shown: &Shown, expected: u64, ttl: Ttl) -> Answer<u64> {
        let (value, ttl, mut revision) = (of(shown), millis(ttl), 0);
        let (data, len, to) = (key.as_ptr(), key.len(), &mut revision);
        answer(unsafe { kvreg_bucket_put_if(self.0, data, len, &value, expected, ttl, to) })?;
        Ok(revision)
    }

    /// The revision of the change.
    pub fn expire(&self, key: &[u8], ttl: Ttl) -> Answer<u64> {
        let (ttl, mut revision) = (millis(ttl), 0);
        let (data, len, to) = (key.as_ptr(), key.len(), &mut revision);
        answer(unsafe { kvreg_bucket_expire(self.0, data, len, ttl, to) })?;
        Ok(revision)
    }

    /// What was there, if that is wanted.
    pub fn delete_if(&self, key: &[u8], expected: u64, wanted: bool) -> Answer<Option<Word>> {
        let mut old = Value::default();
        let to = if wanted { &mut old } else { null_mut() };
        answer(unsafe { kvreg_bucket_delete_if(self.0, key.as_ptr(), key.len(), expected, to) })?;
        Ok(wanted.then(|| unsafe { taken(&mut old) }))
    }

    /// The revision of the change; `None` on either side is no value.
    pub fn put_if_equal(
        &self,
        key: &[u8],
        expected: Option<&Shown>,
        next: Option<&Shown>,
    ) -> Answer<u64> {
        let (expected, next, mut revision) = (expected.map(of), next.map(of), 0);
        let pointer = |value: &Option<Value>| value.as_ref().map_or(null(), std::ptr::from_ref);
        let (data, len) = (key.as_ptr(), key.len());
        let (expected, next) = (pointer(&expected), pointer(&next));
        answer(unsafe {
            kvreg_bucket_put_if_equal(self.0, data, len, expected, next, &mut revision)
        })?;
        Ok(revision)
    }

    /// The revisions of all; or which was refused, and why. `None` is to be taken out.
    pub fn apply(&self, changes: &[Change<'_>]) -> Result<Vec<u64>, (usize, Refused)> {
        let op = |(key, shown, expected, ttl): &Change<'_>| Op {
            op: u32::from(shown.is_none()) + if expected.is_some() { 2 } else { 0 },
            key: key.as_ptr(),
            key_len: key.len(),
            value: shown.as_ref().map(of).unwrap_or_default(),
            expected: expected.unwrap_or(0),
            ttl_ms: if shown.is_some() { millis(*ttl) } else { 0 },
            ..Op::default()
        };
        let mut ops: Vec<Op> = changes.iter().map(op).collect();
        let mut failed = 0;
        let status =
            unsafe { kvreg_bucket_apply(self.0, ops.as_mut_ptr(), ops.len(), &mut failed) };
        answer(status).map_err(|refused| (failed, refused))?;
        Ok(ops.iter().map(|op| op.revision).collect())
    }

    /// What was there, and the sum; an absent key counts as 0.
    pub fn add_int(&self, key: &[u8], delta: i64) -> Answer<(Word, Word)> {
        let mut sum = 0;
        answer(unsafe { kvreg_bucket_add_int(self.0, key.as_ptr(), key.len(), delta, &mut sum) })?;
        let before = match sum - delta {
            0 => ABSENT,
            number => values::of_int(number),
        };
        Ok((before, values::of_int(sum)))
    }

    /// Of the last change.
    pub fn revision(&self) -> Answer<u64> {
        let mut revision = 0;
        answer(unsafe { kvreg_bucket_revision(self.0, &mut revision) })?;
        Ok(revision)
    }

    pub fn clear(&self) -> Answer<()> {
        answer(unsafe { kvreg_bucket_clear(self.0) })
    }

    pub fn count(&self) -> Answer<usize> {
        let mut count = 0;
        answer(unsafe { kvreg_bucket_count(self.0, &mut count) })?;
        Ok(count)
    }

    pub fn stop(&self) -> Answer<()> {
        answer(unsafe { kvreg_bucket_stop(self.0) })
    }

    pub fn kill(&self) -> Answer<()> {
        answer(unsafe { kvreg_bucket_exit(self.0, REASON_KILLED, null(), 0) })
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        unsafe { kvreg_bucket_free(self.0) };
    }
}

/// All that a snapshot has under these keys, and how many keys it has, each of which may follow the
/// one before.
fn read_all(
    items: Handle,
    keys: &[&[u8]],
    may_follow: impl Fn(&[u8], &[u8]) -> bool,
) -> (Vec<Word>, usize) {
    let (mut words, mut count) = (vec![ABSENT; keys.len()], 0);
    let mut last: Option<Vec<u8>> = None;
    loop {
        let (mut key, mut value) = (Value::default(), Value::default());
        if unsafe { kvreg_items_next(items, &mut key, &mut value) } != 0 {
            break;
        }
        count += 1;
        let data = unsafe { std::slice::from_raw_parts(key.word as *const u8, key.len) };
        let follows = last.as_ref().is_none_or(|last| may_follow(last, data));
        assert!(follows, "a scan is out of order");
        last = Some(data.to_vec());
        if let Some(place) = keys.iter().position(|known| *known == data) {
            assert_eq!(words[place], ABSENT, "a snapshot has a key twice");
            words[place] = unsafe { word_of(&value) };
        }
        unsafe { kvreg_value_clear(&mut key) };
        unsafe { kvreg_value_clear(&mut value) };
    }
    unsafe { kvreg_items_free(items) };
    (words, count)
}
