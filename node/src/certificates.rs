//! A folder of certificates: the authority's, the nodes', the clients'.
//!
//! `authority.pem` is what everybody needs; `authority.key` signs and belongs where certificates are made, not on
//! nodes; `node-ID.pem`, `node-ID.key`, `client-NAME.pem` and `client-NAME.key` belong to their holders alone.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use millstream_transport::identity::{ClusterAuthority, Credentials, IdentityError, NodeId};
use millstream_transport::world::{Clock, Random};

use crate::config::TlsFiles;

/// The client certificate that is made beside a new authority, and that the command line uses unless told.
pub const LOCAL_CLIENT: &str = "local";

/// Certificates that cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What is in the files cannot be used.
    #[error("{}: {error}", path.display())]
    Identity {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        error: IdentityError,
    },
    /// There is no certificate for this holder.
    #[error(
        "{} does not exist: make it with `millstream certs`, or name other files by tls.authority, tls.certificate and tls.key",
        path.display()
    )]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
}

/// A folder of certificates.
#[derive(Clone, Debug)]
pub struct CertificateFolder {
    path: PathBuf,
}

impl CertificateFolder {
    /// The folder at `path`; nothing is read or made yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder's authority; made, with a certificate for [`LOCAL_CLIENT`], where there is none.
    pub fn authority(&self, clock: &Clock, random: &Random) -> Result<ClusterAuthority, CertificateError> {
        let certificate = self.path.join("authority.pem");
        let key = self.path.join("authority.key");
        if certificate.exists() {
            return ClusterAuthority::load(&read(&certificate)?, &read(&key)?, clock, random)
                .map_err(|error| CertificateError::Identity { path: certificate, error });
        }
        fs::create_dir_all(&self.path)
            .map_err(|error| CertificateError::File { path: self.path.clone(), error })?;
        let authority = ClusterAuthority::create(clock, random)
            .map_err(|error| CertificateError::Identity { path: certificate.clone(), error })?;
        write(&key, authority.key_pem(), 0o600)?;
        write(&certificate, authority.certificate_pem(), 0o644)?;
        self.issue_client(&authority, LOCAL_CLIENT)?;
        Ok(authority)
    }

    /// Makes a node's certificate and key, over old ones.
    pub fn issue_node(
        &self,
        authority: &ClusterAuthority,
        node: NodeId,
        names: &[String],
    ) -> Result<(), CertificateError> {
        self.write_holder(&format!("node-{node}"), authority.issue_node(node, names))
    }

    /// Makes a client's certificate and key, over old ones.
    pub fn issue_client(&self, authority: &ClusterAuthority, name: &str) -> Result<(), CertificateError> {
        self.write_holder(&format!("client-{name}"), authority.issue_client(name))
    }

    fn write_holder(
        &self,
        stem: &str,
        issued: Result<Credentials, IdentityError>,
    ) -> Result<(), CertificateError> {
        let path = self.path.join(format!("{stem}.pem"));
        let credentials = issued.map_err(|error| CertificateError::Identity { path: path.clone(), error })?;
        write(&self.path.join(format!("{stem}.key")), credentials.key_pem(), 0o600)?;
        write(&path, credentials.certificate_pem(), 0o644)
    }

    /// The files of a node's certificate.
    #[must_use]
    pub fn node_files(&self, node: NodeId) -> TlsFiles {
        self.files(&format!("node-{node}"))
    }

    /// A client's certificate and key.
    pub fn client(&self, name: &str) -> Result<Credentials, CertificateError> {
        load(&self.files(&format!("client-{name}")))
    }

    fn files(&self, stem: &str) -> TlsFiles {
        TlsFiles {
            authority: self.path.join("authority.pem"),
            certificate: self.path.join(format!("{stem}.pem")),
            key: self.path.join(format!("{stem}.key")),
        }
    }
}

/// Reads a holder's certificate, key and authority.
pub fn load(files: &TlsFiles) -> Result<Credentials, CertificateError> {
    let authority = read(&files.authority)?;
    let certificate = read(&files.certificate)?;
    Credentials::from_pem(&authority, &certificate, &read(&files.key)?)
        .map_err(|error| CertificateError::Identity { path: files.certificate.clone(), error })
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => CertificateError::Missing { path: path.to_owned() },
        _ => CertificateError::File { path: path.to_owned(), error },
    })
}

/// Writes a new file beside the old one and puts it in its place, so that a stop in between leaves the old one whole.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let failed = |error| CertificateError::File { path: path.to_owned(), error };
    let fresh = path.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made() -> (tempfile::TempDir, CertificateFolder, ClusterAuthority) {
        let directory = tempfile::tempdir().unwrap();
        let folder = CertificateFolder::new(directory.path().join("certs"));
        let authority = folder.authority(&Clock::real(), &Random::real()).unwrap();
        (directory, folder, authority)
    }

    #[test]
    fn a_folder_keeps_its_authority() {
        let (_directory, folder, authority) = made();
        let again = folder.authority(&Clock::real(), &Random::real()).unwrap();
        assert_eq!(authority.cluster(), again.cluster());
    }

    #[test]
    fn a_node_and_the_local_client_are_of_one_cluster() {
        let (_directory, folder, authority) = made();
        folder.issue_node(&authority, NodeId(3), &["localhost".to_owned()]).unwrap();
        let node = load(&folder.node_files(NodeId(3))).unwrap();
        let client = folder.client(LOCAL_CLIENT).unwrap();
        assert_eq!(node.identity().cluster, client.identity().cluster);
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let (directory, _folder, _authority) = made();
        for key in ["authority.key", "client-local.key"] {
            let mode = fs::metadata(directory.path().join("certs").join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn a_missing_certificate_is_told_with_its_path_and_what_to_do() {
        let (_directory, folder, _authority) = made();
        let error = load(&folder.node_files(NodeId(9))).unwrap_err().to_string();
        assert!(error.contains("node-9.pem") && error.contains("millstream certs"), "{error}");
    }
}
