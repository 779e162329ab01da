//! Who a process is among those of its application.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::StreamsError;
use super::settings::{Guarantee, StreamsSettings};
use crate::client::{Client, GroupMetadata};

/// The file in an application's state directory that names its process, and that the process holds locked.
const FILE: &str = "process";

/// A process of an application.
#[derive(Debug)]
pub(super) struct Identity {
    /// The application.
    pub(super) group: Arc<str>,
    /// The name of the process.
    pub(super) instance: String,
    /// What it writes by, where it writes in transactions.
    pub(super) transactional_id: Option<String>,
    member: Mutex<(String, i32)>,
    /// The lock on its state directory, while it lives.
    _held: Option<File>,
}

impl Identity {
    /// As the settings have it; else as the state directory has it, which is locked; else a name that nobody has.
    pub(super) async fn take(
        client: &Client,
        application: &str,
        settings: &StreamsSettings,
    ) -> Result<Self, StreamsError> {
        let is_chosen = settings.instance.is_some();
        let name = settings.instance.clone().unwrap_or_else(|| client.world.random.uuid().to_string());
        let (instance, held) = match &settings.state_dir {
            None => (name, None),
            Some(directory) => {
                let directory = directory.join(application);
                let threads = &client.world.threads;
                let held = threads.run_blocking(move || hold(&directory, name, is_chosen)).await;
                held.map(|(instance, file)| (instance, Some(file)))?
            }
        };
        let is_exact = settings.guarantee == Guarantee::ExactlyOnce;
        Ok(Self {
            group: Arc::from(application),
            transactional_id: is_exact.then(|| format!("{application}-{instance}")),
            instance,
            member: Mutex::new((String::new(), -1)),
            _held: held,
        })
    }

    fn member(&self) -> MutexGuard<'_, (String, i32)> {
        self.member.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is this member of the group now.
    pub(super) fn is(&self, member: &str, epoch: i32) {
        *self.member() = (member.to_owned(), epoch);
    }

    /// It is no member any more: nothing that it commits is taken.
    pub(super) fn is_out(&self) {
        self.member().1 = 0;
    }

    /// As what it commits (KIP-447).
    pub(super) fn metadata(&self) -> GroupMetadata {
        let (member, member_epoch) = self.member().clone();
        GroupMetadata { member, member_epoch, ..GroupMetadata::without_member(&*self.group) }
    }
}

/// Locks an application's state directory, and reads or writes there which process it is of.
fn hold(directory: &Path, name: String, is_chosen: bool) -> Result<(String, File), StreamsError> {
    let path = directory.join(FILE);
    let failed = |error: std::io::Error| StreamsError::Failed(format!("{}: {error}", path.display()));
    fs::create_dir_all(directory).map_err(failed)?;
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(StreamsError::Failed(format!(
                "{} is in use by another process of the application: give each a state.dir of its own",
                directory.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut known = String::new();
    file.read_to_string(&mut known).map_err(failed)?;
    if !is_chosen && is_name(&known) {
        return Ok((known, file));
    }
    if known != name {
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(name.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    }
    Ok((name, file))
}

/// What a write that was cut short may leave is none.
fn is_name(known: &str) -> bool {
    known.len() == 36 && uuid::Uuid::parse_str(known).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(directory: &Path, name: &str, is_chosen: bool) -> (String, File) {
        hold(directory, name.to_owned(), is_chosen).expect("it is free")
    }

    #[test]
    fn a_process_is_again_who_it_was_in_its_directory() {
        let directory = tempfile::tempdir().expect("a directory");
        let first = uuid::Uuid::from_u128(7).to_string();
        drop(held(directory.path(), &first, false));
        let again = held(directory.path(), &uuid::Uuid::from_u128(8).to_string(), false);
        assert_eq!(again.0, first);
    }

    #[test]
    fn a_name_of_ones_choice_comes_before_the_one_that_was_drawn() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(held(directory.path(), &uuid::Uuid::from_u128(7).to_string(), false));
        assert_eq!(held(directory.path(), "mine", true).0, "mine");
    }

    #[test]
    fn half_a_name_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE), "0000").expect("it is written");
        let drawn = uuid::Uuid::from_u128(8).to_string();
        assert_eq!(held(directory.path(), &drawn, false).0, drawn);
        let written = fs::read_to_string(directory.path().join(FILE)).expect("it is there");
        assert_eq!(written, drawn);
    }

    #[test]
    fn a_directory_that_is_in_use_is_refused_with_what_to_do() {
        let directory = tempfile::tempdir().expect("a directory");
        let _held = held(directory.path(), "mine", true);
        let refused = hold(directory.path(), "yours".to_owned(), true).expect_err("it is in use");
        assert!(refused.to_string().contains("state.dir of its own"), "{refused}");
    }
}
