//! What a file has, by redb: a table for each bucket, of its keys and their records, and one of
//! this engine's own.
//!
//! That one has the last revision of each bucket, the format of all this, and the number of
//! commits: each transaction counts it up, so that after a failure it tells whether the transaction
//! is stored. Its name, and those of its rows which are no buckets, begin with NUL, as no bucket's
//! does.

use std::ops::Range;
use std::sync::Arc;

use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use crate::backend::{Backend, Fault, Trace};
use crate::batch::{Batch, Change};
use crate::disk::Disk;

const OWN: TableDefinition<&str, u64> = TableDefinition::new("\0kvreg");
const FORMAT: &str = "\0format";
const COMMITS: &str = "\0commits";

/// The format that is written, and the newest that is read.
const NEWEST: u64 = 1;

/// kvreg has all keys in memory: redb keeps no more than the pages above them, and what a commit is
/// about to write.
const CACHE: usize = 32 << 20;

fn table_of(bucket: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(bucket)
}

/// The keys of a bucket, and their records.
pub(crate) type Records = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// How a transaction is committed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Commit {
    /// With one sync. A file that is not closed after it is searched when it is opened again.
    Fast,
    /// With what opening needs, and two syncs.
    Reopening,
}

/// The database of a file that is open.
pub(crate) struct Contents {
    database: Database,
    trace: Arc<Trace>,
    /// How many transactions of this engine's are stored.
    pub(crate) commits: u64,
}

impl Contents {
    /// Opens what is there, and repairs what was not closed.
    pub(crate) fn open(disk: &Arc<Disk>) -> Result<Contents, redb::Error> {
        let backend = Backend::new(Arc::clone(disk));
        let trace = backend.trace();
        let mut builder = Database::builder();
        let database = builder.set_cache_size(CACHE).create_with_backend(backend)?;
        let commits = read_commits(&database)?;
        Ok(Contents {
            database,
            trace,
            commits,
        })
    }

    /// What the disk refused last.
    pub(crate) fn last_fault(&self) -> Option<Fault> {
        self.trace.last_fault()
    }

    /// Where was written since the last sync that went well.
    pub(crate) fn take_unsynced(&self) -> Vec<Range<u64>> {
        self.trace.take_unsynced()
    }

    /// Stores the batches, in their order, as one.
    pub(crate) fn store(&mut self, batches: &[Batch], commit: Commit) -> Result<(), redb::Error> {
        self.change(commit, |transaction| {
            batches.iter().try_for_each(|it| apply(transaction, it))?;
            Ok(true)
        })?;
        Ok(())
    }

    /// Takes out what there is of a bucket. `false`: there is nothing.
    pub(crate) fn erase(&mut self, bucket: &str) -> Result<bool, redb::Error> {
        self.change(Commit::Fast, |transaction| {
            let was_there = transaction.delete_table(table_of(bucket))?;
            let mut own = transaction.open_table(OWN)?;
            let had_revision = own.remove(bucket)?.is_some();
            Ok(was_there || had_revision)
        })
    }

    /// Makes changes in a transaction, which is dropped if they answer `false`.
    fn change(
        &mut self,
        commit: Commit,
        make: impl FnOnce(&WriteTransaction) -> Result<bool, redb::Error>,
    ) -> Result<bool, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_quick_repair(commit == Commit::Reopening);
        if !make(&transaction)? {
            transaction.abort()?;
            return Ok(false);
        }
        let mut own = transaction.open_table(OWN)?;
        if self.commits == 0 {
            own.insert(FORMAT, NEWEST)?;
        }
        own.insert(COMMITS, self.commits + 1)?;
        drop(own);
        transaction.commit()?;
        self.commits += 1;
        Ok(true)
    }

    /// The records of a bucket as they are now, if it has any, and its last revision.
    pub(crate) fn read(&self, bucket: &str) -> Result<(Option<Records>, u64), redb::Error> {
        let transaction = self.database.begin_read()?;
        let revision = match transaction.open_table(OWN) {
            Ok(own) => own.get(bucket)?.map_or(0, |it| it.value()),
            Err(TableError::TableDoesNotExist(_)) => 0,
            Err(error) => return Err(error.into()),
        };
        match transaction.open_table(table_of(bucket)) {
            Ok(records) => Ok((Some(records), revision)),
            Err(TableError::TableDoesNotExist(_)) => Ok((None, revision)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Makes sure that the file is of this engine.
fn read_commits(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_read()?;
    let foreign = |text: &str| Err(redb::Error::Corrupted(text.into()));
    match transaction.open_table(OWN) {
        Ok(own) => {
            let format = own.get(FORMAT)?.map_or(0, |it| it.value());
            if format == 0 || format > NEWEST {
                return foreign("it is of another version of kvreg");
            }
            Ok(own.get(COMMITS)?.map_or(0, |it| it.value()))
        }
        Err(TableError::TableDoesNotExist(_)) => {
            let mut tables = transaction.list_tables()?;
            let mut others = transaction.list_multimap_tables()?;
            match tables.next().is_none() && others.next().is_none() {
                true => Ok(0),
                false => foreign("it is not a file of kvreg's"),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn apply(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let bucket = &batch.lane.bucket;
    let mut table = transaction.open_table(table_of(bucket))?;
    for change in batch.changes() {
        match change {
            Change::Put { key, record } => drop(table.insert(key, record)?),
            Change::Delete { key } => drop(table.remove(key)?),
            Change::Clear => {
                // As a whole, which takes no key out by itself.
                drop(table);
                transaction.delete_table(table_of(bucket))?;
                table = transaction.open_table(table_of(bucket))?;
            }
        }
    }
    let mut own = transaction.open_table(OWN)?;
    let before = own.get(bucket.as_str())?.map_or(0, |it| it.value());
    own.insert(bucket.as_str(), before.max(batch.revision()))?;
    Ok(())
}
