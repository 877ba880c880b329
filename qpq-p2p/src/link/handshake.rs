//! The first exchange on a link: the dialer's Hello, the other end's Hello, and a version both speak.

use std::{ops::RangeInclusive, time::Duration};

use iroh::endpoint::{Connection, ConnectionError, ReadExactError, RecvStream, SendStream, WriteError};
use qpq_core::{
    engine::Purpose,
    id::PeerId,
    invite::ChannelBinding,
    wire::{self, Bye, Frame, FrameError, Hello, LinkFrame},
};

use super::{CloseCode, HELLO_DEADLINE, rule::Candidate};
use crate::endpoint;

/// A Hello has 40 bytes today; a later version may add fields, not novels.
const HELLO_MAX: usize = 512;

/// How long a refusal may take to reach the other end.
const REFUSAL_LINGER: Duration = Duration::from_millis(300);

/// A stream whose both ends said Hello.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) connection: Connection,
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) peer: PeerId,
    pub(crate) dialed: bool,
    pub(crate) purpose: Purpose,
    pub(crate) candidate: Candidate,
    pub(crate) channel: ChannelBinding,
    /// Size of the peer's Hello.
    pub(crate) bytes_read: usize,
}

/// Who we are to a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    /// The own id.
    pub(crate) peer: PeerId,
    /// Drawn when the process started.
    pub(crate) session: [u8; 8],
}

/// The other side's version of qpq, where none of its protocol versions is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Generation {
    /// It knows only versions below ours.
    Older,
    /// It knows only versions above ours.
    Newer,
}

/// Why a connection did not become a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// The Hellos took longer than two seconds.
    #[error("the other side did not say Hello in time")]
    Timeout,
    /// The other side does not know us and waits for nobody.
    #[error("the other side does not talk to strangers")]
    NotAdmitted,
    /// The other side has too many strangers at once.
    #[error("the other side is busy")]
    Busy,
    /// There is no version of the protocol that both sides speak.
    #[error("the other side runs {} qpq", match .0 { Generation::Older => "an older", Generation::Newer => "a newer" })]
    Version(Generation),
    /// What came was no Hello.
    #[error("the other side did not begin with Hello")]
    NoHello,
    /// What came was no frame.
    #[error("the other side does not speak our protocol")]
    Frame(#[from] FrameError),
    /// The stream ended early.
    #[error("the stream ended")]
    Read(#[source] ReadExactError),
    /// The stream could not be written.
    #[error("the stream broke")]
    Write(#[source] WriteError),
    /// The connection ended.
    #[error("the connection ended")]
    Closed(#[source] ConnectionError),
    /// TLS could not export keying material.
    #[error("Bug(no channel binding)")]
    Channel,
}

impl From<ConnectionError> for HandshakeError {
    fn from(error: ConnectionError) -> Self {
        if CloseCode::Stranger.is_reason(&error) {
            Self::NotAdmitted
        } else if CloseCode::Busy.is_reason(&error) {
            Self::Busy
        } else {
            Self::Closed(error)
        }
    }
}

impl From<ReadExactError> for HandshakeError {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::ReadError(iroh::endpoint::ReadError::ConnectionLost(lost)) => lost.into(),
            error @ (ReadExactError::FinishedEarly(_) | ReadExactError::ReadError(_)) => Self::Read(error),
        }
    }
}

impl From<WriteError> for HandshakeError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(lost) => lost.into(),
            error @ (WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected) => {
                Self::Write(error)
            }
        }
    }
}

/// Opens the stream of a connection that this side dialled, and says Hello first.
pub(crate) async fn open(
    connection: Connection,
    own: Own,
    purpose: Purpose,
    now: impl Fn() -> Duration,
) -> Result<Opened, HandshakeError> {
    within_deadline(&connection, async {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(&own_hello(own, purpose)).await?;
        let (hello, bytes_read) = read_hello(&mut recv).await?;
        agree(&mut send, &hello).await?;
        opened(
            &connection,
            send,
            recv,
            own,
            Side {
                dialed: true,
                purpose,
                hello,
                bytes_read,
            },
            now(),
        )
    })
    .await
}

/// Takes the stream that the other side opens, and answers its Hello.
pub(crate) async fn accept(
    connection: Connection,
    own: Own,
    now: impl Fn() -> Duration,
) -> Result<Opened, HandshakeError> {
    within_deadline(&connection, async {
        let (mut send, mut recv) = connection.accept_bi().await?;
        let (hello, bytes_read) = read_hello(&mut recv).await?;
        let purpose = hello.purpose;
        send.write_all(&own_hello(own, purpose)).await?;
        agree(&mut send, &hello).await?;
        opened(
            &connection,
            send,
            recv,
            own,
            Side {
                dialed: false,
                purpose,
                hello,
                bytes_read,
            },
            now(),
        )
    })
    .await
}

struct Side {
    dialed: bool,
    purpose: Purpose,
    hello: Hello,
    bytes_read: usize,
}

fn opened(
    connection: &Connection,
    send: SendStream,
    recv: RecvStream,
    own: Own,
    side: Side,
    greeted: Duration,
) -> Result<Opened, HandshakeError> {
    let peer = endpoint::peer_of(connection);
    Ok(Opened {
        connection: connection.clone(),
        send,
        recv,
        peer,
        dialed: side.dialed,
        purpose: side.purpose,
        candidate: Candidate {
            dialed_by_smaller: side.dialed == (own.peer < peer),
            greeted,
            session: side.hello.session,
        },
        channel: endpoint::channel_binding(connection).ok_or(HandshakeError::Channel)?,
        bytes_read: side.bytes_read,
    })
}

/// A connection that did not become a link in time is closed.
async fn within_deadline(
    connection: &Connection,
    handshake: impl Future<Output = Result<Opened, HandshakeError>>,
) -> Result<Opened, HandshakeError> {
    let result = tokio::time::timeout(HELLO_DEADLINE, handshake)
        .await
        .unwrap_or(Err(HandshakeError::Timeout));
    if result.is_err() {
        CloseCode::Protocol.close(connection);
    }
    result
}

fn own_hello(own: Own, purpose: Purpose) -> Vec<u8> {
    Frame::Hello(Hello {
        min: *wire::VERSION.start(),
        max: *wire::VERSION.end(),
        features: 0,
        session: own.session,
        purpose,
    })
    .encode()
}

/// Goes on where a version is common; says Bye where none is.
async fn agree(send: &mut SendStream, hello: &Hello) -> Result<(), HandshakeError> {
    let Some(generation) = mismatch(hello, &wire::VERSION) else {
        return Ok(());
    };
    say_bye(send, Bye::Protocol).await;
    Err(HandshakeError::Version(generation))
}

pub(super) async fn read_hello(recv: &mut RecvStream) -> Result<(Hello, usize), HandshakeError> {
    let mut header = [0; wire::HEADER];
    recv.read_exact(&mut header).await?;
    let body = wire::body_len(&header)?;
    if body > HELLO_MAX {
        return Err(HandshakeError::NoHello);
    }
    let mut frame = header.to_vec();
    frame.resize(wire::HEADER + body, 0);
    if let Some(rest) = frame.get_mut(wire::HEADER..) {
        recv.read_exact(rest).await?;
    }
    match wire::link_frame(&frame)? {
        LinkFrame::Hello(hello) => Ok((hello, frame.len())),
        LinkFrame::Bye(_) | LinkFrame::Ping(_) | LinkFrame::Pong(_) | LinkFrame::Other => {
            Err(HandshakeError::NoHello)
        }
    }
}

/// Ends a stream that is not to become a link.
pub(crate) async fn turn_away(mut opened: Opened, reason: Bye) {
    let farewell = say_bye(&mut opened.send, reason);
    let _ = tokio::time::timeout(HELLO_DEADLINE, farewell).await;
    CloseCode::Done.close(&opened.connection);
}

/// Says Bye and gives it a moment to arrive.
async fn say_bye(send: &mut SendStream, reason: Bye) {
    if send.write_all(&Frame::Bye(reason).encode()).await.is_ok() && send.finish().is_ok() {
        let _ = tokio::time::timeout(REFUSAL_LINGER, send.stopped()).await;
    }
}

fn mismatch(hello: &Hello, ours: &RangeInclusive<u16>) -> Option<Generation> {
    if hello.min > *ours.end() {
        Some(Generation::Newer)
    } else if hello.max < *ours.start() {
        Some(Generation::Older)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_meet_or_one_side_is_older() {
        for (min, max, expected) in [
            (1, 1, Some(Generation::Older)),
            (1, 2, None),
            (2, 3, None),
            (3, 9, None),
            (4, 9, Some(Generation::Newer)),
        ] {
            let hello = Hello {
                min,
                max,
                features: 0,
                session: [0; 8],
                purpose: Purpose::Peer,
            };
            assert_eq!(mismatch(&hello, &(2..=3)), expected, "{min}..={max}");
        }
    }

    #[test]
    fn the_user_reads_which_side_is_behind() {
        let text = HandshakeError::Version(Generation::Older).to_string();
        assert_eq!(text, "the other side runs an older qpq");
    }
}
