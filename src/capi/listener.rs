//! `kvreg_listener_*`.

use std::ffi::{c_char, CStr};
use std::time::Duration;

use super::argument::{bytes, invalid, limit, options, Out, WithSize};
use super::guard::guard;
use super::handles::{free, make};
use super::kinds::{kvreg_listener, kvreg_registry};
use super::object::{releasing, with};
use super::status::{kvreg_status, Failure};
use super::value::kvreg_value;
use crate::listener::{ListenerCore, ListenerOptions, Password};
use crate::value::{Text, Value};

/// The header's `kvreg_listener_options`. 0 stands for the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct kvreg_listener_options {
    size: u32,
    max_connections: u32,
    max_line: u64,
    max_backlog: u64,
    idle_timeout_ms: i64,
    unix_mode: u32,
    reserved: u32,
    password: *const c_char,
    password_len: usize,
}

// SAFETY: integers and a pointer, and the first is a u32.
unsafe impl WithSize for kvreg_listener_options {}

#[cfg(test)]
laid_out_as_in_c!(kvreg_listener_options {
    size,
    max_connections,
    max_line,
    max_backlog,
    idle_timeout_ms,
    unix_mode,
    reserved,
    password,
    password_len
});

/// # Safety
/// Null, or a struct of the size it tells, whose password is null or good.
unsafe fn listener_options(
    given: *const kvreg_listener_options,
) -> Result<ListenerOptions, Failure> {
    let default = ListenerOptions::default();
    // SAFETY: by contract.
    let given = unsafe { options(given) }?;
    let Some(given) = given else {
        return Ok(default);
    };
    let idle_timeout = match given.idle_timeout_ms {
        -1 => None,
        0 => default.idle_timeout,
        millis @ 1.. => Some(Duration::from_millis(millis as u64)),
        _ => return Err(invalid("a timeout is -1 or more")),
    };
    if given.reserved != 0 {
        return Err(invalid("a reserved field is not 0"));
    }
    let password = match given.password.is_null() && given.password_len == 0 {
        true => None,
        // SAFETY: by contract.
        false => Some(unsafe { bytes(given.password.cast(), given.password_len) }?),
    };
    Ok(ListenerOptions {
        max_connections: limit(given.max_connections.into(), default.max_connections),
        max_line: limit(given.max_line, default.max_line),
        max_backlog: limit(given.max_backlog, default.max_backlog),
        idle_timeout,
        password: password.map(Password::new).transpose()?,
        unix_mode: match given.unix_mode {
            0 => None,
            mode => Some(mode),
        },
    })
}

/// @name Listeners
///
/// Serves the text protocol (see the README) of a registry, on the library's threads, over TCP or
/// over a unix socket. `address` is NUL-terminated: "127.0.0.1:4040" or "[::1]:4040". A port alone
/// is on loopback; port 0 is any that is free; NULL is "127.0.0.1:4040". "unix:PATH" is a unix
/// socket: a file that only its owner can use unless `options` say otherwise. The file of a socket
/// at which nobody listens is replaced; any other file is KVREG_IO. The file is removed when the
/// listener stops, if it is still the listener's. A unix socket is KVREG_UNSUPPORTED on Windows.
/// `options` may be NULL.
///
/// The listener stops with its registry, and keeps it running as a handle does. The answer is
/// KVREG_IO if the system refuses, and kvreg_last_os_error tells why. Who can connect, and knows
/// the password if there is one, can change everything. Blocks for half a second at most, and only
/// if another process has the lock of the directory of a unix socket.
#[no_mangle]
pub unsafe extern "C" fn kvreg_listener_start(
    registry: *mut kvreg_registry,
    address: *const c_char,
    options: *const kvreg_listener_options,
    listener: *mut *mut kvreg_listener,
) -> kvreg_status {
    guard("kvreg_listener_start", || {
        // SAFETY: null or an output.
        let listener = unsafe { Out::new(listener, std::ptr::null_mut()) };
        with(registry, |registry, _| {
            listener.required()?;
            let address = match address.is_null() {
                true => "127.0.0.1:4040",
                // SAFETY: NUL-terminated.
                false => unsafe { CStr::from_ptr(address) }
                    .to_str()
                    .map_err(|_| invalid("a text is not UTF-8"))?,
            };
            // SAFETY: null or options.
            let options = unsafe { listener_options(options) }?;
            make(ListenerCore::start(registry, address, options)?, &listener)
        })
    })
}

/// Gives the address that the listener listens on, "127.0.0.1:4040" or "unix:PATH", as a
/// KVREG_STRING; clear it. It works after the listener's end too. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_listener_address(
    listener: *mut kvreg_listener,
    address: *mut kvreg_value,
) -> kvreg_status {
    guard("kvreg_listener_address", || {
        // SAFETY: null or an output.
        let address = unsafe { Out::new(address, kvreg_value::NIL) };
        with(listener, |listener, _| {
            address.required()?;
            let text = Text::copy(listener.address().to_string().as_bytes())?;
            address.set(kvreg_value::owned(Value::String(text))?);
            Ok(())
        })
    })
}

/// Stops listening and closes all connections. When it returns, the address is free. It does not
/// free the handle; to stop a listener again is fine. Blocks until the library's threads have done
/// so.
#[no_mangle]
pub unsafe extern "C" fn kvreg_listener_stop(listener: *mut kvreg_listener) -> kvreg_status {
    guard("kvreg_listener_stop", || {
        releasing(listener, |listener, caller| {
            caller.unpin();
            listener.stop();
            Ok(())
        })
    })
}

/// Frees the handle, and stops the listener without waiting for it. NULL is fine. Never blocks.
#[no_mangle]
pub unsafe extern "C" fn kvreg_listener_free(listener: *mut kvreg_listener) -> kvreg_status {
    guard("kvreg_listener_free", || free(listener))
}
