//! What openmls costs alone: two members, their state in memory, the settings of our groups.

use ed25519_dalek::{Signer as _, SigningKey};
use openmls::prelude::{tls_codec::Deserialize as _, *};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::{Signer, SignerError};

const CIPHERSUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519;

struct Key(SigningKey);

impl Signer for Key {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign(payload).to_bytes().to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

struct Member {
    provider: OpenMlsRustCrypto,
    key: Key,
}

impl Member {
    fn new(seed: u8) -> Self {
        Self {
            provider: OpenMlsRustCrypto::default(),
            key: Key(SigningKey::from_bytes(&[seed; 32])),
        }
    }

    fn credential(&self) -> CredentialWithKey {
        let key = self.key.0.verifying_key().to_bytes().to_vec();
        CredentialWithKey {
            credential: BasicCredential::new(key.clone()).into(),
            signature_key: key.into(),
        }
    }
}

/// A group of two.
pub(crate) struct Plain {
    anna: Member,
    ben: Member,
    hers: MlsGroup,
    his: MlsGroup,
}

impl Plain {
    pub(crate) fn new() -> Self {
        let (anna, ben) = (Member::new(1), Member::new(2));
        let package = KeyPackage::builder()
            .build(CIPHERSUITE, &ben.provider, &ben.key, ben.credential())
            .unwrap();
        let config = MlsGroupCreateConfig::builder()
            .ciphersuite(CIPHERSUITE)
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .padding_size(64)
            .sender_ratchet_configuration(SenderRatchetConfiguration::new(64, 2_000))
            .build();
        let mut hers = MlsGroup::new(&anna.provider, &anna.key, &config, anna.credential()).unwrap();
        let (_, welcome, _) = hers
            .add_members(&anna.provider, &anna.key, &[package.key_package().clone()])
            .unwrap();
        hers.merge_pending_commit(&anna.provider).unwrap();
        let welcome = MlsMessageIn::tls_deserialize_exact(welcome.to_bytes().unwrap()).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = welcome.extract() else {
            unreachable!("a Welcome");
        };
        let his = StagedWelcome::new_from_welcome(&ben.provider, config.join_config(), welcome, None)
            .unwrap()
            .into_group(&ben.provider)
            .unwrap();
        Self { anna, ben, hers, his }
    }

    /// An MLSMessage with so many bytes of text.
    pub(crate) fn seal(&mut self, text: &[u8]) -> Vec<u8> {
        self.hers
            .create_message(&self.anna.provider, &self.anna.key, text)
            .unwrap()
            .to_bytes()
            .unwrap()
    }

    /// The text of one.
    pub(crate) fn open(&mut self, message: &[u8]) -> Vec<u8> {
        let message = MlsMessageIn::tls_deserialize_exact(message).unwrap();
        let message = message.try_into_protocol_message().unwrap();
        let opened = self.his.process_message(&self.ben.provider, message).unwrap();
        match opened.into_content() {
            ProcessedMessageContent::ApplicationMessage(message) => message.into_bytes(),
            _ => unreachable!("a text"),
        }
    }
}
