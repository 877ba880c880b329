-- Version 2: delivery per recipient, contacts that are asked for, held, blocked or removed, invites by link.
-- Foreign keys are not enforced while this runs: `contact` is made anew, and others refer to it by name.
CREATE TABLE new_contact(
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  name TEXT NOT NULL,                    -- as shown: theirs, or the one that the user gave them
  claimed TEXT NOT NULL,                 -- as they call themselves
  trust INTEGER NOT NULL,                -- 0 introduced by link, 1 spoken code, 2 safety number compared
  state INTEGER NOT NULL,                -- 0 contact, 1 held: a new key under a known name, 2 removed: history only
  blocked INTEGER NOT NULL DEFAULT 0,
  endpoint BLOB NOT NULL CHECK(length(endpoint) = 32),
  lan_key BLOB NOT NULL CHECK(length(lan_key) = 32),
  card_version INTEGER NOT NULL,
  card BLOB NOT NULL,                    -- as it was signed: groups will hand it on
  card_signature BLOB NOT NULL,
  card_seen INTEGER NOT NULL DEFAULT 0,  -- version of our own card that they said they have
  added_at INTEGER NOT NULL,
  last_seen INTEGER                      -- Unix ms: when their last link stood
) STRICT, WITHOUT ROWID;
INSERT INTO new_contact(peer, name, claimed, trust, state, endpoint, lan_key, card_version, card, card_signature,
                        card_seen, added_at)
  SELECT peer, name, name, trust, 0, endpoint, lan_key, card_version, card, card_signature, 1, added_at FROM contact;
DROP TABLE contact;
ALTER TABLE new_contact RENAME TO contact;
CREATE UNIQUE INDEX contact_name ON contact(name) WHERE state <> 2;

CREATE TABLE request(                    -- ContactRequests by link: they wait for a person
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  name TEXT NOT NULL,                    -- as shown: marked where a contact has it
  claimed TEXT NOT NULL,                 -- as they call themselves, valid by `name::validate`
  frame BLOB NOT NULL,                   -- the ContactRequest
  link BLOB NOT NULL,                    -- which invite
  stored_at INTEGER NOT NULL,
  refused INTEGER NOT NULL DEFAULT 0     -- the user said no, and they were not told yet
) STRICT, WITHOUT ROWID;

CREATE TABLE link(                       -- invites by link of our own
  link_id BLOB PRIMARY KEY CHECK(length(link_id) = 8),
  secret BLOB NOT NULL CHECK(length(secret) = 16),
  created_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  used_by BLOB,                          -- PeerId of the one who used it
  refused INTEGER NOT NULL DEFAULT 0,    -- how often others came with it after that
  cancelled INTEGER NOT NULL DEFAULT 0   -- kept a while, like an expired one, to tell who comes late
) STRICT, WITHOUT ROWID;

ALTER TABLE accepted_join ADD COLUMN by_link INTEGER NOT NULL DEFAULT 0;
ALTER TABLE pending_join ADD COLUMN link BLOB;    -- secret of the link, to prove it again; NULL: by code
ALTER TABLE pending_join ADD COLUMN inviter TEXT; -- their name, once they have the request on their disk

CREATE TABLE recipient(                  -- how far each own message got, for each whom it is for
  message INTEGER NOT NULL REFERENCES message(id),
  peer BLOB NOT NULL,
  state INTEGER NOT NULL,                -- 0 here, 2 delivered, 4 expired, 5 failed
  reason INTEGER NOT NULL DEFAULT 0,     -- of failed: 1 the contact was removed
  sealed INTEGER NOT NULL DEFAULT 0,     -- encrypted in the message's stream: they may have it, whatever the state
  PRIMARY KEY(message, peer)
) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_waiting ON recipient(peer, message) WHERE state = 0;
CREATE INDEX recipient_given_up ON recipient(peer, message) WHERE state > 3 AND sealed;
INSERT INTO recipient(message, peer, state, sealed)
  SELECT message.id, chat.peer, CASE WHEN outbox.message IS NULL THEN 2 ELSE 0 END,
         outbox.message IS NULL OR outbox.frame IS NOT NULL
  FROM message JOIN chat ON chat.id = message.chat LEFT JOIN outbox ON outbox.message = message.id
  WHERE message.own;
DROP TABLE outbox_need;                  -- the recipients whose state is 0

-- Age of the profile when the message was queued: meta 'lived' in ms, and 'looked', the latest Unix ms at which it was
-- counted (engine/expiry.rs).
ALTER TABLE outbox ADD COLUMN queued_at INTEGER NOT NULL DEFAULT 0;
INSERT INTO meta VALUES('card_version', CAST('1' AS BLOB));

-- No state is ever taken back. Only the word of the recipient itself, delivered, comes after expired or failed.
CREATE TRIGGER recipient_never_back BEFORE UPDATE OF state ON recipient
WHEN NEW.state <> OLD.state AND NOT (OLD.state < 2 AND NEW.state > OLD.state
  OR OLD.state = 2 AND NEW.state = 3 OR OLD.state > 3 AND NEW.state IN (2, 3))
BEGIN SELECT RAISE(ABORT, 'a delivery state was taken back'); END;

-- message.kind 2: a line of our own in the chat, its body one byte (1 new group, 2 new key).
ALTER TABLE message ADD COLUMN late INTEGER NOT NULL DEFAULT 0; -- 1: later ones of its stream came before it

ALTER TABLE grp ADD COLUMN dead INTEGER NOT NULL DEFAULT 0;  -- 1: without MLS state; messages wait for the next one
ALTER TABLE grp ADD COLUMN welcome BLOB; -- the Welcome frame that brings the other in, until its first Head
ALTER TABLE grp ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0; -- own messages encrypted in the epoch, repairs included
UPDATE grp SET sealed = next_seq - 1
  - (SELECT count(*) FROM outbox WHERE outbox.group_id = grp.group_id AND outbox.frame IS NULL);
ALTER TABLE member ADD COLUMN opened INTEGER NOT NULL DEFAULT 0; -- how many the member said to have encrypted
ALTER TABLE grp ADD COLUMN ahead INTEGER NOT NULL DEFAULT 0; -- repairs encrypted since one was acknowledged

CREATE TABLE offer(                      -- own KeyPackages in NotMembers, one for each contact
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  reference BLOB NOT NULL,               -- its secrets go with this row
  key_package BLOB NOT NULL              -- MLSMessage(KeyPackage)
) STRICT, WITHOUT ROWID;

CREATE TABLE gap(                        -- which gaps the user was told of
  group_id BLOB NOT NULL,
  member_id BLOB NOT NULL,
  stream BLOB NOT NULL,
  told_to INTEGER NOT NULL,              -- those below this number
  PRIMARY KEY(group_id, member_id, stream)
) STRICT, WITHOUT ROWID;
