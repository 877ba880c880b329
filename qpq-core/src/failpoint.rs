//! Places where a process may die: every durable write has a name, so that tests can kill at each of them.
//!
//! A point is hit right before what it names. To die before a write is to die after the one before it, so the points
//! of a flow are all the states in which a kill can leave a disk.
//!
//! Builds without debug assertions have none of this: [`arm`], [`hit`] and the rest are empty there. It hangs on debug
//! assertions and on no feature, because `cargo build` and `cargo nextest` would not agree on a feature and build
//! everything anew in turn; and because what is shipped is built without them by default.
//!
//! This crate offers the hook; whoever embeds it arms it ([`arm`]): nothing here reads an environment or ends a
//! process.

/// All points of the database, in alphabetical order. A test holds them against what the flows hit.
pub const POINTS: [&str; 105] = [
    "accepted_join.end",
    "accepted_join.put",
    "card.version",
    "chat.add",
    "chat.drop",
    "chat.move_group",
    "chat.move_messages",
    "chat.person",
    "commit.after",
    "commit.before",
    "contact.add",
    "contact.blocked",
    "contact.card",
    "contact.card_seen",
    "contact.card_unseen",
    "contact.delete",
    "contact.last_seen",
    "contact.met",
    "contact.name",
    "contact.standing",
    "contact.trust",
    "create.checkpoint",
    "create.commit",
    "create.meta",
    "create.mls",
    "gap.told",
    "group.add",
    "group.ahead",
    "group.confirmed",
    "group.dead",
    "group.drop",
    "group.drop_gaps",
    "group.drop_members",
    "group.drop_seen",
    "group.next_seq",
    "group.seal",
    "group.seq",
    "group.unseal",
    "group.welcome",
    "lan_key.replace",
    "link.cancel",
    "link.forget",
    "link.forget_one",
    "link.forget_printed",
    "link.printed",
    "link.put",
    "link.refuse",
    "link.use",
    "log.truncate",
    "member.add",
    "member.opened",
    "message.add",
    "message.move",
    "message.notice",
    "meta.believed",
    "meta.lived",
    "mls.apply",
    "mls.copy",
    "mls.create",
    "mls.delete",
    "mls.forget",
    "mls.join",
    "mls.judge",
    "mls.key_package",
    "mls.key_package_delete",
    "mls.merge",
    "mls.restore",
    "mls.secrets",
    "mls.secrets_delete",
    "mls.stage",
    "offer.end",
    "offer.put",
    "outbox.done",
    "outbox.expire",
    "outbox.fail",
    "outbox.frame",
    "outbox.move",
    "outbox.put",
    "pending_join.end",
    "pending_join.kept",
    "pending_join.put",
    "pending_join.put_link",
    "purge.chat",
    "purge.messages",
    "purge.recipients",
    "read.mark",
    "recipient.ack",
    "recipient.add",
    "recipient.expire",
    "recipient.fail",
    "recipient.move",
    "recipient.person",
    "recipient.seal",
    "request.delete",
    "request.name",
    "request.put",
    "request.refuse",
    "schema.commit",
    "schema.done",
    "schema.step",
    "schema.version",
    "seen.join",
    "seen.put",
    "step.release",
    "step.undo",
];

/// What a hook is told when something is written that nobody named.
pub const UNNAMED: &str = "a write without a point";

/// What is called at each point, on the thread that writes.
pub type Hook = fn(&'static str);

#[cfg(debug_assertions)]
mod armed {
    use std::{cell::Cell, sync::OnceLock};

    use rusqlite::{
        Connection,
        trace::{TraceEvent, TraceEventCodes},
    };

    use super::{Hook, UNNAMED};

    static HOOK: OnceLock<Hook> = OnceLock::new();

    thread_local! {
        /// What the statements of this thread are for.
        static POINT: Cell<&'static str> = const { Cell::new(UNNAMED) };
    }

    pub(super) fn arm(hook: Hook) {
        // The first one stays: all tests of one process arm the same.
        let _ = HOOK.set(hook);
    }

    pub(super) fn hit(point: &'static str) {
        if let Some(hook) = HOOK.get() {
            hook(point);
        }
    }

    pub(super) fn swap(point: &'static str) -> &'static str {
        POINT.replace(point)
    }

    /// Has each write of a connection hit the point that it is for. SQLite tells each statement when it begins,
    /// those of openmls too, which are not ours to name one by one.
    pub(super) fn watch(connection: &Connection) {
        connection.trace_v2(
            TraceEventCodes::SQLITE_TRACE_STMT,
            Some(|event| {
                if let TraceEvent::Stmt(_, sql) = event
                    && super::is_write(sql)
                {
                    hit(POINT.get());
                }
            }),
        );
    }
}

/// Has a function called at each point from now on. The first hook of a process stays.
pub fn arm(hook: Hook) {
    #[cfg(debug_assertions)]
    armed::arm(hook);
    #[cfg(not(debug_assertions))]
    let _ = hook;
}

/// Something durable is about to happen.
#[inline]
pub fn hit(point: &'static str) {
    #[cfg(debug_assertions)]
    armed::hit(point);
    #[cfg(not(debug_assertions))]
    let _ = point;
}

/// Names what is written while it lives.
#[derive(Debug)]
pub(crate) struct At {
    #[cfg(debug_assertions)]
    before: &'static str,
}

impl At {
    #[inline]
    pub(crate) fn point(point: &'static str) -> Self {
        #[cfg(not(debug_assertions))]
        let _ = point;
        Self {
            #[cfg(debug_assertions)]
            before: armed::swap(point),
        }
    }
}

#[cfg(debug_assertions)]
impl Drop for At {
    fn drop(&mut self) {
        armed::swap(self.before);
    }
}

/// Has each write of a connection hit its point.
#[inline]
pub(crate) fn watch(connection: &rusqlite::Connection) {
    #[cfg(debug_assertions)]
    armed::watch(connection);
    #[cfg(not(debug_assertions))]
    let _ = connection;
}

/// Whether a statement changes the database. What a trigger does is told as a comment, and belongs to its statement.
#[cfg(debug_assertions)]
fn is_write(sql: &str) -> bool {
    const WRITES: [&str; 7] = ["ALTER", "CREATE", "DELETE", "DROP", "INSERT", "REPLACE", "UPDATE"];
    let mut words = sql.split_whitespace();
    let writes = |word: &str| WRITES.iter().any(|write| word.eq_ignore_ascii_case(write));
    match words.next() {
        Some(with) if with.eq_ignore_ascii_case("WITH") => words.any(writes),
        first => first.is_some_and(writes),
    }
}
