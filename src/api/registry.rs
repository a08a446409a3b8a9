//! Registries, as Rust programs have them.

use std::sync::Arc;

use super::Bucket;
use crate::bucket::BucketOptions;
use crate::error::Error;
use crate::process::Process;
use crate::reason::Reason;
use crate::reclaim;
use crate::registry::{check_name, RegistryInfo, RegistryOptions, RegistryServer, Supervisor};
use crate::server::Caller;
use crate::time::Timeout;

/// A handle to a registry. Clones lead to the same one; one without a name stops, with its
/// buckets, when the last of them is dropped. A registry that crashes comes back empty behind
/// its handles.
pub struct Registry {
    supervisor: Arc<Supervisor>,
    timeout: Timeout,
}

impl Registry {
    pub fn start() -> Result<Registry, Error> {
        Registry::start_with(RegistryOptions::default())
    }

    /// With a name that is taken: `AlreadyStarted`.
    pub fn start_with(options: RegistryOptions) -> Result<Registry, Error> {
        let around = Process::running()?.around_registries();
        Ok(Registry::of(Supervisor::start(around, options)?))
    }

    /// The registry of that name.
    pub fn whereis(name: &str) -> Result<Registry, Error> {
        let names = Process::running()?.registries().names();
        Ok(Registry::of(names.whereis(check_name(name)?)?))
    }

    pub(crate) fn of(supervisor: Arc<Supervisor>) -> Registry {
        supervisor.add_handle();
        Registry {
            supervisor,
            timeout: Timeout::DEFAULT,
        }
    }

    pub(crate) fn supervisor(&self) -> &Arc<Supervisor> {
        &self.supervisor
    }

    pub(crate) fn server(&self) -> Arc<RegistryServer> {
        self.supervisor.registry()
    }

    fn caller(&self) -> Caller<'static> {
        reclaim::tidy(); // of what earlier calls left
        Caller::new(self.timeout)
    }

    pub fn set_timeout(&mut self, timeout: Timeout) {
        self.timeout = timeout;
    }

    /// The bucket of that name, started if there is none.
    pub fn create(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, false, None)
    }

    /// The same; one that is started now has these options.
    pub fn create_with(&self, name: &str, options: BucketOptions) -> Result<Bucket, Error> {
        options.check()?;
        self.create_any(name, false, Some(options))
    }

    /// A new bucket, or `AlreadyStarted`.
    pub fn create_exclusive(&self, name: &str) -> Result<Bucket, Error> {
        self.create_any(name, true, None)
    }

    fn create_any(
        &self,
        name: &str,
        exclusive: bool,
        options: Option<BucketOptions>,
    ) -> Result<Bucket, Error> {
        let (mut caller, name) = (self.caller(), check_name(name)?);
        let server = self.server();
        let spec = options.map(|options| server.spec_of(options));
        let bucket = server.create(&mut caller, name, exclusive, spec)?;
        Ok(Bucket::of(bucket))
    }

    /// Ends the bucket of that name for good, whatever its restart option.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.server().remove(&mut self.caller(), check_name(name)?)
    }

    pub fn info(&self) -> Result<RegistryInfo, Error> {
        self.server().info(&mut self.caller())
    }

    /// Ends the registry at once, with its buckets. After KILLED and CRASHED it comes back
    /// empty behind its handles and its name.
    pub fn exit(&self, reason: Reason, detail: &str) -> Result<(), Error> {
        let exited = self.server().exit(reason, detail);
        reclaim::tidy();
        exited
    }

    pub fn create_cast(&self, name: &str) -> Result<(), Error> {
        self.server().create_cast(check_name(name)?)
    }

    pub fn lookup(&self, name: &str) -> Result<Bucket, Error> {
        let bucket = self
            .server()
            .lookup(&mut self.caller(), check_name(name)?)?;
        Ok(Bucket::of(bucket))
    }

    pub fn count(&self) -> Result<usize, Error> {
        self.server().count(&mut self.caller())
    }

    pub fn names(&self) -> Result<Vec<String>, Error> {
        self.server().names(&mut self.caller())
    }

    pub fn send(&self, message: &[u8]) -> Result<(), Error> {
        self.server().send(message)
    }

    /// Carries out one line of the text protocol; the reply is what a connection would get.
    pub fn execute(&self, line: &[u8]) -> Result<Vec<u8>, Error> {
        crate::protocol::execute(&self.server(), &mut self.caller(), line)
    }

    /// Ends the buckets, reason SHUTDOWN, then the registry; returns when all are gone.
    pub fn stop(&self) -> Result<(), Error> {
        let stopped = self.server().stop_all(&mut self.caller());
        reclaim::tidy();
        stopped
    }
}

impl Clone for Registry {
    fn clone(&self) -> Registry {
        let mut clone = Registry::of(Arc::clone(&self.supervisor));
        clone.timeout = self.timeout;
        clone
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.supervisor.drop_handle();
    }
}
