//! Buckets as files, for those who use tokio: each on a thread of its own, as the disk takes its
//! time.

use std::path::Path;
use std::thread::Builder;

use tokio::sync::oneshot;

use super::Bucket;
use crate::error::Error;

async fn elsewhere(work: impl FnOnce() -> Result<(), Error> + Send + 'static) -> Result<(), Error> {
    let (reply, answer) = oneshot::channel();
    let thread = Builder::new().name("kvreg".to_owned());
    let spawned = thread.spawn(move || {
        let _ = reply.send(work()); // nobody waits for it if the future was dropped
    });
    spawned.map_err(|error| Error::io("starting a thread", &error))?;
    answer.await.unwrap_or(Err(Error::ServerDown))
}

impl Bucket {
    /// As [`kvreg::Bucket::save`](crate::Bucket::save). If the future is dropped it goes on.
    pub async fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (bucket, path) = (self.0.clone(), path.as_ref().to_owned());
        elsewhere(move || bucket.save(path)).await
    }

    /// As [`kvreg::Bucket::restore`](crate::Bucket::restore). If the future is dropped it goes on.
    pub async fn restore(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (bucket, path) = (self.0.clone(), path.as_ref().to_owned());
        elsewhere(move || bucket.restore(path)).await
    }
}
