//! A real server of S3 on loopback, over a folder, for as long as it is held: it checks signatures, and puts with a condition.
//!
//! `s3s-fs` looks whether there is an object and then writes; between the two somebody else may have written. Here one put
//! is done after the other, as in every S3 that keeps its word.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};

/// Who is let in.
pub(crate) const KEYS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", "AKIDTEST"), ("AWS_SECRET_ACCESS_KEY", "a-secret-that-nobody-prints")];
/// The bucket that is there.
pub(crate) const BUCKET: &str = "letters";

/// Runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    _until: oneshot::Sender<()>,
}

impl Server {
    /// Keeps its objects in this folder. Without `conditional` it replaces whatever is there, as old servers do.
    pub(crate) fn start(folder: &Path, conditional: bool) -> Self {
        std::fs::create_dir_all(folder.join(BUCKET)).unwrap();
        let files = FileSystem::new(folder).unwrap();
        let folder = folder.to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        let (until, mut ended) = oneshot::channel();
        thread::spawn(move || {
            let mut service =
                S3ServiceBuilder::new(Files { files, folder, conditional, putting: Mutex::default() });
            service.set_auth(SimpleAuth::from_single(KEYS[0].1, KEYS[1].1));
            let service = service.build();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            let (stream, _) = accepted.unwrap();
                            let connection =
                                http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
                            // Whoever goes away goes away.
                            tokio::spawn(async move { drop(connection.await) });
                        }
                        _ = &mut ended => return,
                    }
                }
            });
        });
        Self { address: told.recv().unwrap(), _until: until }
    }

    /// `http://127.0.0.1:...`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[derive(Debug)]
struct Files {
    files: FileSystem,
    folder: PathBuf,
    conditional: bool,
    putting: Mutex<()>,
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

impl S3 for Files {
    fn put_object<'s, 'f>(&'s self, mut request: S3Request<PutObjectInput>) -> Answer<'f, PutObjectOutput>
    where
        's: 'f,
        Self: 'f,
    {
        if !self.conditional {
            request.input.if_none_match = None;
        }
        Box::pin(async move {
            let _one = self.putting.lock().await;
            // It would make the bucket.
            if !self.folder.join(&request.input.bucket).exists() {
                return Err(s3s::s3_error!(NoSuchBucket));
            }
            self.files.put_object(request).await
        })
    }

    fn get_object<'s, 'f>(&'s self, request: S3Request<GetObjectInput>) -> Answer<'f, GetObjectOutput>
    where
        's: 'f,
        Self: 'f,
    {
        self.files.get_object(request)
    }

    fn head_object<'s, 'f>(&'s self, request: S3Request<HeadObjectInput>) -> Answer<'f, HeadObjectOutput>
    where
        's: 'f,
        Self: 'f,
    {
        self.files.head_object(request)
    }

    fn delete_object<'s, 'f>(
        &'s self,
        request: S3Request<DeleteObjectInput>,
    ) -> Answer<'f, DeleteObjectOutput>
    where
        's: 'f,
        Self: 'f,
    {
        self.files.delete_object(request)
    }

    fn list_objects_v2<'s, 'f>(
        &'s self,
        request: S3Request<ListObjectsV2Input>,
    ) -> Answer<'f, ListObjectsV2Output>
    where
        's: 'f,
        Self: 'f,
    {
        self.files.list_objects_v2(request)
    }
}
