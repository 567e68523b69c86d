//! The tenant's directory as the only storage of a session, to read only.
//!
//! Every path is relative to `<tier>/tenant=<T>`, and a path cannot have `..`; there is nothing else that a session could open. A tenant
//! without a directory has an empty storage: it is not told whether there is one.
//!
//! Bound: [`MAX_FILES`] files are listed at once.

use std::fmt;
use std::ops::Range;
use std::path::Path as FsPath;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::error::DataFusionError;
use datafusion::execution::object_store::ObjectStoreRegistry;
use federation_proto::identity::TenantId;
use futures_util::stream::{self, BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result,
};

/// Files that one listing may find: a day of five-second files has 17,280.
pub(crate) const MAX_FILES: usize = 1_000_000;
/// What tables' addresses begin with. It names nothing outside this process.
pub(crate) const ADDRESS: &str = "tier://tenant/";
const NAME: &str = "tier";

/// A table has too many files to list.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_FILES} files would be looked at: name one day (WHERE day = '...')")]
pub(crate) struct TooManyFiles;

/// See the module.
#[derive(Debug)]
pub(crate) struct TenantStore {
    files: Arc<dyn ObjectStore>,
}

impl TenantStore {
    /// The storage of `tenant` in the tier at `tier`.
    ///
    /// # Errors
    /// If the directory is there and cannot be opened.
    pub(crate) fn open(tier: &FsPath, tenant: &TenantId) -> std::io::Result<Self> {
        let dir = tier.join(format!("tenant={tenant}"));
        if !dir.try_exists()? {
            return Ok(Self { files: Arc::new(InMemory::new()) });
        }
        Ok(Self { files: Arc::new(LocalFileSystem::new_with_prefix(dir)?) })
    }
}

impl fmt::Display for TenantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

fn read_only() -> Error {
    Error::NotSupported { source: "the tier is read only here".into() }
}

#[async_trait]
impl ObjectStore for TenantStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let bounded = |(at, file)| if at < MAX_FILES { file } else { Err(Error::Generic { store: NAME, source: Box::new(TooManyFiles) }) };
        self.files.list(prefix).take(MAX_FILES + 1).enumerate().map(bounded).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

/// The one storage of a session: whatever the address, it is the tenant's or none.
#[derive(Debug)]
pub(crate) struct OnlyTenant(pub(crate) Arc<TenantStore>);

impl ObjectStoreRegistry for OnlyTenant {
    fn register_store(&self, _: &url::Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &url::Url) -> datafusion::error::Result<Arc<dyn ObjectStore>> {
        if url.as_str().starts_with(ADDRESS) {
            return Ok(Arc::<TenantStore>::clone(&self.0));
        }
        Err(DataFusionError::Plan("only the tenant's tables can be read: SHOW TABLES lists them".to_owned()))
    }
}
