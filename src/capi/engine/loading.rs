//! Shared objects that are engines.

use std::ffi::{c_char, c_void, CStr, CString};

use super::abi::{self, kvreg_engine};
use super::explanation;
use crate::capi::argument::invalid;
use crate::capi::status::{kvreg_status, Failure, Status};
use crate::error::Error;

type AddFn = unsafe extern "C" fn(*const c_char, usize, *const kvreg_engine) -> kvreg_status;
type InitFn = unsafe extern "C" fn(u32, AddFn) -> kvreg_status;

const INIT: &CStr = c"kvreg_engine_init";

/// Loads one, which registers its engines.
pub(super) fn load(path: &str) -> Result<(), Failure> {
    let path = CString::new(path).map_err(|_| invalid("a path has no NUL"))?;
    let loaded = system::load(&path).map_err(|said| {
        explanation::keep(&said, 0);
        Failure::from(Error::Io {
            what: explanation::STORE,
            code: None,
        })
    })?;
    let Some(init) = system::symbol(loaded, INIT) else {
        let text = "the shared object is no engine: it has no kvreg_engine_init";
        return Err(Failure::new(Status::Unsupported, text));
    };
    // SAFETY: the header says what has that name.
    let init: InitFn = unsafe { std::mem::transmute::<*mut c_void, InitFn>(init) };
    // SAFETY: as the header says.
    match unsafe { init(abi::ABI, super::add) } {
        0 => Ok(()),
        status => Err(Status::from_number(status)
            .unwrap_or(Status::Unsupported)
            .into()),
    }
}

/// The engine of a scheme that comes with kvreg, where kvreg's own library is; that it is not there
/// is no error. A program that has more rights than who runs it loads none.
pub(super) fn load_own(scheme: &str) -> Result<(), Error> {
    if system::is_privileged() {
        return Ok(());
    }
    let Some(path) = system::beside(scheme) else {
        return Ok(());
    };
    match load(&path) {
        Ok(()) => Ok(()),
        Err(failure) if failure.status() == Status::AlreadyStarted => Ok(()),
        Err(failure) if failure.is_no_memory() => Err(Error::NoMemory),
        Err(failure) => {
            explanation::keep(&failure.to_string(), 0);
            Err(Error::Unsupported(explanation::ABILITY))
        }
    }
}

#[cfg(unix)]
mod system {
    use std::ffi::{c_void, CStr};
    use std::path::Path;

    pub(super) fn load(path: &CStr) -> Result<*mut c_void, String> {
        // SAFETY: the path ends with NUL; what is loaded stays.
        let loaded = unsafe {
            libc::dlopen(
                path.as_ptr(),
                libc::RTLD_NOW | libc::RTLD_LOCAL | libc::RTLD_NODELETE,
            )
        };
        if !loaded.is_null() {
            return Ok(loaded);
        }
        // SAFETY: of this thread's last call.
        let said = unsafe { libc::dlerror() };
        if said.is_null() {
            return Err("it cannot be loaded".to_owned());
        }
        // SAFETY: a text, until the next such call of this thread.
        Err(unsafe { CStr::from_ptr(said) }
            .to_string_lossy()
            .into_owned())
    }

    pub(super) fn symbol(loaded: *mut c_void, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a handle that `load` gave.
        let found = unsafe { libc::dlsym(loaded, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    /// It runs with the rights of others than who started it.
    pub(super) fn is_privileged() -> bool {
        #[cfg(target_os = "linux")]
        // SAFETY: asks the kernel's own facts.
        return unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
        #[cfg(not(target_os = "linux"))]
        // SAFETY: asks for numbers.
        return unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() };
    }

    /// The path of an engine beside kvreg's own library, if it is there.
    pub(super) fn beside(scheme: &str) -> Option<String> {
        let mut facts = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: the address of a function; the facts are written if the answer is not 0.
        let own = unsafe {
            let known = libc::dladdr(super::load as *const c_void, facts.as_mut_ptr());
            let name = facts.assume_init().dli_fname;
            (known != 0 && !name.is_null()).then(|| CStr::from_ptr(name))?
        };
        let folder = Path::new(own.to_str().ok()?).parent()?;
        let suffix = if cfg!(target_os = "macos") {
            "dylib"
        } else {
            "so"
        };
        let path = folder.join(format!("libkvreg_{scheme}.{suffix}"));
        path.exists().then(|| path.to_str().map(str::to_owned))?
    }
}

#[cfg(windows)]
mod system {
    use std::ffi::{c_char, c_void, CStr};
    use std::os::windows::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    extern "system" {
        fn LoadLibraryW(name: *const u16) -> *mut c_void;
        fn GetProcAddress(module: *mut c_void, name: *const c_char) -> *mut c_void;
        fn GetModuleHandleExW(flags: u32, address: *const c_void, module: *mut *mut c_void) -> i32;
        fn GetModuleFileNameW(module: *mut c_void, name: *mut u16, len: u32) -> u32;
    }

    /// By an address within it, and without a count.
    const FROM_ADDRESS: u32 = 4 | 2;

    const LONGEST: usize = 32_768;

    fn wide(text: &std::ffi::OsStr) -> Vec<u16> {
        text.encode_wide().chain([0]).collect()
    }

    pub(super) fn load(path: &CStr) -> Result<*mut c_void, String> {
        let path = path.to_str().map_err(|_| "a path is no text".to_owned())?;
        // SAFETY: the path ends with NUL; what is loaded stays.
        let loaded = unsafe { LoadLibraryW(wide(path.as_ref()).as_ptr()) };
        match loaded.is_null() {
            true => Err(std::io::Error::last_os_error().to_string()),
            false => Ok(loaded),
        }
    }

    pub(super) fn symbol(loaded: *mut c_void, name: &CStr) -> Option<*mut c_void> {
        // SAFETY: a handle that `load` gave.
        let found = unsafe { GetProcAddress(loaded, name.as_ptr()) };
        (!found.is_null()).then_some(found)
    }

    pub(super) fn is_privileged() -> bool {
        false
    }

    /// The path of an engine beside kvreg's own library, if it is there.
    pub(super) fn beside(scheme: &str) -> Option<String> {
        let mut name = vec![0u16; LONGEST];
        // SAFETY: the address of a function; the name has room for what is told.
        let len = unsafe {
            let mut module = std::ptr::null_mut();
            let address = super::load as *const c_void;
            if GetModuleHandleExW(FROM_ADDRESS, address, &mut module) == 0 {
                return None;
            }
            GetModuleFileNameW(module, name.as_mut_ptr(), LONGEST as u32)
        };
        let own = PathBuf::from(std::ffi::OsString::from_wide(&name[..len as usize]));
        let path = own.parent()?.join(format!("kvreg_{scheme}.dll"));
        path.exists().then(|| path.to_str().map(str::to_owned))?
    }
}
