//! Messages across the boundary.
//!
//! # The argument
//!
//! What `kvreg_turn_next` gives owns its content, through an address in `private_` that is given up
//! once, by `kvreg_message_clear`. Its values borrow from that; so does the tag. A handler's message
//! borrows from what its caller has, and the message itself is not believed: see `handlers.rs`.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::Arc;

use super::argument::{self, invalid, Out, WithSize};
use super::event::kvreg_text;
use super::guard::{guard, guard_quietly};
use super::handlers;
use super::handles::make;
use super::kinds::{kvreg_reply, kvreg_server};
use super::replies::Deferred;
use super::status::{kvreg_status, Failure, Status};
use super::turns;
use super::value::kvreg_value;
use crate::memory;
use crate::user_server::{Content, What, TAG_LIMIT, VALUES_LIMIT};
use crate::value::{Text, Value};

pub(super) const INIT: u32 = 0;
pub(super) const CALL: u32 = 1;
pub(super) const CAST: u32 = 2;
pub(super) const INFO: u32 = 3;
pub(super) const DOWN: u32 = 4;
pub(super) const TERMINATE: u32 = 5;

/// The header's `kvreg_message`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_message {
    size: u32,
    kind: u32, // `type` in C
    reason: i32,
    reserved: u32,
    reference: u64,
    tag: kvreg_text,
    values: *const kvreg_value,
    count: usize,
    self_: *mut kvreg_server, // `self` in C
    /// What it owns: an address, or 0. Then its mark.
    private_: [u64; 4],
}

const _: () = assert!(size_of::<kvreg_message>() == 96);

#[cfg(test)]
laid_out_as_in_c!(kvreg_message {
    size, kind as "type", reason, reserved, reference, tag, values, count, self_ as "self", private_
});

// SAFETY: integers and pointers, and the first is a u32.
unsafe impl WithSize for kvreg_message {}

impl kvreg_message {
    const EMPTY: kvreg_message = kvreg_message {
        size: size_of::<kvreg_message>() as u32,
        kind: 0,
        reason: 0,
        reserved: 0,
        reference: 0,
        tag: kvreg_text::NONE,
        values: std::ptr::null(),
        count: 0,
        self_: std::ptr::null_mut(),
        private_: [0; 4],
    };
}

/// So many values need no memory of their own.
const FEW: usize = 4;

/// A message as its sender gives it: with a NUL behind each text.
pub(super) struct Given {
    tag: kvreg_text,
    values: *const kvreg_value,
    count: usize,
    tag_room: [MaybeUninit<u8>; TAG_LIMIT + 1],
}

/// As `Given`, with what had to be copied for that.
pub(super) struct Sent {
    given: Given,
    few: [kvreg_value; FEW],
    many: Vec<kvreg_value>,
    texts: Vec<Text>,
}

impl Given {
    #[inline(always)]
    pub(super) fn new() -> Given {
        Given {
            tag: kvreg_text::NONE,
            values: std::ptr::null(),
            count: 0,
            tag_room: [const { MaybeUninit::uninit() }; TAG_LIMIT + 1],
        }
    }

    /// Takes what needs no memory: `false` if it is to be taken by `take`.
    ///
    /// # Safety
    /// The tag is good for its length, and so are the values, and their texts for theirs, as long
    /// as this is used.
    #[inline(always)]
    pub(super) unsafe fn fast_take(
        &mut self,
        tag: *const c_char,
        tag_len: usize,
        values: *const kvreg_value,
        count: usize,
    ) -> bool {
        if tag.is_null() || tag_len.wrapping_sub(1) >= TAG_LIMIT || (values.is_null() && count > 0)
        {
            return false;
        }
        if count > FEW {
            return false;
        }
        // SAFETY: by contract.
        let tag = unsafe { std::slice::from_raw_parts(tag.cast::<u8>(), tag_len) };
        if !tag.iter().all(|byte| (1..128).contains(byte)) {
            return false;
        }
        for at in 0..count {
            // SAFETY: by contract.
            if !unsafe { (*values.add(at)).is_whole() } {
                return false;
            }
        }
        // SAFETY: there is room for the tag and a NUL.
        unsafe { self.put_tag(tag) };
        self.values = values;
        self.count = count;
        true
    }

    /// # Safety
    /// It has at most `TAG_LIMIT` bytes. This stays where it is while the tag is used.
    #[inline(always)]
    unsafe fn put_tag(&mut self, tag: &[u8]) {
        let room = self.tag_room.as_mut_ptr().cast::<u8>();
        // SAFETY: by contract.
        unsafe {
            room.copy_from_nonoverlapping(tag.as_ptr(), tag.len());
            room.add(tag.len()).write(0);
        }
        self.tag = kvreg_text {
            data: room.cast(),
            len: tag.len(),
        };
    }

    /// The message for a handler.
    #[inline(always)]
    pub(super) fn message(&self, kind: u32, me: *mut kvreg_server) -> kvreg_message {
        kvreg_message {
            kind,
            tag: self.tag,
            values: self.values,
            count: self.count,
            self_: me,
            ..kvreg_message::EMPTY
        }
    }

    /// Whether each value is as short as that.
    #[inline(always)]
    pub(super) fn fits(&self, max_value: usize) -> bool {
        // SAFETY: as `take` was promised.
        (0..self.count).all(|at| unsafe { (*self.values.add(at)).text_len() } <= max_value)
    }
}

impl Sent {
    pub(super) fn new() -> Sent {
        Sent {
            given: Given::new(),
            few: [kvreg_value::NIL; FEW],
            many: Vec::new(),
            texts: Vec::new(),
        }
    }

    /// Takes any message, or says what is wrong with it.
    ///
    /// # Safety
    /// As of [`Given::fast_take`].
    pub(super) unsafe fn take(
        &mut self,
        tag: *const c_char,
        tag_len: usize,
        values: *const kvreg_value,
        count: usize,
    ) -> Result<&Given, Failure> {
        // SAFETY: by contract.
        let (tag, given) = unsafe { (tag_of(tag, tag_len)?, values_of(values, count)?) };
        // SAFETY: it was checked.
        unsafe { self.given.put_tag(tag.as_bytes()) };
        let room: &mut [kvreg_value] = match given.len() <= FEW {
            true => &mut self.few[..given.len()],
            false => {
                memory::reserve(&mut self.many, given.len())?;
                self.many.resize(given.len(), kvreg_value::NIL);
                &mut self.many
            }
        };
        for (place, value) in room.iter_mut().zip(given) {
            // SAFETY: by contract.
            let seen = unsafe { value.get() }?;
            *place = match value.is_whole() {
                true => *value,
                false => {
                    memory::without_reserve(|| self.texts.try_reserve(1))
                        .map_err(|_| Status::NoMemory)?;
                    let copy = Value::new(seen)?;
                    let view = kvreg_value::borrowed(&copy);
                    if let Value::String(text) | Value::Bytes(text) = copy {
                        self.texts.push(text);
                    }
                    view
                }
            };
        }
        self.given.values = room.as_ptr();
        self.given.count = given.len();
        Ok(&self.given)
    }
}

/// A copy of a message, for a mailbox.
///
/// # Safety
/// As of [`Sent::take`].
pub(super) unsafe fn content(
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
) -> Result<Arc<Content>, Failure> {
    // SAFETY: by contract.
    let (tag, values) = unsafe { (tag_of(tag, tag_len)?, values_of(values, count)?) };
    let mut seen = Vec::new();
    memory::reserve(&mut seen, values.len())?;
    for value in values {
        // SAFETY: by contract.
        seen.push(unsafe { value.get() }?);
    }
    Ok(Content::new(tag, seen.into_iter())?)
}

/// Says what is wrong with a message.
///
/// # Safety
/// As of [`Sent::take`].
pub(super) unsafe fn check(
    tag: *const c_char,
    tag_len: usize,
    values: *const kvreg_value,
    count: usize,
) -> Result<(), Failure> {
    // SAFETY: by contract.
    unsafe {
        tag_of(tag, tag_len)?;
        for value in values_of(values, count)? {
            value.get()?;
        }
    }
    Ok(())
}

/// # Safety
/// It is good for its length.
unsafe fn tag_of<'a>(tag: *const c_char, len: usize) -> Result<&'a str, Failure> {
    let refused = "a tag has 1 to 255 bytes";
    if len != argument::NUL && len > TAG_LIMIT {
        return Err(invalid(refused));
    }
    // SAFETY: by contract.
    let tag = unsafe { argument::text(tag, len) }?;
    if tag.is_empty() || tag.len() > TAG_LIMIT {
        return Err(invalid(refused));
    }
    if tag.as_bytes().contains(&0) {
        return Err(invalid("a tag has no NUL"));
    }
    Ok(tag)
}

/// # Safety
/// They are good for their count.
unsafe fn values_of<'a>(
    values: *const kvreg_value,
    count: usize,
) -> Result<&'a [kvreg_value], Failure> {
    if count > VALUES_LIMIT {
        return Err(invalid("a message has at most 255 values"));
    }
    if count == 0 {
        return Ok(&[]);
    }
    if values.is_null() {
        return Err(invalid("values are NULL and their count is not 0"));
    }
    // SAFETY: by contract.
    Ok(unsafe { std::slice::from_raw_parts(values, count) })
}

/// What is shown of a message, beside itself.
pub(super) struct Views {
    values: Vec<kvreg_value>,
    /// A detail that has a NUL behind it.
    _detail: Option<Text>,
    name: Vec<u8>,
}

impl Views {
    pub(super) fn of(what: &What) -> Result<Views, Failure> {
        let (mut values, mut detail, mut name) = (Vec::new(), None, Vec::new());
        let mut tell = |text: &str| -> Result<(), Failure> {
            if text.is_empty() {
                return Ok(());
            }
            let copy = Text::copy(text.as_bytes())?;
            memory::reserve(&mut values, 1)?;
            let copy = Value::String(copy);
            values.push(kvreg_value::borrowed(&copy));
            if let Value::String(copy) = copy {
                detail = Some(copy);
            }
            Ok(())
        };
        match what {
            What::Call(content, _) | What::Cast(content) | What::Info(content, _) => {
                memory::reserve(&mut values, content.values().len())?;
                values.extend(content.values().iter().map(kvreg_value::lent));
            }
            What::Down(_, ended) => {
                tell(&ended.exit.detail)?;
                if let Some(text) = &ended.name {
                    memory::reserve(&mut name, text.len() + 1)?;
                    name.extend_from_slice(text.as_bytes());
                    name.push(0);
                }
            }
            What::Terminate(exit) => tell(&exit.detail)?,
            What::Init | What::Stop(_) => {}
        }
        Ok(Views {
            values,
            _detail: detail,
            name,
        })
    }

    /// The message that these are of, for who handles it.
    pub(super) fn message(&self, what: &What, me: *mut kvreg_server) -> kvreg_message {
        let with_nul = |tag: &[u8]| match tag.len() {
            0 => kvreg_text::NONE,
            len => kvreg_text {
                data: tag.as_ptr().cast(),
                len: len - 1,
            },
        };
        let (kind, tag, reason, reference) = match what {
            What::Init | What::Stop(_) => (INIT, kvreg_text::NONE, 0, 0),
            What::Call(content, _) => (CALL, with_nul(content.tag_with_nul()), 0, 0),
            What::Cast(content) => (CAST, with_nul(content.tag_with_nul()), 0, 0),
            What::Info(content, timer) => (INFO, with_nul(content.tag_with_nul()), 0, *timer),
            What::Down(reference, ended) => {
                let reason = ended.exit.reason as i32;
                (DOWN, with_nul(&self.name), reason, *reference)
            }
            What::Terminate(exit) => (TERMINATE, kvreg_text::NONE, exit.reason as i32, 0),
        };
        kvreg_message {
            kind,
            reason,
            reference,
            tag,
            values: match self.values.is_empty() {
                true => std::ptr::null(),
                false => self.values.as_ptr(),
            },
            count: self.values.len(),
            self_: me,
            ..kvreg_message::EMPTY
        }
    }
}

/// What a message that C owns borrows from.
struct Owned {
    _what: Arc<What>,
    _views: Views,
}

/// A message that C owns until `kvreg_message_clear`; `mark` is what it is known by.
pub(super) fn owned(
    what: Arc<What>,
    mark: u64,
    me: *mut kvreg_server,
) -> Result<kvreg_message, Failure> {
    let views = Views::of(&what)?;
    let mut message = views.message(&what, me);
    let owned = Box::new(Owned {
        _what: what,
        _views: views,
    });
    message.private_[0] = Box::into_raw(owned).expose_provenance() as u64;
    message.private_[1] = mark;
    Ok(message)
}

/// Fills a caller's message as far as its size goes.
///
/// # Safety
/// It may be written for the size that it tells.
pub(super) unsafe fn fill_message(place: *mut kvreg_message, message: &kvreg_message) {
    let after = size_of::<u32>();
    let from = std::ptr::from_ref(message).cast::<u8>();
    // SAFETY: by contract; it was checked to be large enough.
    unsafe {
        let to = place.cast::<u8>();
        let len = size_of::<kvreg_message>() - after;
        std::ptr::copy_nonoverlapping(from.add(after), to.add(after), len);
    }
}

/// Refuses a message that is too small, and empties it.
///
/// # Safety
/// Null, or it may be written for the size that it tells.
pub(super) unsafe fn message_out(place: *mut kvreg_message) -> Result<(), Failure> {
    if place.is_null() {
        return Err(invalid("an output is NULL"));
    }
    // SAFETY: by contract.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < size_of::<kvreg_message>() || size > 4096 || size % 8 != 0 {
        return Err(invalid("the size of the message is not set"));
    }
    // SAFETY: by contract.
    unsafe { fill_message(place, &kvreg_message::EMPTY) };
    Ok(())
}

/// @name Servers: messages
///
/// Releases what kvreg_turn_next gave, and empties the message. It may be called twice on one
/// variable. NULL is fine. It works after kvreg_shutdown too. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_message_clear(message: *mut kvreg_message) {
    guard_quietly(|| {
        // SAFETY: null, or a message that was initialised.
        let Some(message) = (unsafe { message.as_mut() }) else {
            return;
        };
        let size = message.size;
        let cleared = std::mem::replace(
            message,
            kvreg_message {
                size,
                ..kvreg_message::EMPTY
            },
        );
        let address = cleared.private_[0] as usize;
        if address != 0 {
            let owned: *mut Owned = std::ptr::with_exposed_provenance_mut(address);
            // SAFETY: noted by `owned`, and cleared once: the words are zero from now on.
            drop(unsafe { Box::from_raw(owned) });
        }
    });
}

/// Puts the answer of a call off: it comes by kvreg_reply_send, from any thread, and the verdict is
/// KVREG_LATER. By callbacks it is called from the handler of the message, by turns before the
/// message is answered; else the answer is KVREG_INVALID_ARGUMENT, as for what is no call, and for
/// a second time. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_message_defer(
    message: *const kvreg_message,
    reply: *mut *mut kvreg_reply,
) -> kvreg_status {
    guard("kvreg_message_defer", || {
        // SAFETY: null or an output.
        let reply = unsafe { Out::new(reply, std::ptr::null_mut()) };
        crate::process::Process::starting()?;
        reply.required()?;
        // SAFETY: null, or a message that was initialised.
        let Some(given) = (unsafe { message.as_ref() }) else {
            return Err(invalid("a message is NULL"));
        };
        if given.private_[0] != 0 {
            let (server, pending) = turns::defer(given.self_, given.private_[1])?;
            return make(Deferred::new(server, pending), &reply);
        }
        let (server, pending) = handlers::defer(message)?;
        make(Deferred::new(server, pending), &reply)
    })
}

/// Gives another value with the same content, to be cleared by itself: a large text is shared. It
/// is how an argument of a message is kept. The answer is KVREG_INVALID_ARGUMENT for what is no
/// value. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_value_clone(
    value: *const kvreg_value,
    clone: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_value_clone", || {
        // SAFETY: null, or a value whose text is good for its length.
        let given = unsafe { value.as_ref() }.copied();
        // SAFETY: null or an output, which may be the value itself.
        let clone = unsafe { Out::new(clone, kvreg_value::NIL) };
        let given = given.ok_or_else(|| invalid("a value is NULL"))?;
        clone.required()?;
        // SAFETY: as above.
        clone.set(unsafe { given.another() }?);
        Ok(())
    })
}
