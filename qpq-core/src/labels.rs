//! The one table of labels that keep one use of a key apart from every other.
//!
//! Two names, older than the rest, bind the wire and stored state: they are never renamed. Everything else
//! begins with `qpq ` and ends with its version. Labels hold no zero byte, so that a zero byte ends them.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*

        #[cfg(test)]
        const CONSTANTS: &[&str] = &[$($text),*];
    };
}

labels! {
    /// ALPN between peers. Versions are negotiated inside of it, by Hello.
    P2P_ALPN = "quicnprotochat/p2p/1";
    /// HPKE `info` (RFC 9180 §5.1) of sealed envelopes.
    ENVELOPE = "quicnprotochat-hybrid-v1";
    /// ALPN between a client and its relay.
    RELAY_ALPN = "capnp";
    /// Server name that every relay answers to: it tells an observer nothing.
    RELAY_SERVER_NAME = "relay";
    /// MLS exporter (RFC 9420 §8.5) that names an epoch.
    EPOCH_ID = "qpq epoch id v1";
    /// Hash that ranks the authors of concurrent Commits.
    RANK = "qpq rank v1";
    /// HKDF `info`: the password of SPAKE2 from a spoken code.
    CODE_PASSWORD = "qpq code v1";
    /// TLS exporter (RFC 8446 §7.5) that names one connection.
    CODE_CHANNEL = "qpq code channel v1";
    /// HMAC by which the joiner proves that it knows the code.
    CODE_JOINER = "qpq code joiner v1";
    /// HMAC by which the inviter proves that it knows the code.
    CODE_INVITER = "qpq code inviter v1";
    /// HKDF `info`: what the two ends of an invite by link call it.
    LINK_ID = "qpq link id v1";
    /// HKDF `info`: the key of the proofs that a link is known.
    LINK_PROOF = "qpq link proof v1";
    /// HKDF `info`: the key by which a link's holder recognises its inviter on a local network.
    LINK_LAN = "qpq link lan v1";
    /// HMAC by which the joiner proves, on one connection, that it knows the link.
    LINK_JOINER = "qpq link joiner v1";
    /// HMAC by which the inviter proves, on one connection, that it made the link.
    LINK_INVITER = "qpq link inviter v1";
    /// HMAC by which a request to be a contact proves that its sender knows the link, on whatever way it comes.
    REQUEST_PROOF = "qpq proof v1";
    /// Hash behind the safety number of two people.
    SAFETY_NUMBER = "qpq safety number v1";
    /// HKDF `info`: the key of a vault without a passphrase, from its salt.
    VAULT_OPEN_KEY = "qpq vault open key v1";
}

macro_rules! contexts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// What a signature by an identity is for. A signature for one use verifies in no other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Context {
            $($(#[$doc])* $name,)*
        }

        impl Context {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The label that the signed bytes begin with.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

contexts! {
    /// A member took part in a Commit.
    Ack = "qpq ack v1";
    /// Where a member stands in a group, and what it has.
    Head = "qpq head v1";
    /// A member wants to be removed.
    Leave = "qpq leave v1";
    /// A member wants to be added again.
    Rejoin = "qpq rejoin v1";
    /// How to reach a member.
    Card = "qpq card v1";
    /// What an invite by link says about its inviter.
    Invite = "qpq invite v1";
    /// A frame inside of a sealed envelope.
    Mail = "qpq mail v1";
    /// Which messages of a stream a member has.
    AppAck = "qpq appack v1";
    /// Somebody who asks is no member.
    NotMember = "qpq notmember v1";
    /// A KeyPackage published on a relay.
    KeyPackage = "qpq keypackage v1";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> Vec<&'static str> {
        CONSTANTS
            .iter()
            .copied()
            .chain(Context::ALL.iter().map(|context| context.label()))
            .collect()
    }

    #[test]
    fn labels_are_distinct() {
        assert_eq!(all().iter().collect::<BTreeSet<_>>().len(), all().len());
    }

    #[test]
    fn ours_begin_with_the_project_and_end_with_a_version() {
        for label in all() {
            if [P2P_ALPN, ENVELOPE, RELAY_ALPN, RELAY_SERVER_NAME].contains(&label) {
                continue;
            }
            let (name, version) = label.rsplit_once(" v").unwrap_or_default();
            assert!(name.starts_with("qpq ") && name.len() > 4, "{label}");
            assert!(
                !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()),
                "{label}"
            );
            assert!(
                name.bytes().all(|b| b == b' ' || b.is_ascii_lowercase()),
                "{label}"
            );
        }
    }

    #[test]
    fn the_names_that_bind_the_wire_stay() {
        assert_eq!(P2P_ALPN, "quicnprotochat/p2p/1");
        assert_eq!(ENVELOPE, "quicnprotochat-hybrid-v1");
    }
}
