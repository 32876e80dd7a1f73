//! An S3 server in the tests' own process, over a folder.
//!
//! `s3s-fs` looks whether an object exists and then writes it, so conditional puts race; every request that changes
//! something takes a lock here, which makes them atomic as they are on a real server. A [`Weather`] makes it slow, or
//! has it refuse.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, GetObjectInput,
    GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output,
    PutObjectInput, PutObjectOutput, Range,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};

/// Who may use the servers of the tests.
pub(crate) const ACCESS_KEY: &str = "holdfast-tests";
pub(crate) const SECRET_KEY: &str = "not a secret";
/// The bucket that they have.
pub const BUCKET: &str = "holdfast";

/// How the server treats its clients; may be changed at any time.
#[derive(Debug, Default)]
pub struct Weather {
    /// Every answer waits for so many milliseconds.
    pub delay_millis: AtomicU64,
    /// Of so many requests, one is served and the others are told to slow down; 0 and 1 serve all.
    pub served_one_in: AtomicU64,
    /// Conditions of puts are ignored, as some clones of S3 do.
    pub ignores_conditions: AtomicBool,
    turn: AtomicU64,
    puts: AtomicU64,
    gets: AtomicU64,
    refused: AtomicU64,
}

impl Weather {
    /// Puts that were served.
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Relaxed)
    }

    /// Gets that were served.
    pub fn gets(&self) -> u64 {
        self.gets.load(Ordering::Relaxed)
    }

    /// Requests that were told to slow down.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    async fn pass(&self, count: &AtomicU64) -> S3Result<()> {
        tokio::time::sleep(Duration::from_millis(self.delay_millis.load(Ordering::Relaxed))).await;
        let one_in = self.served_one_in.load(Ordering::Relaxed).max(1);
        if !(self.turn.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(one_in) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(s3_error!(SlowDown));
        }
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// A running server with one bucket. It stops when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    /// How it treats its clients.
    pub weather: Arc<Weather>,
    accepting: JoinHandle<()>,
}

impl S3Server {
    /// Starts on a free port of the loopback interface; the objects lie below `root`.
    pub async fn start(root: &Path) -> io::Result<Self> {
        Self::start_at(root, 0).await
    }

    /// Starts on this port: the one that an earlier server had, to play one that comes back.
    pub async fn start_at(root: &Path, port: u16) -> io::Result<Self> {
        std::fs::create_dir_all(root.join(BUCKET))?;
        let fs =
            FileSystem::new(root).map_err(|e| io::Error::other(format!("open {}: {e:?}", root.display())))?;
        let weather = Arc::<Weather>::default();
        let locked = Locked { fs, root: root.to_owned(), lock: Mutex::new(()), weather: weather.clone() };
        let mut builder = S3ServiceBuilder::new(locked);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, builder.build()));
        Ok(Self { address, weather, accepting })
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A store's URL in its bucket.
    #[must_use]
    pub fn url(&self, prefix: impl Display) -> String {
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

/// The client's settings for a server at this address.
pub(crate) fn environment(address: SocketAddr) -> Vec<(String, String)> {
    let settings = [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
    ];
    settings.map(|(name, value)| (name.to_owned(), value)).into()
}

/// The same as `StoreOptions::client` wants them.
pub(crate) fn options(address: SocketAddr) -> BTreeMap<String, String> {
    environment(address).into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // The connections belong to this task and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, service: S3Service) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                let service = service.clone();
                connections.spawn(async move {
                    // A client that hangs up is no failure of the server.
                    drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

impl Locked {
    /// Counts and delays a request for what is in a bucket; `s3s-fs` would make one that does not exist.
    async fn admit(&self, bucket: &str, count: &AtomicU64) -> S3Result<()> {
        self.weather.pass(count).await?;
        if self.root.join(bucket).is_dir() { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

struct Locked {
    fs: FileSystem,
    root: PathBuf,
    lock: Mutex<()>,
    weather: Arc<Weather>,
}

#[async_trait::async_trait]
impl S3 for Locked {
    async fn put_object(&self, mut req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.admit(&req.input.bucket, &self.weather.puts).await?;
        if self.weather.ignores_conditions.load(Ordering::Relaxed) {
            req.input.if_none_match = None;
        }
        let _one = self.lock.lock().await;
        self.fs.put_object(req).await
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let _one = self.lock.lock().await;
        self.fs.delete_object(req).await
    }

    async fn delete_objects(
        &self,
        req: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let _one = self.lock.lock().await;
        self.fs.delete_objects(req).await
    }

    async fn get_object(&self, mut req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.admit(&req.input.bucket, &self.weather.gets).await?;
        // `s3s-fs` panics on a range of an empty object, which S3 refuses, and fails on the last bytes of an object
        // that has fewer, for which S3 sends all of it.
        let path = self.root.join(&req.input.bucket).join(&req.input.key);
        let size = path.metadata().ok().filter(std::fs::Metadata::is_file).map(|data| data.len());
        if let (Some(range), Some(size)) = (&mut req.input.range, size) {
            if size == 0 {
                return Err(s3_error!(InvalidRange));
            }
            if let Range::Suffix { length } = range {
                *length = size.min(*length);
            }
        }
        self.fs.get_object(req).await
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.admit(&req.input.bucket, &self.weather.gets).await?;
        self.fs.head_object(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.admit(&req.input.bucket, &self.weather.gets).await?;
        self.fs.list_objects_v2(req).await
    }
}
