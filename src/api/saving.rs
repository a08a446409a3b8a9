//! Buckets as files, for Rust programs.

use std::path::Path;

use super::Bucket;
use crate::error::Error;

pub(super) fn text(path: &Path) -> Result<&str, Error> {
    let text = path.to_str();
    text.ok_or(Error::InvalidArgument("a path is UTF-8"))
}

impl Bucket {
    /// Writes all keys, as they are at one instant, into a file that takes the place of an old one
    /// when it is whole and on the disk. Blocks for the disk.
    ///
    /// ```
    /// let bucket = kvreg::Bucket::start()?;
    /// bucket.put("milk", 1)?;
    /// let path = std::env::temp_dir().join(format!("shopping-{}", std::process::id()));
    /// bucket.save(&path)?;
    ///
    /// let other = kvreg::Bucket::start()?;
    /// other.restore(&path)?;
    /// assert_eq!(other.get::<i64>("milk")?, 1);
    /// # std::fs::remove_file(path).unwrap();
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = text(path.as_ref())?;
        self.call(b"", |server, caller, _| server.save(caller, path))
    }

    /// Stores all keys of a file that [`save`](Bucket::save) wrote in a bucket that has none, else
    /// [`Error::Conflict`]: all or nothing, with new revisions in the saved order. [`Error::Io`] if
    /// the file is damaged. Blocks for the disk.
    pub fn restore(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = text(path.as_ref())?;
        self.change(b"", |server, caller, _| server.restore(caller, path))
    }
}
