//! What the user asked for, on whatever branch wins.
//!
//! An intent is done when its effect holds or a Commit that carried it is in the chain. It is kept as long as that
//! Commit is remembered there: when the Commit loses, however late, it is made again.

use super::{
    MAX_MEMBERS, Output, Step,
    mls::{Epoch, Mls, Mutant},
};
use crate::{
    content::MAX_NAME,
    id::{CommitId, MemberId},
};

/// Days after which an invitation is taken back, in milliseconds.
const INVITED_MS: i64 = 30 * 24 * 3_600_000;

/// Something that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// What.
    pub what: What,
    /// The Commits that carried it.
    pub commits: Vec<CommitId>,
    /// When it was asked for on the clock of the record.
    pub since: i64,
}

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Somebody is to be a member.
    Add(MemberId),
    /// Somebody is to be none.
    Remove(MemberId),
    /// The group's name.
    Name(String),
    /// Somebody is to be an admin, or to be none.
    Admin(MemberId, bool),
    /// New keys for ourselves.
    Update,
}

/// Why something cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntentError {
    /// We are no member.
    #[error("you are not in this group")]
    NotInGroup,
    /// Only admins may do that.
    #[error("only admins can do that")]
    NotAdmin,
    /// It is about somebody who is no member.
    #[error("they are not in this group")]
    NoMember,
    /// The group has as many members as it may have.
    #[error("a group has at most {MAX_MEMBERS} members")]
    Full,
    /// A name has at most so many bytes.
    #[error("a name has at most {MAX_NAME} bytes")]
    LongName,
    /// We are removed by leaving, and the last admin stays one.
    #[error("you would leave the group without an admin")]
    LastAdmin,
}

impl Intent {
    pub(super) fn new(what: What, since: i64) -> Self {
        Self {
            what,
            commits: Vec::new(),
            since,
        }
    }
}

impl What {
    /// Whether things are as asked for.
    pub(super) fn holds(&self, epoch: &Epoch) -> bool {
        match self {
            Self::Add(member) => epoch.has(member),
            Self::Remove(member) => !epoch.has(member),
            Self::Name(name) => epoch.data.name == *name,
            Self::Admin(member, wanted) => epoch.data.admins.contains(member) == *wanted,
            Self::Update => false,
        }
    }

    /// Whether it may be done here.
    pub(super) fn check(&self, epoch: &Epoch, own: &MemberId) -> Result<(), IntentError> {
        let others = || {
            epoch
                .data
                .admins
                .iter()
                .any(|admin| admin != own && epoch.has(admin))
        };
        match self {
            _ if !epoch.has(own) => Err(IntentError::NotInGroup),
            Self::Update => Ok(()),
            _ if !epoch.is_admin(own) => Err(IntentError::NotAdmin),
            Self::Add(_) if epoch.roster.len() >= MAX_MEMBERS => Err(IntentError::Full),
            Self::Name(name) if name.len() > MAX_NAME => Err(IntentError::LongName),
            Self::Admin(member, false) if member == own && !others() => Err(IntentError::LastAdmin),
            Self::Remove(member) if member == own => Err(IntentError::NoMember),
            Self::Remove(member) | Self::Admin(member, _) if !epoch.has(member) => Err(IntentError::NoMember),
            Self::Add(_) | Self::Remove(_) | Self::Name(_) | Self::Admin(..) => Ok(()),
        }
    }
}

impl<M: Mls> Step<'_, M> {
    /// Takes a wish of the user.
    ///
    /// # Errors
    /// The storage failed; inside, [`IntentError`], and nothing changed.
    pub fn want(&mut self, what: What) -> Result<Result<(), IntentError>, M::Error> {
        let epoch = self.mls.epoch();
        let allowed = epoch.map_or(Err(IntentError::NotInGroup), |epoch| {
            what.check(epoch, &self.record.own)
        });
        if allowed.is_err() {
            return Ok(allowed);
        }
        // The last word counts: an older wish that says the opposite is withdrawn.
        self.record
            .intents
            .retain(|intent| !intent.what.is_about_the_same(&what));
        self.record.intents.push(Intent::new(what, self.record.clock));
        self.pursue()?;
        Ok(Ok(()))
    }

    /// A fresh KeyPackage came, of whoever made it.
    ///
    /// # Errors
    /// The storage failed.
    pub fn package(&mut self, bytes: Vec<u8>) -> Result<(), M::Error> {
        if let Some(package) = self.mls.read_key_package(&bytes) {
            self.session.packages.insert(package.member, bytes);
        }
        self.pursue()
    }

    /// Somebody whom we invited does not come.
    pub(super) fn refuse_came(&mut self, from: MemberId) {
        if self.record.invited.contains(&from) {
            let about = |intent: &Intent| matches!(intent.what, What::Add(other) | What::Remove(other) if other == from);
            self.record.intents.retain(|intent| !about(intent));
            let intent = Intent::new(What::Remove(from), self.record.clock);
            self.record.intents.push(intent);
        }
    }

    /// Notes the Commits, of whomever, that did what the user asked for: as long as one of them is in the chain it
    /// is not done again, even if somebody undoes it.
    pub(super) fn note_done(&mut self) {
        let record = &mut *self.record;
        let Some((epoch, last)) = self.mls.epoch().zip(record.log.last()) else {
            return;
        };
        for intent in &mut record.intents {
            let carried = |commit: &CommitId| record.log.iter().any(|entry| entry.commit == *commit);
            if intent.what.holds(epoch) && !intent.commits.iter().any(carried) {
                intent.commits.push(last.commit);
            }
        }
    }

    pub(super) fn is_open(&self, intent: &Intent, epoch: &Epoch) -> bool {
        let carried = |commit: &CommitId| self.record.log.iter().any(|entry| entry.commit == *commit);
        let made = !intent.commits.is_empty() && self.is_mutant(Mutant::NoReissue);
        !made && !intent.what.holds(epoch) && !intent.commits.iter().any(carried)
    }

    /// Forgets what cannot be done any more.
    pub(super) fn trim_intents(&mut self, sure: &[CommitId]) {
        let Some(epoch) = self.mls.epoch().cloned() else {
            return;
        };
        let none_open = sure.len() == self.record.log.len();
        let own = self.record.own;
        let invited = |intent: &&Intent| self.since(intent.since) >= INVITED_MS;
        let expired = self
            .record
            .intents
            .iter()
            .filter(invited)
            .map(|intent| &intent.what);
        let expired: Vec<MemberId> = expired
            .filter_map(|what| {
                if let What::Add(member) = what {
                    Some(*member)
                } else {
                    None
                }
            })
            .filter(|member| self.record.invited.contains(member))
            .collect();
        expired.into_iter().for_each(|member| self.refuse_came(member));
        let outputs = &mut self.outputs;
        self.record.intents.retain(|intent| {
            let done = intent.commits.iter().any(|commit| sure.contains(commit));
            let forbidden =
                none_open && !done && intent.what.check(&epoch, &own) == Err(IntentError::NotAdmin);
            if forbidden {
                outputs.push(Output::NotAdmin(intent.what.clone()));
            }
            !forbidden
        });
        self.trim_leaves();
    }
}

impl What {
    fn is_about_the_same(&self, other: &Self) -> bool {
        match self {
            Self::Add(a) | Self::Remove(a) => matches!(other, Self::Add(b) | Self::Remove(b) if a == b),
            Self::Admin(a, _) => matches!(other, Self::Admin(b, _) if a == b),
            Self::Name(_) => matches!(other, Self::Name(_)),
            Self::Update => matches!(other, Self::Update),
        }
    }
}
