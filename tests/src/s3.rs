//! An S3 server in the tests' own process, over a folder.
//!
//! `s3s-fs` looks whether an object exists and then writes it, so conditional puts race; every request that changes
//! something takes a lock here, which makes them atomic as they are on a real server.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

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

const ACCESS_KEY: &str = "holdfast-tests";
const SECRET_KEY: &str = "not a secret";
const BUCKET: &str = "holdfast";

/// A running server with one bucket. It stops when it is dropped.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
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
        let mut builder = S3ServiceBuilder::new(Locked { fs, root: root.to_owned(), lock: Mutex::new(()) });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, builder.build()));
        Ok(Self { address, accepting })
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
        self.environment().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
    }

    /// The same as environment variables for a process.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let settings = [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ];
        settings.map(|(name, value)| (name.to_owned(), value)).into()
    }
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

struct Locked {
    fs: FileSystem,
    root: PathBuf,
    lock: Mutex<()>,
}

#[async_trait::async_trait]
impl S3 for Locked {
    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
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
        self.fs.head_object(req).await
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.fs.list_objects_v2(req).await
    }
}
