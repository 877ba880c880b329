@0xc4d1f0a6b5e37a01;
# What an MLS application message carries (RFC 9420 §6.3.1 application_data). Grows by new union members, and by fields
# whose absence means 0.

struct Content {
  sentAt @0 :Int64;      # Unix milliseconds by the sender's clock: shown, never used for order or validity
  body :union {
    text @1 :Text;       # 1..65,536 bytes of UTF-8
    unused @2 :Void;     # Cap'n Proto unions have two members at least
  }
  sealed @3 :UInt64;     # how many messages the author encrypted in this epoch, this one included; 0: not told
}

# GroupContext extension 0xF071: what all members agree on beside the roster.
struct GroupData {
  name    @0 :Text;          # empty in a conversation of two
  admins  @1 :List(Data);    # MemberIds
  version @2 :UInt64;
}
