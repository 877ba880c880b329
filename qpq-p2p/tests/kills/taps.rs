//! The ciphertexts of real programs: which key each was made with, read by the secret of its group.

use std::{collections::BTreeMap, fs, path::Path};

use qpq_core::{
    id::{EpochId, GroupId, MemberId},
    wire::Frame,
};

use crate::{generation::SenderData, mortal::database};

/// One ciphertext for each key.
#[derive(Default)]
pub(crate) struct Taps {
    ciphertexts: BTreeMap<(EpochId, MemberId, u32), Vec<u8>>,
    secrets: BTreeMap<GroupId, SenderData>,
    pub(crate) reused: usize,
}

impl Taps {
    /// Reads what all programs of one person handed to their links. They must have ended.
    pub(crate) fn read(&mut self, tap: &Path, profile: &Path) {
        let database = database(profile);
        for entry in fs::read_dir(tap).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            let mut rest = bytes.as_slice();
            while let Some((length, after)) = rest.split_first_chunk() {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
                // A kill may cut the last one.
                let Some((frame, after)) = after.split_at_checked(length) else {
                    break;
                };
                rest = after;
                let Ok(Frame::App(app)) = Frame::decode(frame) else {
                    continue;
                };
                let secret = self.secrets.entry(app.group);
                let secret = secret.or_insert_with(|| SenderData::of(&database, &app.group));
                let key = (app.epoch_id, app.member, secret.generation(&app.mls));
                let known = self.ciphertexts.entry(key).or_insert_with(|| frame.to_vec());
                if known != frame {
                    self.reused += 1;
                    println!("two ciphertexts of generation {} of {:?}", key.2, key.1);
                }
            }
        }
    }

    pub(crate) fn generations(&self) -> usize {
        self.ciphertexts.len()
    }
}
