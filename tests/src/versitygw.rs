//! A real S3 server as a process of its own: versitygw over a folder, where it is installed.
//!
//! `.ci/versitygw` installs it. It keeps what POSIX files have no place for in a folder beside them, so that it works on
//! file systems without extended attributes.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub use crate::s3::BUCKET;
use crate::s3::{ACCESS_KEY, SECRET_KEY, environment, options};

const NAME: &str = "versitygw";
const TRIES_MAX: usize = 600;
const TRY_EVERY: Duration = Duration::from_millis(50);

/// A running server with one bucket. It is killed when it is dropped.
#[derive(Debug)]
pub struct Versitygw {
    address: SocketAddr,
    child: Child,
    program: PathBuf,
}

impl Versitygw {
    /// Starts it over `root`. `None` where it is not installed, which is said loudly.
    pub fn start(root: &Path) -> io::Result<Option<Self>> {
        Self::launch(root, &[])
    }

    /// The same with users besides the administrator, and with buckets that keep versions and locks.
    pub fn start_shared(root: &Path) -> io::Result<Option<Self>> {
        let (users, versions) = (root.join("users"), root.join("versions"));
        std::fs::create_dir_all(&users)?;
        std::fs::create_dir_all(&versions)?;
        Self::launch(root, &[users, versions])
    }

    /// `shared`: where users and versions lie, or nothing.
    fn launch(root: &Path, shared: &[PathBuf]) -> io::Result<Option<Self>> {
        let Some(program) = find() else {
            crate::skip(
                "the real S3 server (versitygw)",
                "it is not installed; `.ci/versitygw` installs it where Go can be had",
            );
            return Ok(None);
        };
        let (data, beside) = (root.join("objects"), root.join("beside"));
        std::fs::create_dir_all(data.join(BUCKET))?;
        std::fs::create_dir_all(&beside)?;
        // Free now, and with luck still free in a moment: the server can't be asked which port it took.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(&program);
        command.args(["--quiet", "--port", &address.to_string()]);
        if let [users, _] = shared {
            command.arg("--iam-dir").arg(users);
        }
        command.args(["posix", "--sidecar"]).arg(&beside);
        if let [_, versions] = shared {
            command.arg("--versioning-dir").arg(versions);
        }
        let child = command
            .arg(&data)
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { address, child, program };
        server.wait_until_it_answers()?;
        Ok(Some(server))
    }

    fn wait_until_it_answers(&mut self) -> io::Result<()> {
        for _ in 0..TRIES_MAX {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("{NAME} ended: {status}")));
            }
            std::thread::sleep(TRY_EVERY);
        }
        Err(io::Error::other(format!("{NAME} does not answer on {}", self.address)))
    }

    /// Makes a user who may do what a bucket's policy allows.
    pub fn create_user(&self, name: &str, secret: &str) -> io::Result<()> {
        let endpoint = format!("http://{}", self.address);
        let made = Command::new(&self.program)
            .args(["admin", "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--endpoint-url", &endpoint])
            .args(["create-user", "--access", name, "--secret", secret, "--role", "user"])
            .output()?;
        if made.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()))
    }

    /// A store's URL in its bucket.
    #[must_use]
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// Settings of the client, as `StoreOptions::client` wants them.
    #[must_use]
    pub fn options(&self) -> BTreeMap<String, String> {
        options(self.address)
    }

    /// The same as environment variables for a process.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        environment(self.address)
    }
}

impl Drop for Versitygw {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// On the PATH, where `go install` puts it, or where `.ci/versitygw` puts it.
fn find() -> Option<PathBuf> {
    let folders =
        std::env::var_os("PATH").into_iter().flat_map(|p| std::env::split_paths(&p).collect::<Vec<_>>());
    let gobin = std::env::var_os("GOBIN").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join("go/bin"));
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(|root| root.join("target/tools"));
    folders.chain(gobin).chain(home).chain(ours).map(|folder| folder.join(NAME)).find(|path| path.is_file())
}
