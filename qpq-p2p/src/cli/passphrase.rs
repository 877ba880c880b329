//! `qpq passphrase`: protects the keys of the profile.

use qpq_core::passphrase::Passphrase;

use super::{Context, DONE, Exit, unlock};
use crate::{
    event::Event,
    failure::{Failure, FailureCode},
    profile::{Profile, SealedProfile},
    sink::Sink,
};

/// Protect your keys by a passphrase
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    after_help = "Examples:\n  qpq passphrase set\n  qpq passphrase change"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Subcommand)]
enum Action {
    /// Protect a profile that has no passphrase
    #[command(after_help = "Examples:\n  qpq passphrase set\n  QPQ_NEW_PASSPHRASE_FD=3 qpq passphrase set")]
    Set,
    /// Replace the passphrase by another
    #[command(after_help = "Example:\n  qpq passphrase change")]
    Change,
    /// Open without a passphrase from now on
    #[command(after_help = "Example:\n  qpq passphrase remove")]
    Remove,
}

pub(super) async fn run(arguments: Arguments, context: &Context) -> Result<Exit, Failure> {
    let sealed = SealedProfile::read(&context.folder())?;
    refuse_senseless(arguments.action, sealed.is_protected()?)?;
    let profile = unlock::open(&sealed, context)?;
    let new = match arguments.action {
        Action::Set | Action::Change => Some(unlock::new_passphrase(context)?),
        Action::Remove => None,
    };
    let protected = new.is_some();
    reseal(&profile, new.as_ref())?;
    let mut printer = context.output.printer(|event| {
        let Event::Passphrase { protected } = event else {
            return None;
        };
        Some(if *protected { PROTECTED } else { UNPROTECTED }.to_owned())
    });
    printer.put(Event::Passphrase { protected }).await?;
    Ok(DONE)
}

const PROTECTED: &str = "protected by a passphrase: nobody can open this profile without it";

/// What `init` tells as well.
pub(super) const UNPROTECTED: &str = "not protected by a passphrase: qpq passphrase set";

fn refuse_senseless(action: Action, is_protected: bool) -> Result<(), Failure> {
    let (why, hint) = match (action, is_protected) {
        (Action::Set, true) => ("this profile has one already", "qpq passphrase change"),
        (Action::Change | Action::Remove, false) => ("this profile has none", "qpq passphrase set"),
        (Action::Set, false) | (Action::Change | Action::Remove, true) => return Ok(()),
    };
    Err(Failure::new(
        FailureCode::Usage,
        "the passphrase was not changed",
        why,
        hint,
    ))
}

/// Argon2 takes a while.
fn reseal(profile: &Profile, new: Option<&Passphrase>) -> Result<(), Failure> {
    Ok(profile.reseal(new)?)
}
