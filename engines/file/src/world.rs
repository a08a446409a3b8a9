//! The table of open files, and the thread that stores what waits: a process's own.
//!
//! # The argument
//!
//! A file is in the table from before it is opened until after it is closed, so nobody else of this
//! process opens it meanwhile: who wants it finds it there, counts itself as a user, and waits for
//! its turn, in which it is opened if it is not. Who was the last user closes it in its turn,
//! unless there is a user again, and takes it out of the table if there is none even then. The
//! table's lock is taken within a turn, and never the other way round; it is held for no longer
//! than a look.
//!
//! A child of a fork has none of the parent's threads, and may have any of its locks taken for
//! ever: `forked` has it begin with a world of its own, and never look at the parent's, which is
//! leaked.

use std::path::Path;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, ptr};

use crate::abi;
use crate::failure::Failure;
use crate::file::{lock, File, IsLate};
use crate::location;
use crate::ticker::Ticker;

struct Place {
    file: Arc<File>,
    /// The registry whose buckets use it.
    owner: u64,
    users: usize,
}

pub(crate) struct World {
    files: Mutex<Vec<Place>>,
    pub(crate) ticker: Ticker,
}

static WORLD: AtomicPtr<World> = AtomicPtr::new(ptr::null_mut());

/// That of this process.
pub(crate) fn world() -> &'static World {
    let there = WORLD.load(Ordering::Acquire);
    let chosen = match there.is_null() {
        false => there,
        true => {
            let made = Box::into_raw(Box::new(World {
                files: Mutex::default(),
                ticker: Ticker::default(),
            }));
            let null = ptr::null_mut();
            match WORLD.compare_exchange(null, made, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => made,
                Err(first) => {
                    // SAFETY: made above, and seen by nobody.
                    drop(unsafe { Box::from_raw(made) });
                    first
                }
            }
        }
    };
    // SAFETY: made by `Box::into_raw`, and never freed once it was there.
    unsafe { &*chosen }
}

/// This is a child of a fork. Stores a pointer, and nothing else.
#[cfg(unix)]
pub(crate) fn forked() {
    WORLD.store(ptr::null_mut(), Ordering::Release);
}

/// The use of a file, which is open.
pub(crate) struct Lease {
    world: &'static World,
    pub(crate) file: Arc<File>,
}

impl Lease {
    /// Opens the file, or shares one that is open for this owner. `KVREG_NOT_FOUND` if it is not
    /// there, and not to be made.
    pub(crate) fn new(
        path: &Path,
        owner: u64,
        creates: bool,
        is_late: IsLate<'_>,
    ) -> Result<Lease, Failure> {
        let path = location::canonical(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if !creates => {
                Failure::new(abi::NOT_FOUND, format!("{}: {error}", path.display()))
            }
            _ => Failure::of_system(path, &error),
        })?;
        let lease = world().use_file(&path, owner)?;
        lease.file.open(creates, is_late)?;
        Ok(lease)
    }
}

impl World {
    fn use_file(&'static self, path: &Path, owner: u64) -> Result<Lease, Failure> {
        let mut files = lock(&self.files);
        let file = match files.iter_mut().find(|it| it.file.path == path) {
            Some(place) if place.users > 0 && place.owner != owner => {
                let text = format!("{}: another registry has the file", path.display());
                return Err(Failure::io(text));
            }
            Some(place) => {
                place.owner = owner;
                place.users += 1;
                Arc::clone(&place.file)
            }
            None => {
                let file = Arc::new(File::new(path.to_owned()));
                files.push(Place {
                    file: Arc::clone(&file),
                    owner,
                    users: 1,
                });
                file
            }
        };
        Ok(Lease { world: self, file })
    }

    /// The files, for who stores what waits.
    pub(crate) fn files(&self) -> Vec<Arc<File>> {
        let files = lock(&self.files);
        files.iter().map(|it| Arc::clone(&it.file)).collect()
    }

    #[cfg(test)]
    pub(crate) fn hold_files(&self) -> impl Drop + '_ {
        lock(&self.files)
    }

    /// One user less. Answers how many there are.
    fn leave(&self, file: &Arc<File>) -> usize {
        let mut files = lock(&self.files);
        let place = files.iter_mut().find(|it| Arc::ptr_eq(&it.file, file));
        place.map_or(0, |place| {
            place.users -= 1;
            place.users
        })
    }

    fn is_unused(&self, file: &Arc<File>) -> bool {
        let files = lock(&self.files);
        let place = files.iter().find(|it| Arc::ptr_eq(&it.file, file));
        place.is_some_and(|place| place.users == 0)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (world, file) = (self.world, &self.file);
        if world.leave(file) > 0 {
            return;
        }
        file.close(|| world.is_unused(file));
        lock(&world.files).retain(|it| it.users > 0 || !Arc::ptr_eq(&it.file, file));
    }
}
