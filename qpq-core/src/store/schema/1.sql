-- Version 1 of qpq.db. openmls_sqlite_storage keeps its own tables beside these.
CREATE TABLE meta(                       -- own name, LAN key
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contact(
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  name TEXT NOT NULL UNIQUE,             -- as shown: theirs, or with a suffix where that is taken
  trust INTEGER NOT NULL,                -- 1 verified by a spoken code
  endpoint BLOB NOT NULL CHECK(length(endpoint) = 32),
  lan_key BLOB NOT NULL CHECK(length(lan_key) = 32),
  card_version INTEGER NOT NULL,
  card BLOB NOT NULL,                    -- as it was signed: groups will hand it on
  card_signature BLOB NOT NULL,
  added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE pending_join(               -- our ContactRequest, until PairDone
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  request BLOB NOT NULL,                 -- the frame; the same bytes again are idempotent
  key_package BLOB NOT NULL,             -- reference: its secrets go with this row
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accepted_join(              -- whose ContactRequest an invite of ours led to
  peer BLOB PRIMARY KEY CHECK(length(peer) = 32),
  request_hash BLOB NOT NULL,
  done BLOB NOT NULL                     -- the PairDone frame, until the joiner's first Head
) STRICT, WITHOUT ROWID;

CREATE TABLE chat(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  peer BLOB UNIQUE REFERENCES contact(peer),  -- the contact of a conversation of two
  read_to INTEGER NOT NULL DEFAULT 0          -- the last message row the user has seen
) STRICT;

CREATE TABLE grp(
  group_id BLOB PRIMARY KEY CHECK(length(group_id) = 16),
  chat INTEGER NOT NULL REFERENCES chat(id),
  epoch_id BLOB NOT NULL,
  epoch INTEGER NOT NULL,
  stream BLOB NOT NULL,                  -- our own
  next_seq INTEGER NOT NULL              -- of our own stream; never reset by an epoch
) STRICT, WITHOUT ROWID;

CREATE TABLE member(
  group_id BLOB NOT NULL REFERENCES grp(group_id),
  member_id BLOB NOT NULL,
  peer BLOB NOT NULL,
  PRIMARY KEY(group_id, member_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX member_peer ON member(peer);

CREATE TABLE message(
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; never used again, so cursors hold
  chat INTEGER NOT NULL REFERENCES chat(id),
  message_id BLOB NOT NULL,
  sender BLOB NOT NULL,                  -- PeerId
  stream BLOB NOT NULL,
  seq INTEGER NOT NULL,
  sent_at INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  own INTEGER NOT NULL,
  kind INTEGER NOT NULL,                 -- 0 text; 1 content of a later version, kept for when we understand it
  body BLOB NOT NULL,
  UNIQUE(chat, sender, stream, seq),
  UNIQUE(chat, sender, message_id)
) STRICT;
CREATE INDEX message_id ON message(message_id);

CREATE TABLE outbox(                     -- own messages that some recipient may not have
  message INTEGER PRIMARY KEY REFERENCES message(id),
  group_id BLOB NOT NULL,
  seq INTEGER NOT NULL,
  frame BLOB,                            -- the App frame, once it was encrypted
  UNIQUE(group_id, seq)
) STRICT;

CREATE TABLE outbox_need(
  message INTEGER NOT NULL REFERENCES outbox(message),
  member_id BLOB NOT NULL,
  PRIMARY KEY(message, member_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE seen(                       -- which messages of each stream we have
  group_id BLOB NOT NULL,
  member_id BLOB NOT NULL,
  stream BLOB NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  PRIMARY KEY(group_id, member_id, stream, first)
) STRICT, WITHOUT ROWID;
