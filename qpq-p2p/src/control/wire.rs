//! What travels over the socket: JSON of bounded length inside of RPC messages of bounded length.

use capnp::message::ReaderOptions;
use capnp_rpc::{RpcSystem, rpc_twoparty_capnp::Side, twoparty::VatNetwork};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use crate::failure::Failure;

/// The longest message that is read, in words of 8 bytes: no more is ever allocated for one.
const MESSAGE_WORDS: usize = 1024 * 1024;

/// Nothing of ours is nested deeper.
const NESTING: i32 = 32;

/// The longest request. Texts are sent in batches of 256 KiB and one more, which JSON can make six times as long.
pub(super) const REQUEST_MAX: usize = 4 * 1024 * 1024;

/// So much JSON is put into one page of events, and one more event.
pub(super) const PAGE_BYTES: usize = 512 * 1024;

/// So many events are in one page.
pub(super) const PAGE_EVENTS: usize = 64;

/// The other end sent what is none of ours, or too much of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("it is too long")]
    TooLong,
    #[error("it is not understood: {0}")]
    Json(#[from] serde_json::Error),
}

/// One request, event or failure as text.
pub(super) fn encode(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::unexpected("nothing was done", error))
}

/// serde_json itself refuses what is nested deeper than 128.
pub(super) fn decode<T: DeserializeOwned>(text: &[u8]) -> Result<T, WireError> {
    if text.len() > REQUEST_MAX {
        return Err(WireError::TooLong);
    }
    Ok(serde_json::from_slice(text)?)
}

/// RPC over one connection; `bootstrap` is what the other end gets to call.
pub(super) fn rpc(
    stream: UnixStream,
    side: Side,
    bootstrap: Option<capnp::capability::Client>,
) -> RpcSystem<Side> {
    let (read, write) = stream.into_split();
    let mut limits = ReaderOptions::new();
    limits.traversal_limit_in_words(Some(MESSAGE_WORDS));
    limits.nesting_limit(NESTING);
    let network = VatNetwork::new(read.compat(), write.compat_write(), side, limits);
    RpcSystem::new(Box::new(network), bootstrap)
}
