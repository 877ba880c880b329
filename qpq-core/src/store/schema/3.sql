-- Version 3: groups of more than two, whose members may have to go back to an epoch that they left.
CREATE TABLE mls_copy(                   -- openmls's rows of a group, as they were in an epoch that is not settled
  group_id BLOB NOT NULL CHECK(length(group_id) = 16),
  epoch_id BLOB NOT NULL CHECK(length(epoch_id) = 16),
  source INTEGER NOT NULL,               -- whose row: 0 group_data, 1 epoch_keys_pairs, 2 own_leaf_nodes, 3 proposals
  name ANY NOT NULL,                     -- its key there, beside the group
  leaf INTEGER NOT NULL,                 -- of 1: the other part of the key
  provider_version INTEGER NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY(group_id, epoch_id, source, name, leaf)
) STRICT;

-- openmls kept the resumption secrets of the last 32 epochs for whoever made a group; nothing needs them.
UPDATE openmls_group_data SET group_data = CAST('{"max_number_of_secrets":0,"resumption_psk":[],"cursor":0}' AS BLOB)
  WHERE data_type = 'resumption_psk_store';
