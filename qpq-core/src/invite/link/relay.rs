//! Where an inviter has a mailbox, as a link says it: bytes that are checked, and nothing that is done with them.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::LinkError;

/// No relay: the link works on the local network only.
pub(super) const NONE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;
const NAME: u8 = b'n';
/// The longest host name for which the QR code stays at version 6.
const NAME_MAX: usize = 31;

/// A relay, pinned by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayHint {
    /// The public key it must show.
    pub key: [u8; 32],
    /// Where it is.
    pub address: RelayAddress,
    /// Its port; links with port 0 are refused.
    pub port: std::num::NonZeroU16,
}

/// Where a relay is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayAddress {
    /// By IPv4.
    V4(Ipv4Addr),
    /// By IPv6.
    V6(Ipv6Addr),
    /// To be looked up.
    Name(RelayName),
}

/// A host name in its one form: 1..=31 of `a-z 0-9 - .`, without empty labels, not all digits at its end (that
/// would be an address), no dash at either end of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayName(String);

impl RelayName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for RelayName {
    type Error = LinkError;

    fn try_from(name: &str) -> Result<Self, LinkError> {
        let label = |label: &str| {
            let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !label.is_empty() && label.chars().all(known) && !label.starts_with('-') && !label.ends_with('-')
        };
        let top = name.rsplit('.').next().unwrap_or_default();
        let is_number = top.chars().all(|c| c.is_ascii_digit());
        if name.len() > NAME_MAX || is_number || !name.split('.').all(label) {
            return Err(LinkError::Damaged);
        }
        Ok(Self(name.to_owned()))
    }
}

impl RelayHint {
    /// Appends kind, key, address and port.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        to.push(match self.address {
            RelayAddress::V4(_) => V4,
            RelayAddress::V6(_) => V6,
            RelayAddress::Name(_) => NAME,
        });
        to.extend_from_slice(&self.key);
        match &self.address {
            RelayAddress::V4(address) => to.extend_from_slice(&address.octets()),
            RelayAddress::V6(address) => to.extend_from_slice(&address.octets()),
            RelayAddress::Name(name) => to.extend_from_slice(name.0.as_bytes()),
        }
        to.extend_from_slice(&self.port.get().to_be_bytes());
    }
}

/// Reads what stands behind the kind; all of it must be used.
pub(super) fn read(kind: u8, bytes: &[u8]) -> Result<Option<RelayHint>, LinkError> {
    if kind == NONE {
        return if bytes.is_empty() {
            Ok(None)
        } else {
            Err(LinkError::Damaged)
        };
    }
    let (key, rest) = bytes.split_first_chunk().ok_or(LinkError::Damaged)?;
    let (address, port) = rest.split_last_chunk().ok_or(LinkError::Damaged)?;
    let port = std::num::NonZeroU16::new(u16::from_be_bytes(*port)).ok_or(LinkError::Damaged)?;
    let address = match kind {
        V4 => RelayAddress::V4(octets::<4>(address)?.into()),
        V6 => RelayAddress::V6(octets::<16>(address)?.into()),
        NAME => {
            let name = str::from_utf8(address).map_err(|_| LinkError::Damaged)?;
            RelayAddress::Name(name.try_into()?)
        }
        _ => return Err(LinkError::Newer),
    };
    Ok(Some(RelayHint {
        key: *key,
        address,
        port,
    }))
}

fn octets<const N: usize>(bytes: &[u8]) -> Result<[u8; N], LinkError> {
    bytes.try_into().map_err(|_| LinkError::Damaged)
}
