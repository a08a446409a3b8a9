//! URLs of stores: `file:PATH?sync=always` or `?sync=interval`.

use std::io;
use std::path::{Path, PathBuf};

use crate::abi;
use crate::failure::Failure;

pub(crate) const SCHEME: &str = "file";

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sync {
    /// Before the write answers.
    Always,
    /// Within a second.
    Interval,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Location {
    pub(crate) path: PathBuf,
    pub(crate) sync: Sync,
}

fn invalid(text: &str) -> Failure {
    Failure::new(abi::INVALID_ARGUMENT, text)
}

impl Location {
    pub(crate) fn parse(url: &[u8]) -> Result<Location, Failure> {
        let rest = url
            .strip_prefix(SCHEME.as_bytes())
            .and_then(|rest| rest.strip_prefix(b":"))
            .ok_or_else(|| invalid("the URL does not begin with file:"))?;
        let mut parts = rest.splitn(2, |byte| *byte == b'?');
        let path = parts.next().unwrap_or_default();
        let sync = parts.next().map_or(Ok(Sync::Always), parse_parameters)?;
        if path.is_empty() {
            return Err(invalid("file: has no path"));
        }
        if path.contains(&0) {
            return Err(invalid("the path of file: has a NUL"));
        }
        let path = to_path(path).ok_or_else(|| invalid("the path of file: is not UTF-8"))?;
        Ok(Location { path, sync })
    }
}

fn parse_parameters(parameters: &[u8]) -> Result<Sync, Failure> {
    match parameters {
        b"sync=always" => Ok(Sync::Always),
        b"sync=interval" => Ok(Sync::Interval),
        _ => Err(invalid(
            "file: has one parameter, sync=always or sync=interval",
        )),
    }
}

#[cfg(unix)]
fn to_path(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn to_path(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}

/// The one path of a file, which need not be there; its folder must be.
pub(crate) fn canonical(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(error)?;
            let folder = match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            Ok(folder.canonicalize()?.join(name))
        }
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_a_path_and_when_to_sync() {
        let parsed = |url: &str| Location::parse(url.as_bytes()).map(|it| (it.path, it.sync));
        for (url, path, sync) in [
            ("file:a", "a", Sync::Always),
            ("file:/tmp/a b", "/tmp/a b", Sync::Always),
            ("file:///tmp/x?sync=always", "///tmp/x", Sync::Always),
            ("file:../x?sync=interval", "../x", Sync::Interval),
        ] {
            assert_eq!(parsed(url).unwrap(), (PathBuf::from(path), sync), "{url}");
        }
        for url in [
            "file:",
            "file",
            "files:x",
            "file:?sync=always",
            "file:a\0b",
            "file:a?",
            "file:a?sync=",
            "file:a?sync=never",
            "file:a?sync=always&unknown=1",
            "file:a?sync=always&sync=always",
            "file:a?unknown=1",
        ] {
            let failure = parsed(url).expect_err(url);
            assert_eq!(failure.status, abi::INVALID_ARGUMENT, "{url}");
            assert!(!failure.text.is_empty() && !failure.text.ends_with('.'));
        }
    }

    #[test]
    fn a_file_has_one_path() {
        let folder = std::env::temp_dir();
        let name = format!("kvreg-file-none-{}", std::process::id());
        let straight = canonical(&folder.join(&name)).unwrap();
        assert_eq!(canonical(&folder.join(".").join(&name)).unwrap(), straight);
        assert!(canonical(&folder.join(&name).join("x")).is_err());
    }
}
