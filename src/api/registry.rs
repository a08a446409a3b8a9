//! Registries, as Rust programs have them.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

use super::{check_inherited, told, Bucket};
use crate::bucket::BucketOptions;
use crate::error::Error;
use crate::process::{Ended, Process};
use crate::reason::Reason;
use crate::reclaim;
use crate::registry::{
    check_name, RegistryInfo, RegistryOptions, RegistryServer, Sort, Supervisor,
};
use crate::server::Caller;
use crate::time::Timeout;

/// A handle to a registry: a server that knows buckets by their names.
///
/// Clones lead to the same registry, each with a timeout of its own. One without a name stops, with
/// its buckets, when the last of them is dropped. A registry that crashes comes back empty behind
/// its handles.
///
/// ```
/// use kvreg::{Error, Registry};
///
/// let registry = Registry::start()?;
/// let shopping = registry.create("shopping")?;
/// shopping.put("milk", 1)?;
/// assert!(registry.lookup("shopping")?.is(&shopping));
/// for name in &registry {
///     println!("{name}");
/// }
/// shopping.stop()?;
/// assert_eq!(registry.lookup("shopping").err(), Some(Error::NotFound));
/// # Ok::<(), Error>(())
/// ```
pub struct Registry {
    supervisor: Arc<Supervisor>,
    timeout: Timeout,
}

impl Registry {
    /// Starts one without a name.
    pub fn start() -> Result<Registry, Error> {
        Registry::start_with(RegistryOptions::default())
    }

    /// Starts one with these options; with a name that is taken, [`Error::AlreadyStarted`].
    pub fn start_with(options: RegistryOptions) -> Result<Registry, Error> {
        let process = Process::starting()?;
        let supervisor = Supervisor::start(process.around_registries(), options)?;
        let registry = Registry::of(supervisor);
        process.note_started(Ended::First, &registry.supervisor)?;
        Ok(registry)
    }

    /// The registry of that name, whoever started it, in whatever language.
    ///
    /// ```
    /// use kvreg::{Error, Registry, RegistryOptions};
    ///
    /// assert_eq!(Registry::whereis("shop").err(), Some(Error::NotFound));
    /// let shop = Registry::start_with(RegistryOptions::new().name("shop"))?;
    /// shop.create("shopping")?;
    /// assert_eq!(Registry::whereis("shop")?.count()?, 1);
    /// # shop.stop()?;
    /// # Ok::<(), Error>(())
    /// ```
    pub fn whereis(name: &str) -> Result<Registry, Error> {
        let names = Process::running()?.registries().names();
        Ok(Registry::of(names.whereis(check_name(name)?)?))
    }

    fn of(supervisor: Arc<Supervisor>) -> Registry {
        supervisor.add_handle();
        Registry {
            supervisor,
            timeout: Process::default_timeout(),
        }
    }

    pub(super) fn supervisor(&self) -> Result<&Arc<Supervisor>, Error> {
        check_inherited(self.supervisor.around().system())?;
        Ok(&self.supervisor)
    }

    /// Makes a call on the registry that is there now.
    pub(super) fn call<R>(
        &self,
        work: impl FnOnce(&Arc<RegistryServer>, &mut Caller<'_>) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let supervisor = self.supervisor()?;
        reclaim::tidy(); // of what earlier calls left
        let mut caller = Caller::new(self.timeout);
        let done = work(&supervisor.registry(), &mut caller);
        told(supervisor.around().system(), done)
    }

    pub(super) fn server(&self) -> Result<Arc<RegistryServer>, Error> {
        Ok(self.supervisor()?.registry())
    }

    /// How long the calls of this handle may wait; 5 seconds unless it is told otherwise.
    pub fn set_timeout(&mut self, timeout: impl Into<Timeout>) {
        self.timeout = timeout.into();
    }

    /// The handle, with another timeout.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Timeout>) -> Registry {
        self.set_timeout(timeout);
        self
    }

    /// The timeout of this handle's calls.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// The bucket of that name, started if there is none.
    pub fn create(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, false, None)
    }

    /// The bucket of that name; one that is started now has these options.
    pub fn create_with(&self, name: &str, options: BucketOptions) -> Result<Bucket, Error> {
        options.check()?;
        self.create_any(name, false, Some(options))
    }

    /// A new bucket, or [`Error::AlreadyStarted`].
    pub fn create_exclusive(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, true, None)
    }

    fn create_any(
        &self,
        name: &str,
        exclusive: bool,
        options: Option<BucketOptions>,
    ) -> Result<Bucket, Error> {
        self.call(|server, caller| {
            let name = check_name(name)?;
            let spec = options.map(|options| server.spec_of(options));
            let bucket = server.create(caller, name, exclusive, spec)?;
            Ok(Bucket::of(bucket))
        })
    }

    /// Ends the bucket of that name for good, whatever its restart option.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.call(|server, caller| server.remove(caller, check_name(name)?))
    }

    /// As [`remove`](Registry::remove), of a bucket; and erases what a store keeps of it, so that the
    /// next bucket of that name is empty. Of a name that no bucket has it erases what the store of the
    /// registry's own bucket options keeps. [`Error::NotFound`] if there is neither.
    pub fn erase(&self, name: &str) -> Result<(), Error> {
        self.call(|server, caller| server.erase(caller, check_name(name)?))
    }

    /// What there is to know about it.
    pub fn info(&self) -> Result<RegistryInfo, Error> {
        self.call(|server, caller| server.info(caller))
    }

    /// Ends the registry at once, with its buckets. After KILLED and CRASHED it comes back
    /// empty behind its handles and its name.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        let exited = self.call(|server, _| server.exit(reason, detail));
        reclaim::tidy();
        exited
    }

    /// Sees to it that there is a bucket of that name, without waiting. Later calls of this
    /// thread find it.
    pub fn create_cast(&self, name: &str) -> Result<(), Error> {
        self.call(|server, _| server.create_cast(check_name(name)?))
    }

    /// The bucket of that name, or [`Error::NotFound`].
    pub fn lookup(&self, name: &str) -> Result<Bucket, Error> {
        self.call(|server, caller| {
            let bucket = server.lookup(caller, check_name(name)?)?;
            Ok(Bucket::of(bucket))
        })
    }

    /// How many buckets there are.
    pub fn count(&self) -> Result<usize, Error> {
        self.call(|server, caller| server.count(caller))
    }

    /// The names of all buckets, as they are at one instant. A loop over `&registry` goes over
    /// them too.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.call(|server, caller| server.names(caller, Sort::Bucket))
    }

    /// The name that it is registered under itself.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.supervisor.name()
    }

    /// Sends a message that nobody expects: it is logged at debug, and dropped.
    pub fn send(&self, message: impl AsRef<[u8]>) -> Result<(), Error> {
        self.call(|server, _| server.send(message.as_ref()))
    }

    /// Carries out one line of the text protocol; the reply is what a connection would get.
    ///
    /// ```
    /// let registry = kvreg::Registry::start()?;
    /// assert_eq!(registry.execute("CREATE shopping")?, b"OK\r\n");
    /// assert_eq!(registry.execute("PUT shopping milk 1")?, b"OK\r\n");
    /// assert_eq!(registry.execute("GET shopping milk")?, b"1\r\nOK\r\n");
    /// # Ok::<(), kvreg::Error>(())
    /// ```
    pub fn execute(&self, line: impl AsRef<[u8]>) -> Result<Vec<u8>, Error> {
        self.call(|server, caller| crate::protocol::execute(server, caller, line.as_ref()))
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.call(|server, caller| server.stop_all(caller));
        reclaim::tidy();
        stopped
    }

    /// Whether both are handles to the same registry.
    #[must_use]
    pub fn is(&self, other: &Registry) -> bool {
        Arc::ptr_eq(&self.supervisor, &other.supervisor)
    }
}

/// The names of a registry's buckets, as they were when the loop began.
#[derive(Clone, Debug)]
pub struct Names(std::vec::IntoIter<String>);

impl Iterator for Names {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Names {}

impl FusedIterator for Names {}

/// The names of all buckets at one instant. A registry that is gone has none;
/// [`names`](Registry::names) tells the two apart.
impl IntoIterator for &Registry {
    type Item = String;
    type IntoIter = Names;

    fn into_iter(self) -> Names {
        // For ever, though it is short: no user code runs in a registry. So an error is its end.
        let patient = self.clone().with_timeout(Timeout::Never);
        Names(patient.names().unwrap_or_default().into_iter())
    }
}

impl Clone for Registry {
    fn clone(&self) -> Registry {
        self.supervisor.add_handle();
        Registry {
            supervisor: Arc::clone(&self.supervisor),
            timeout: self.timeout,
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if self.supervisor.around().system().is_current() {
            self.supervisor.drop_handle();
        }
    }
}
